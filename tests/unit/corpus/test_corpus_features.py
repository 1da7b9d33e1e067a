"""Features of a corpus: the encoder's, of either kind, or the embeddings that came with the captions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from clipcap_lib.corpus.corpus import PreparedCorpus
from clipcap_lib.corpus.features import corpus_features
from clipcap_lib.encoders import Encoder


def encoder() -> Encoder:
    """A stand-in that gives an embedding of ones, and tokens of twos."""
    return Encoder(
        "stand-in", 4, 8, "stamp", lambda image: torch.zeros(3, 8, 8), lambda pixels: torch.ones(len(pixels), 4), None,
        1.0, lambda pixels: torch.full((len(pixels), 3, 2), 2.0), (3, 2),
    )  # fmt: skip


def corpus(folder: Path, vectors: np.ndarray | None = None) -> PreparedCorpus:
    """Two pictures of one caption each."""
    paths = [folder / "a.png", folder / "b.png"]
    for shade, path in enumerate(paths):
        Image.new("RGB", (8, 8), (shade,) * 3).save(path)
    table = pd.DataFrame({"image_id": ["a", "b"], "image_path": map(str, paths), "split": "train", "caption": "c"})
    return PreparedCorpus(table, table[:0], None, vectors, "print")


def test_a_corpus_of_pictures_has_features_of_either_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared = corpus(tmp_path)
    assert torch.equal(corpus_features(prepared, encoder(), prepared.images).tensor(), torch.ones(2, 4))
    grid = corpus_features(prepared, encoder(), prepared.images, "grid")
    assert torch.equal(grid.tensor(), torch.full((2, 3, 2), 2.0))
    assert sorted(path.name for path in Path("data/features").glob("stamp*")) == ["stamp", "stamp-grid"]


def test_embeddings_that_came_with_the_captions_have_no_grid(tmp_path):
    prepared = corpus(tmp_path, np.ones((2, 4), np.float16))
    assert torch.equal(corpus_features(prepared, encoder(), prepared.images).tensor(), torch.ones(2, 4))
    with pytest.raises(ValueError, match="the captions came with one embedding a picture, which has no grid"):
        corpus_features(prepared, encoder(), prepared.images, kind="grid")
