"""What clip-retrieval wrote is read as captions with their embeddings, or refused by the file that does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features
from clipcap_lib.encoders import load_encoder
from clipcap_lib.published.clip_retrieval import read_embedding_folder
from clipcap_lib.settings import Data

D, ROWS = 512, 5


def write(folder: Path, flat: bool = False, dtype: type = np.float16) -> np.ndarray:
    """Twelve parts, so that their order is not that of their names; returns all embeddings [60, 512]."""
    vectors = np.random.default_rng(0).normal(size=(12, ROWS, D)).astype(dtype)
    for number, part in enumerate(vectors):
        array, table = (folder, folder) if flat else (folder / "img_emb", folder / "metadata")
        for place in (array, table):
            place.mkdir(parents=True, exist_ok=True)
        np.save(array / f"img_emb_{number}.npy", part)
        names = [f"/far/away/{number:02d}{row}.jpg" for row in range(ROWS)]
        captions = pd.DataFrame({"image_path": names, "caption": [f"{number} and {row}" for row in range(ROWS)]})
        captions.assign(similarity=0.3).to_parquet(table / f"metadata_{number}.parquet")
    return vectors.reshape(-1, D)


@pytest.mark.parametrize(("flat", "dtype"), [(False, np.float16), (True, np.float32)])
def test_each_image_has_its_caption_and_its_embedding(tmp_path, flat, dtype):
    vectors = write(tmp_path / "laion", flat, dtype)
    data = Data(corpus="files", language="en", captions_file=str(tmp_path / "laion"), dev_images=5, test_images=5)
    prepared = prepare_corpus(data, tmp_path / "data")
    assert not data.has_pictures
    assert prepared.problems.empty
    assert isinstance(prepared.vectors, np.memmap)
    encoder = replace(load_encoder("clip:data/models/tiny-clip.pt"), width=D)
    images = prepared.images[prepared.images["split"] != "test"]
    captions = prepared.references()
    numbers = []
    for name in images["image_id"]:
        number, row = int(name[:2]), int(name[2])
        assert captions[name] == [f"{number} and {row}"]
        numbers.append(ROWS * number + row)
    expected = torch.from_numpy(vectors[numbers].astype(np.float16)).float()
    assert torch.equal(corpus_features(prepared, encoder, images).tensor(), expected)


def test_rows_with_one_name_are_captions_of_one_image(tmp_path):
    vectors = write(tmp_path)
    table = pd.DataFrame({"key": [f"/far/away/{name}" for name in "77888"], "caption": [*"abc", None, "e"]})
    table.to_parquet(tmp_path / "metadata/metadata_3.parquet")
    found = read_embedding_folder(tmp_path)
    assert found.captions["caption"].tolist()[15:20] == ["a", "b", "c", "", "e"]
    chosen = [found.rows[found.image_ids.index(name)] for name in found.image_ids if len(name) == 1]
    assert np.array_equal(found.vectors[np.array(chosen)], vectors[[15, 17]])


def damage(folder: Path, how: str) -> None:
    array, table = folder / "img_emb/img_emb_3.npy", folder / "metadata/metadata_3.parquet"
    changes = {
        "alone": table.unlink, "empty": lambda: array.write_bytes(b""), "text": lambda: table.write_text("x"),
        "rows": lambda: np.save(array, np.ones((4, D), np.float16)),
        "width": lambda: np.save(array, np.ones((ROWS, 4), np.float16)),
        "nan": lambda: np.save(array, np.full((ROWS, D), np.nan, np.float16)),
        "large": lambda: np.save(array, np.full((ROWS, D), 1e6, np.float32)),
        "whole": lambda: np.save(array, np.ones((ROWS, D), int)),
        "columns": lambda: pd.DataFrame({"image_path": ["a"], "text": ["b"]}).to_parquet(table),
    }  # fmt: skip
    changes[how]()


@pytest.mark.parametrize(("how", "message"), [
    ("alone", r"img_emb_3\.npy: the file of the same number is missing"),
    ("empty", r"img_emb_3\.npy: not an array of numbers"),
    ("text", r"metadata_3\.parquet: not a Parquet file"),
    ("rows", r"img_emb_3\.npy has 4 rows, .*metadata_3\.parquet 5"),
    ("width", r"of one width expected, found \[4, 512\]"),
    ("nan", r"img_emb_3\.npy: .* not finite numbers"),
    ("large", r"img_emb_3\.npy: .* not finite numbers in float16"),
    ("whole", r"img_emb_3\.npy: expected embeddings \[rows, D\], found int64 \[5, 512\]"),
    ("columns", r"metadata_3\.parquet: expected the columns image_path \(or key\) and caption, found image_path, text"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_file(tmp_path, how, message):
    write(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(ValueError, match=message):
        read_embedding_folder(tmp_path)


def test_a_folder_without_embeddings_is_refused(tmp_path):
    data = Data(corpus="files", captions_file=str(tmp_path / "none"), dev_images=1, test_images=1)
    with pytest.raises(FileNotFoundError, match=r"none: this file of the experiment's data section is not there"):
        prepare_corpus(data, tmp_path / "data")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none: expected what clip-retrieval writes: .* found no img_emb_\*\.npy"):
        prepare_corpus(data, tmp_path / "data")
    (tmp_path / "captions").write_text("image,caption\n1,a\n2,b\n3,c\n")
    with pytest.raises(
        ValueError, match="captions brings captions and no embeddings; name the pictures under `images`"
    ):
        prepare_corpus(data.model_copy(update={"captions_file": str(tmp_path / "captions")}), tmp_path / "data")
