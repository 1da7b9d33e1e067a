"""The feature store: computed once, in order, resumable after a kill at any byte."""

import multiprocessing
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_encoder import TOKENS, encoder

from clipcap_lib import digests
from clipcap_lib import features as features_module
from clipcap_lib.digests import content_digest
from clipcap_lib.encoders import Encoder
from clipcap_lib.features import Features, Rows, bytes_needed, extract_features


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{shade}.png" for shade in range(0, 100, 10)]
    for path in paths:
        Image.new("RGB", (8, 8), (int(path.stem),) * 3).save(path)
    return paths


def expected(paths: list[Path]) -> torch.Tensor:
    return torch.tensor([[int(path.stem) / 255] * 4 for path in paths])


def expected_grid(paths: list[Path]) -> torch.Tensor:
    return torch.stack([int(path.stem) / 255 * TOKENS for path in paths])


def test_features_come_in_the_order_asked_for(pictures, tmp_path):
    features = extract_features(encoder([]), pictures[::-1], tmp_path / "store", batch_size=3, workers=0)
    torch.testing.assert_close(features.tensor(), expected(pictures[::-1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.tensor([2, 0]), expected([pictures[-3], pictures[-1]]), atol=1e-3, rtol=0)
    assert features.vectors[np.array([0])].dtype == np.float16
    assert all(isinstance(part, np.memmap) for part in features.vectors.parts)


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
    monkeypatch.setattr(digests, "content_digest", lambda path: read.append(str(path)) or content_digest(path))
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
    assert features_module.rows_of(wanted, known).tolist() == [7, 3, 999, -1]
    assert features_module.rows_of(wanted, known[:0]).tolist() == [-1] * 4


def files_of(store: Path) -> list[Path]:
    return sorted((store / "stamp").glob("*.rows"))


@pytest.mark.parametrize("lost", [1, 43, 44, 45, 44 * 9 + 1, 44 * 10])
def test_a_kill_costs_only_the_rows_that_were_not_whole(pictures, tmp_path, lost):
    store, seen = tmp_path / "store", []
    extract_features(encoder([]), pictures, store, workers=0)
    (path,) = files_of(store)
    assert path.stat().st_size == 10 * 44  # a checksum of 4 bytes, a digest of 32, four float16
    path.write_bytes(path.read_bytes()[:-lost])
    features = extract_features(encoder(seen), pictures, store, workers=0)
    assert sum(seen) == features.computed == -(-lost // 44)
    torch.testing.assert_close(features.tensor(), expected(pictures), atol=1e-3, rtol=0)
    assert extract_features(encoder([]), pictures, store, workers=0).computed == 0


@pytest.mark.parametrize("at", [0, 10, 40, 43])
def test_a_damaged_row_is_said_and_computed_again(pictures, tmp_path, at):
    store = tmp_path / "store"
    extract_features(encoder([]), pictures, store, workers=0)
    (path,) = files_of(store)
    content = bytearray(path.read_bytes())
    content[3 * 44 + at] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"\.rows: 1 of 10 rows are damaged"):
        features = extract_features(encoder([]), pictures, store, workers=0)
    assert features.computed == 1
    torch.testing.assert_close(features.tensor(), expected(pictures), atol=1e-3, rtol=0)


def test_what_an_earlier_version_stored_is_not_trusted(pictures, tmp_path):
    folder = tmp_path / "store" / "stamp"
    folder.mkdir(parents=True)
    (folder / "vectors.f16").write_bytes(np.zeros((10, 4), np.float16).tobytes())
    (folder / "digests.txt").write_text("".join(content_digest(path) + "\n" for path in pictures))
    with pytest.warns(UserWarning, match="two processes could store one picture's embedding as another's"):
        features = extract_features(encoder([]), pictures, tmp_path / "store", workers=0)
    torch.testing.assert_close(features.tensor(), expected(pictures), atol=1e-3, rtol=0)


def test_of_two_rows_for_a_picture_the_older_is_used(pictures, tmp_path):
    store = tmp_path / "store"
    first = extract_features(encoder([]), pictures, store, workers=0).tensor()
    (path,) = files_of(store)
    path.rename(path.with_suffix(".away"))
    other = encoder([])
    brighter = Encoder(**{**vars(other), "encode_images": lambda pixels: other.encode_images(pixels) + 1})
    extract_features(brighter, pictures, store, workers=0)
    path.with_suffix(".away").rename(path)
    assert len(files_of(store)) == 2
    assert torch.equal(extract_features(encoder([]), pictures[::-1], store, workers=0).tensor(), first.flip(0))


def test_a_picture_that_changes_while_it_is_read_is_named(pictures, tmp_path, monkeypatch):
    before = np.array([b"0" * 32], "S32")  # of the bytes that stood there a moment ago
    monkeypatch.setattr(features_module, "file_digests", lambda paths, manifest: before)
    with pytest.raises(ValueError, match=r"0\.png changed while it was read"):
        extract_features(encoder([]), pictures[:1], tmp_path / "store", workers=0)


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


def test_four_processes_two_of_them_killed_store_every_picture_under_its_own_name(tmp_path, project):
    command = [sys.executable, project / "tests/many_writers.py", tmp_path, "--processes", "4", "--pictures", "150"]
    done = subprocess.run([*command, "--repetitions", "2"], capture_output=True, text=True, check=False)
    found = re.search(r"2 repetitions of 4 processes, (\d) killed at work: (\d+) wrong rows", done.stdout)
    assert found, done.stderr
    killed, wrong = map(int, found.groups())
    assert killed > 0
    assert wrong == 0


# --- grids


def test_a_grid_comes_in_the_order_asked_for(pictures, tmp_path):
    store = tmp_path / "store"
    features = extract_features(encoder([]), pictures[::-1], store, batch_size=3, workers=0, kind="grid")
    torch.testing.assert_close(features.tensor(), expected_grid(pictures[::-1]), atol=1e-2, rtol=0)
    torch.testing.assert_close(features.tensor([2, 0]), expected_grid([pictures[-3], pictures[-1]]), atol=1e-2, rtol=0)
    assert features.tensor([2, 0]).dtype == torch.float32
    assert features.vectors[np.array([0])].dtype == np.float16
    assert all(isinstance(part, np.memmap) for part in features.vectors.parts)


def test_a_store_of_embeddings_and_one_of_grids_do_not_mix(pictures, tmp_path):
    store, seen = tmp_path / "store", []
    for kind in ("pooled", "grid", "pooled", "grid"):
        extract_features(encoder(seen), pictures, store, workers=0, kind=kind)
    assert seen == [10, 10]
    assert sorted(path.parent.name for path in store.rglob("*.rows")) == ["stamp", "stamp-grid"]
    for kind, own in (("pooled", expected(pictures)), ("grid", expected_grid(pictures))):
        features = extract_features(encoder([]), pictures, store, workers=0, kind=kind)
        torch.testing.assert_close(features.tensor(), own, atol=1e-2, rtol=0)


def test_a_store_written_byte_by_byte_is_read(pictures, tmp_path):
    folder, vector = tmp_path / "store" / "stamp", np.array([1, 2, 3, 4], "<f2")
    folder.mkdir(parents=True)
    content = content_digest(pictures[0]).encode() + vector.tobytes()
    (folder / "1.rows").write_bytes(struct.pack("<I", zlib.crc32(content)) + content)
    features = extract_features(encoder([]), pictures[:1], tmp_path / "store", workers=0)
    assert features.computed == 0
    assert features.tensor().tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(("lost", "rows"), [(1, 1), (48, 1), (49, 2), (480, 10)])
def test_a_kill_costs_only_the_grids_that_were_not_whole(pictures, tmp_path, lost, rows):
    store, seen = tmp_path / "store", []
    extract_features(encoder([]), pictures, store, workers=0, kind="grid")
    (path,) = (store / "stamp-grid").glob("*.rows")
    path.write_bytes(path.read_bytes()[:-lost])
    features = extract_features(encoder(seen), pictures, store, workers=0, kind="grid")
    assert sum(seen) == features.computed == rows
    torch.testing.assert_close(features.tensor(), expected_grid(pictures), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("kind", "record"), [("pooled", 44), ("grid", 48)])
def test_the_size_of_a_store_is_known_beforehand(pictures, tmp_path, kind, record):
    extract_features(encoder([]), pictures, tmp_path / "store", workers=0, kind=kind)
    stored = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.rows"))
    assert bytes_needed(encoder([]), len(pictures), kind) == stored == 10 * record


def test_a_few_rows_are_read_without_the_rest(tmp_path):
    record = np.dtype([("check", "<u4"), ("digest", "S32"), ("vector", "<f2", (50, 768))])
    records = np.memmap(tmp_path / "x.rows", record, "w+", shape=500)  # 38 MB
    records["vector"][[3, 499], 1, 2] = 7, 8
    features = Features(Rows([records["vector"]], (50, 768)), np.arange(500), 0.0, 0)
    tracemalloc.start()
    found = features.tensor([499, 3])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[:, 1, 2].tolist() == [8, 7]
    assert found.count_nonzero() == 2
    assert peak < 1e6


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_what_float16_cannot_hold_is_refused(pictures, tmp_path, kind):
    small = encoder([])
    large = replace(
        small, encode_images=lambda x: small.encode_images(x) * 1e6, encode_grid=lambda x: small.encode_grid(x) * 1e6
    )
    with pytest.raises(ValueError, match=r"stand-in gave numbers outside float16 .* among .*0\.png"):
        extract_features(large, pictures, tmp_path / "store", workers=0, kind=kind)
    assert not [*(tmp_path / "store").rglob("*.rows")]


def test_an_encoder_without_a_grid_is_named(pictures, tmp_path):
    pooling = replace(encoder([]), encode_grid=None, grid=(0, 0))
    with pytest.raises(ValueError, match="stand-in makes one embedding a picture and no grid"):
        extract_features(pooling, pictures, tmp_path / "store", workers=0, kind="grid")
    assert not (tmp_path / "store").exists()


def test_two_processes_store_grids_at_once(pictures, tmp_path):
    store, fork = tmp_path / "store", multiprocessing.get_context("fork")
    both, chosen = fork.Barrier(2), (pictures[:7], pictures[:2:-1])

    def extract(paths: list[Path]) -> None:
        alone = encoder([])

        def encode_with_the_other(pixels: torch.Tensor) -> torch.Tensor:
            both.wait(60)
            return alone.encode_grid(pixels)

        together = replace(alone, encode_grid=encode_with_the_other)
        extract_features(together, paths, store, batch_size=1, workers=0, kind="grid")

    processes = [fork.Process(target=extract, args=(paths,)) for paths in chosen]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    files = [*(store / "stamp-grid").glob("*.rows")]
    assert [file.stat().st_size for file in files] == [7 * 48, 7 * 48]
    features = extract_features(encoder([]), pictures, store, workers=0, kind="grid")
    assert features.computed == 0
    torch.testing.assert_close(features.tensor(), expected_grid(pictures), atol=1e-2, rtol=0)
