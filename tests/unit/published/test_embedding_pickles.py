"""Pickles of embeddings as both public implementations publish them, down to features and splits."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features
from clipcap_lib.corpus.readers import read_captions
from clipcap_lib.encoders import load_encoder
from clipcap_lib.published.embedding_pickles import read_embedding_pickle
from clipcap_lib.settings import Data

D = 512


@pytest.fixture
def embeddings() -> torch.Tensor:
    return torch.randn(6, D, generator=torch.Generator().manual_seed(0)).half()


def dump(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def chinese(embeddings: torch.Tensor) -> list:
    """`clip_caption.pkl`: five captions an image, one embedding [1, D] an image."""
    pairs = [(str(image), f"第{k}句说{image}") for image in range(6) for k in range(5)]
    return [pairs, {str(image): embeddings[image][None].clone() for image in range(6)}]


def rmokady(embeddings: torch.Tensor) -> dict:
    """`oscar_split_ViT-B_32_train.pkl`: a row of embeddings a caption, captions of an image scattered."""
    captions = [{"image_id": 100 + i % 6, "id": i, "caption": f"caption {i}", "clip_embedding": i} for i in range(12)]
    return {"clip_embedding": torch.cat([embeddings, embeddings]), "captions": captions}


def test_clipcap_chinese_s_pickle(tmp_path, embeddings):
    path = dump(tmp_path / "clip_caption.pkl", chinese(embeddings))
    table = read_captions(path, None)
    assert table["image_id"].tolist()[:6] == ["0.jpg"] * 5 + ["1.jpg"]
    assert table["caption_id"].tolist()[:6] == [0, 1, 2, 3, 4, 0]
    assert table["caption"][6] == "第1句说1"
    assert torch.equal(torch.from_numpy(read_embedding_pickle(path).vectors), embeddings)


def test_rmokady_s_pickle(tmp_path, embeddings):
    path = dump(tmp_path / "train.pkl", rmokady(embeddings))
    found = read_embedding_pickle(path)
    assert found.image_ids == [str(100 + i) for i in range(6)]
    assert torch.equal(torch.from_numpy(found.vectors), embeddings)
    assert found.captions.iloc[7].tolist() == ["101", "caption 7"]


def test_every_image_keeps_its_own_embedding_through_the_splits(tmp_path, embeddings):
    path = dump(tmp_path / "clip_caption.pkl", chinese(embeddings))
    data = Data(corpus="files", captions_file=str(path), dev_images=2, test_images=1)
    prepared = prepare_corpus(data, tmp_path / "data")
    encoder = replace(load_encoder("clip:data/models/tiny-clip.pt"), width=D)
    images = prepared.images[prepared.images["split"] != "test"]
    assert prepared.images["split"].value_counts().to_dict() == {"train": 3, "dev": 2, "test": 1}
    expected = torch.stack([embeddings[int(name.removesuffix(".jpg"))] for name in images["image_id"]]).float()
    assert torch.equal(corpus_features(prepared, encoder, images).tensor(), expected)
    with pytest.raises(ValueError, match=r"width 512; .* makes 640"):
        corpus_features(prepared, replace(encoder, width=640), images)


def test_as_published_dev_captions_are_drawn_from_images_that_training_sees(tmp_path, embeddings):
    path = dump(tmp_path / "clip_caption.pkl", chinese(embeddings))
    data = Data(corpus="files", captions_file=str(path), dev_images=7, test_images=1, dev_split="caption")
    prepared = prepare_corpus(data, tmp_path / "data")
    assert prepared.table["split"].value_counts().to_dict() == {"train": 18, "dev": 7, "test": 5}
    groups = prepared.table.groupby("split")["image_id"].agg(set)
    assert groups["dev"] & groups["train"]
    assert not groups["test"] & (groups["train"] | groups["dev"])
    assert len(prepared.vectors) == len(prepared.images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected ClipCap-Chinese's .* found a dict"),
        ([[("7", "a")], {}], "caption 0: there is no embedding of image '7'"),
        ([[("7",)], {"7": torch.ones(1, 4)}], "caption 0: expected"),
        ([[("7", "a")], {"7": torch.ones(2, 4)}], "embedding of '7': expected"),
        ([[("7", "a"), ("8", "b")], {"7": torch.ones(1, 4), "8": torch.ones(1, 5)}], "of one width expected"),
        ([[("7", "a")], {"7": torch.full((1, 4), torch.nan)}], "not finite"),
        ([[], {}], "expected captions, found none"),
        ({"clip_embedding": torch.ones(1, 4), "captions": [{"image_id": 1}]}, "caption 0: expected"),
        (
            {"clip_embedding": torch.ones(1, 4), "captions": [{"image_id": 1, "caption": "a", "clip_embedding": 1}]},
            "row 1 is not one of 1 embeddings",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path, content, message):
    path = dump(tmp_path / "x.pkl", content)
    with pytest.raises(ValueError, match=message) as error:
        read_embedding_pickle(path)
    assert str(path) in str(error.value)
