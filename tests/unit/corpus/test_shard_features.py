"""Features of shards are those of the same pictures in files; what is there is kept after a kill at any byte."""

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from shards_of import picture, write_shards, write_tar
from stand_in_encoder import encoder

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.features import corpus_features, make_splits
from clipcap_lib.corpus.shard_features import extract_shards
from clipcap_lib.corpus.shards import read_shards, shard_paths
from clipcap_lib.features import Features, extract_features
from clipcap_lib.settings import Data


@pytest.fixture
def paths(tmp_path) -> pd.Series:
    pattern = write_shards(tmp_path / "shards")
    return read_shards(shard_paths(pattern), tmp_path / "store/shards")["image_path"]


def unpacked(paths: pd.Series, tmp_path: Path) -> list[Path]:
    for shard in {Path(path).parent for path in paths}:
        shutil.unpack_archive(shard, tmp_path / "files" / shard.name, filter="data")
    return [tmp_path / "files" / Path(path).parent.name / Path(path).name for path in paths]


def files_of(store: Path, kind: str = "stamp") -> list[Path]:
    return sorted((store / kind).glob("*/*.rows"))


def check(found: Features, paths: pd.Series) -> None:
    """Each shade is five times the number in its picture's name: shard 00002 begins with number 8."""
    shades = [5 * int(Path(path).stem[-4:]) / 255 for path in paths]
    torch.testing.assert_close(found.tensor()[:, 0], torch.tensor(shades), atol=4e-3, rtol=0)


