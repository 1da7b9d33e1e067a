"""The feature store: computed once, in order, resumable after a kill at any byte."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipcap_lib import features as features_module
from clipcap_lib.encoders import Encoder
from clipcap_lib.features import content_digest, extract_features


def encoder(seen: list[int]) -> Encoder:
    """A stand-in whose embedding is the mean colour, four times; `seen` counts the images it was given."""

    def preprocess(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 255

    def encode_images(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return pixels.mean((2, 3)).mean(1, keepdim=True).expand(-1, 4)

    return Encoder("stand-in", 4, 8, "stamp", preprocess, encode_images, None, 1.0)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{shade}.png" for shade in range(0, 100, 10)]
    for path in paths:
        Image.new("RGB", (8, 8), (int(path.stem),) * 3).save(path)
    return paths


def expected(paths: list[Path]) -> torch.Tensor:
    return torch.tensor([[int(path.stem) / 255] * 4 for path in paths])


def test_features_come_in_the_order_asked_for(pictures, tmp_path):
    features = extract_features(encoder([]), pictures[::-1], tmp_path / "store", batch_size=3, workers=0)
    torch.testing.assert_close(features.tensor(), expected(pictures[::-1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.tensor([2, 0]), expected([pictures[-3], pictures[-1]]), atol=1e-3, rtol=0)
    assert features.vectors.dtype == np.float16
    assert isinstance(features.vectors.base, np.memmap) or isinstance(features.vectors, np.memmap)


def test_nothing_is_computed_twice(pictures, tmp_path):
    seen: list[int] = []
    copy = pictures[0].with_name("copy.png")
    copy.write_bytes(pictures[0].read_bytes())
    extract_features(encoder(seen), [*pictures, copy], tmp_path / "store", workers=0)
    again = extract_features(encoder(seen), pictures[5:], tmp_path / "store", workers=0)
    assert sum(seen) == len(pictures)
    assert again.computed == 0


def test_a_file_is_read_again_only_when_it_has_changed(pictures, tmp_path, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(features_module, "content_digest", lambda path: read.append(str(path)) or content_digest(path))
    extract_features(encoder([]), pictures, tmp_path / "store", workers=0)
    assert len(read) == len(pictures)
    other = pictures[3].read_bytes()
    pictures[2].write_bytes(other)  # the same size and another time
    os.utime(pictures[2], ns=(1, 1))
    found = extract_features(encoder([]), pictures, tmp_path / "store", workers=0)
    assert read[len(pictures) :] == [str(pictures[2])]
    assert torch.equal(found.tensor([2]), found.tensor([3]))


def test_digests_of_many_files_find_their_rows():
    known = np.array([f"{number:032x}" for number in np.random.default_rng(0).permutation(1000)], "S32")
    wanted = np.concatenate([known[[7, 3, 999]], np.array([b"f" * 32], "S32")])
    assert features_module._rows_of(wanted, known).tolist() == [7, 3, 999, -1]
    assert features_module._rows_of(wanted, known[:0]).tolist() == [-1] * 4


@pytest.mark.parametrize(("vectors_lost", "digests_lost"), [(3, 0), (0, 40), (8, 33), (79, 0)])
def test_a_kill_costs_only_what_was_not_whole(pictures, tmp_path, vectors_lost, digests_lost):
    store = tmp_path / "store"
    extract_features(encoder([]), pictures, store, workers=0)
    for name, lost in (("vectors.f16", vectors_lost), ("digests.txt", digests_lost)):
        path = store / "stamp" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size - lost])
    features = extract_features(encoder([]), pictures, store, workers=0)
    assert 0 < features.computed <= len(pictures)
    torch.testing.assert_close(features.tensor(), expected(pictures), atol=1e-3, rtol=0)


def test_another_encoder_has_its_own_store(pictures, tmp_path):
    first = encoder([])
    extract_features(first, pictures, tmp_path / "store", workers=0)
    seen: list[int] = []
    other = Encoder(**{**vars(encoder(seen)), "fingerprint": "other"})
    extract_features(other, pictures, tmp_path / "store", workers=0)
    assert sum(seen) == len(pictures)


def test_an_unreadable_picture_is_named(pictures, tmp_path):
    pictures[4].write_text("not a picture")
    with pytest.raises(ValueError, match=r"40\.png cannot be read"):
        extract_features(encoder([]), pictures, tmp_path / "store", workers=0)