@pytest.mark.parametrize("kind", ["pooled", "grid"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_features_are_those_of_the_pictures_in_files(paths, tmp_path, kind, workers):
    mixed = paths.sample(frac=1, random_state=0)
    store, files = tmp_path / "store", unpacked(mixed, tmp_path)
    found = extract_shards(encoder([]), mixed, store, batch_size=3, workers=workers, kind=kind)
    expected = extract_features(encoder([]), files, tmp_path / "other", workers=0, kind=kind)
    assert torch.equal(found.tensor(), expected.tensor())
    assert torch.equal(found.tensor([7, 2]), expected.tensor([7, 2]))
    assert found.computed == expected.computed == 12
    names = [path.parent.name for path in files_of(store, "stamp-grid" if kind == "grid" else "stamp")]
    assert names == ["00000.tar", "00001.tar", "00002.tar"]


def test_nothing_is_computed_twice_and_what_is_asked_for_alone_is_computed(paths, tmp_path):
    seen: list[int] = []
    some = paths.iloc[[1, 5, 6]]
    check(extract_shards(encoder(seen), some, tmp_path / "store", workers=0), some)
    assert sum(seen) == 3
    check(extract_shards(encoder(seen), paths, tmp_path / "store", workers=0), paths)
    assert sum(seen) == 12
    assert extract_shards(encoder(seen), paths[::-1], tmp_path / "store", workers=0).computed == 0


@pytest.mark.parametrize("lost", [1, 44, 45, 44 * 4])
def test_a_shard_that_was_not_finished_goes_on_in_its_middle(paths, tmp_path, lost):
    store, seen = tmp_path / "store", []
    extract_shards(encoder([]), paths, store, workers=0)
    middle = files_of(store)[1]
    middle.write_bytes(middle.read_bytes()[:-lost])
    found = extract_shards(encoder(seen), paths, store, workers=0)
    assert sum(seen) == found.computed == -(-lost // 44)
    check(found, paths)


def test_a_killed_extraction_goes_on(paths, tmp_path):
    store, fork = tmp_path / "store", multiprocessing.get_context("fork")

    def killed_at_the_third_batch() -> None:
        seen: list[int] = []
        alone = encoder(seen)

        def encode(pixels: torch.Tensor) -> torch.Tensor:
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return alone.encode_images(pixels)

        extract_shards(replace(alone, encode_images=encode), paths, store, batch_size=3, workers=0)

    process = fork.Process(target=killed_at_the_third_batch)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    told: list[tuple[int, int]] = []
    found = extract_shards(
        encoder([]), paths, store, workers=0, tell=lambda progress: told.append((progress.done, progress.shards))
    )
    assert found.computed == 12 - 4  # the first shard's four stand there
    assert told == [(3, 3)]
    check(found, paths)


def test_two_processes_extract_at_once(paths, tmp_path):
    store, fork = tmp_path / "store", multiprocessing.get_context("fork")
    both = fork.Barrier(2)

    def extract(some: pd.Series) -> None:
        alone = encoder([])

        def encode_with_the_other(pixels: torch.Tensor) -> torch.Tensor:
            both.wait(60)
            return alone.encode_images(pixels)

        extract_shards(replace(alone, encode_images=encode_with_the_other), some, store, batch_size=2, workers=0)

    processes = [fork.Process(target=extract, args=(some,)) for some in (paths, paths[::-1])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(files_of(store)) == 6
    found = extract_shards(encoder([]), paths, store, workers=0)
    assert found.computed == 0
    check(found, paths)


def test_a_shard_replaced_by_another_is_noticed(paths, tmp_path):
    shard, store = Path(paths.iloc[0]).parent, tmp_path / "store"
    extract_shards(encoder([]), paths, store, workers=0)
    names = [Path(path).name for path in paths[:4]]
    write_tar(shard, {name: picture(250) for name in names})
    found = extract_shards(encoder([]), paths[:4], store, workers=0)
    torch.testing.assert_close(found.tensor(), torch.full((4, 4), 250 / 255), atol=4e-3, rtol=0)
    assert found.computed == 1  # four names of one picture


def test_shards_of_one_name_share_no_rows(tmp_path):
    patterns = [write_shards(tmp_path / name, 1) for name in ("one", "other")]
    write_tar(tmp_path / "other/00000.tar", {"0.jpg": picture(200)})
    tables = [read_shards(shard_paths(pattern), tmp_path / "store/shards") for pattern in patterns]
    paths = pd.concat([table["image_path"] for table in tables], ignore_index=True)
    found = extract_shards(encoder([]), paths, tmp_path / "store", workers=0)
    assert (found.tensor()[:, 0] * 255).round().tolist() == [0, 5, 10, 15, 200]


def test_what_cannot_be_embedded_is_named(paths, tmp_path):
    store, shard = tmp_path / "store", Path(paths.iloc[0]).parent
    with pytest.raises(ValueError, match=r"00000\.tar/gone\.jpg: there is no such picture"):
        extract_shards(encoder([]), pd.Series([f"{shard}/gone.jpg"]), store, workers=0)
    large = replace(encoder([]), encode_images=lambda pixels: torch.full((len(pixels), 4), 1e6))
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match=r"outside float16 .* among .*00000\.tar"):
        extract_shards(large, paths, store, workers=0)
    write_tar(shard, {"0.jpg": b"no picture"})
    with pytest.raises(ValueError, match=r"00000\.tar/0\.jpg cannot be read as a picture"):
        extract_shards(encoder([]), pd.Series([f"{shard}/0.jpg"]), store, workers=0)


def test_many_shards_need_no_more_open_files(tmp_path):
    members = {"0.jpg": picture(9)}
    paths = [str(write_tar(tmp_path / f"{number}.tar", members) / "0.jpg") for number in range(40)]
    before = len(os.listdir("/proc/self/fd"))
    found = extract_shards(encoder([]), pd.Series(paths), tmp_path / "store", workers=0)
    assert len(found.tensor()) == 40
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_a_corpus_in_shards_becomes_splits(tmp_path, monkeypatch, make_model):
    monkeypatch.chdir(tmp_path)
    data = Data(corpus="files", language="en", images=write_shards(Path("shards")), dev_images=2, test_images=2)
    prepared = prepare_corpus(data)
    features = corpus_features(prepared, encoder([]), prepared.images)
    check(features, prepared.images["image_path"])
    splits = make_splits(prepared, features, make_model().tokenizer, 10)
    assert {name: len(split.images) for name, split in splits.items()} == {"train": 8, "dev": 2, "test": 2}
    for split in splits.values():
        check(Features(features.vectors, features.rows[split.images], 0.0, 0),
              prepared.images["image_path"].iloc[split.images])  # fmt: skip
