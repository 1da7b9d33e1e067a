"""Shards make the corpus that their unpacked files make, and every defect of theirs is named."""

import os
import re
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from shards_of import picture, write_shards, write_tar

from clipcap_lib.corpus import shards as module
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.corpus.shards import Progress, index_shards, read_shards, shard_paths, shards_digest
from clipcap_lib.images import open_picture
from clipcap_lib.settings import Data


@pytest.fixture
def pattern(tmp_path) -> str:
    return write_shards(tmp_path / "shards")


def of_shards(pattern: str, **more) -> Data:
    return Data(corpus="files", language="en", images=pattern, dev_images=2, test_images=2, **more)


def read(pattern: str, tmp_path: Path) -> pd.DataFrame:
    return read_shards(shard_paths(pattern), tmp_path / "indexes").set_index("image_id")


def problems(pattern: str, tmp_path: Path, **more) -> dict[str, tuple]:
    found = prepare_corpus(of_shards(pattern, **more), tmp_path / "data").problems
    return {row.problem: (row.count, row.action, row.examples) for row in found.itertuples(index=False)}


def test_the_corpus_of_shards_is_that_of_their_unpacked_files(pattern, tmp_path):
    captions = ["image,caption"]
    for shard in shard_paths(pattern):
        with tarfile.open(shard) as tar:
            tar.extractall(tmp_path / "files" / shard.stem, filter="data")
        texts = sorted((tmp_path / "files" / shard.stem).glob("*.txt"))
        captions += [f"{shard.stem}/{text.stem}.jpg,{text.read_text()}" for text in texts]
    (tmp_path / "captions.csv").write_text("\n".join(captions))
    unpacked = Data(corpus="files", language="en", captions_file=str(tmp_path / "captions.csv"), dev_images=2,
                    images=str(tmp_path / "files"), test_images=2)  # fmt: skip
    expected, found = prepare_corpus(unpacked, tmp_path), prepare_corpus(of_shards(pattern), tmp_path)
    pd.testing.assert_frame_equal(found.table.drop(columns="image_path"), expected.table.drop(columns="image_path"))
    assert found.problems.empty
    for mine, other in zip(found.table["image_path"], expected.table["image_path"], strict=True):
        assert open_picture(Path(mine)).tobytes() == open_picture(Path(other)).tobytes()
    named = prepare_corpus(of_shards(pattern, captions_file=str(tmp_path / "captions.csv")), tmp_path)
    pd.testing.assert_frame_equal(named.table, found.table)


def test_what_is_wrong_in_shards_is_counted(tmp_path):
    good = {f"{number}.jpg": picture(50 * number) for number in range(4)}
    captions = {f"{number}.txt": b"good" for number in range(4)}
    write_tar(tmp_path / "a.tar", dict(sorted((good | captions).items())) | {"5.jpg": b"", "5.txt": b"x"})
    write_tar(tmp_path / "b.tar", {
        "failed.json": b"{}", "gbk.jpg": picture(201), "gbk.txt": "狗".encode("gbk"), "none.jpg": picture(202),
        "empty.jpg": picture(203), "empty.txt": b" ", "copy.JPG": picture(0), "copy.txt": b"the same",
    })  # fmt: skip
    assert problems(f"{tmp_path}/{{a,b}}.tar", tmp_path) == {
        "sample without a picture": (1, "ignored", "b/failed"),
        "caption that is not UTF-8": (1, "excluded with its captions", "b/gbk.jpg"),
        "empty caption": (1, "excluded", "b/empty.jpg#0"),
        "image without caption": (3, "ignored", "b/empty.jpg, b/gbk.jpg, b/none.jpg"),
        "unreadable image: zero bytes": (1, "excluded with its captions", "a/5.jpg"),
        "same picture under several names": (1, "kept in one split", "a/0.jpg = b/copy.jpg"),
    }


@pytest.mark.parametrize("part", [100, 512, 700])
def test_a_shard_that_is_cut_off_is_read_up_to_there(pattern, tmp_path, part):
    shard = tmp_path / "shards/00001.tar"
    with tarfile.open(shard) as tar:
        start = tar.getmember("000010007.jpg").offset
    shard.write_bytes(shard.read_bytes()[: start + part])  # in its header, behind it, in the picture
    found = problems(pattern, tmp_path)
    assert found["shard that is cut off"] == (1, "read up to there", "00001")
    assert read(pattern, tmp_path)["caption"].notna().sum() == 11


def test_a_shard_that_is_cut_off_is_an_alarm(pattern, tmp_path):
    data = Data(corpus="files", images=pattern, dev_images=1, test_images=1)
    assert prepare_corpus(data, tmp_path / "data").alarms() == []
    shard = tmp_path / "shards/00001.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    (alarm,) = prepare_corpus(data, tmp_path / "data").alarms()
    assert alarm.startswith("Shards that are cut off or damaged: 1 (00001). The pictures behind that place")


def test_a_shard_with_a_damaged_header_is_read_up_to_there(pattern, tmp_path):
    shard = tmp_path / "shards/00001.tar"
    with tarfile.open(shard) as tar:
        start = tar.getmember("000010006.jpg").offset
    content = bytearray(shard.read_bytes())
    content[start : start + 20] = b"?" * 20
    shard.write_bytes(content)
    assert problems(pattern, tmp_path)["shard that is cut off"] == (1, "read up to there", "00001")
    assert read(pattern, tmp_path)["caption"].notna().sum() == 10


def test_what_is_no_tar_file_is_named(pattern, tmp_path):
    for content in (b"", b"no tar file" * 1000):
        (tmp_path / "shards/00001.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"00001\.tar: not a tar file, or a compressed or damaged one: "):
            read(pattern, tmp_path)
    (tmp_path / "shards/00001.tar").unlink()
    with tarfile.open(tmp_path / "shards/00001.tar", "w:gz") as tar:
        tar.add(tmp_path / "shards/00000.tar", "x.jpg")
    with pytest.raises(ValueError, match=r"00001\.tar: not a tar file, or a compressed or damaged one: "):
        read(pattern, tmp_path)


@pytest.mark.parametrize(("names", "error", "match"), [
    ("{00000..00004}.tar", FileNotFoundError, r"2 of 5 shards are not there, such as .*/00003\.tar"),
    ("nowhere.tar", FileNotFoundError, r"the shard is not there, such as .*nowhere\.tar"),
    ("{}.tar", FileNotFoundError, "the shard is not there, such as"),
    ("{00000..00002.tar", ValueError, r"write shards/\{00000\.\.00999\}\.tar"),
    ("{00000,00001,00000}.tar", ValueError, "a shard is named twice"),
])  # fmt: skip
def test_a_pattern_that_names_no_shards_is_refused(pattern, tmp_path, names, error, match):
    with pytest.raises(error, match=match):
        prepare_corpus(of_shards(f"{tmp_path}/shards/{names}"), tmp_path)


def test_names_that_come_again_in_another_shard_are_other_pictures(tmp_path):
    for folder, shade in (("cc3m", 10), ("cc12m", 20)):
        write_tar(tmp_path / folder / "00000.tar", {"0.jpg": picture(shade), "0.txt": folder.encode()})
    found = read(f"{tmp_path}/{{cc3m,cc12m}}/00000.tar", tmp_path)
    assert found["caption"].to_dict() == {"cc3m/00000/0.jpg": "cc3m", "cc12m/00000/0.jpg": "cc12m"}


def test_of_a_name_that_comes_twice_in_a_shard_the_first_is_kept(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"0.jpg": picture(0), "0.txt": b"first", "1.jpg": picture(50)})
    with tarfile.open(path, "a") as tar:
        for name in ("1.jpg", "0.jpg"):
            (tmp_path / name).write_bytes(picture(100))
            tar.add(tmp_path / name, name)
    found = read(str(path), tmp_path)
    twice = found[found["fault"] == "name twice in a shard"]
    assert sorted(twice.index) == ["a/0.jpg", "a/1.jpg"]
    assert (twice["digest"] == "").all()
    kept = found[found["digest"] != ""]
    assert [open_picture(Path(path)).getpixel((0, 0))[0] // 10 for path in kept["image_path"]] == [0, 5]


def test_a_shard_is_read_once_until_it_is_another(pattern, tmp_path, monkeypatch):
    paths, folder, seen = shard_paths(pattern), tmp_path / "indexes", []
    first = shards_digest(paths, folder)
    written = module._write_index
    monkeypatch.setattr(module, "_write_index", lambda path, folder: seen.append(path.name) or written(path, folder))
    assert shards_digest(paths, folder) == first
    assert not seen
    stat = paths[1].stat()
    write_tar(paths[1], {f"{number}.jpg": picture(200) for number in range(4)})
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert shards_digest(paths, folder) != first
    assert seen == ["00001.tar"]


def test_a_damaged_index_costs_a_reading(pattern, tmp_path):
    before = read(pattern, tmp_path)
    for path in (tmp_path / "indexes").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    pd.testing.assert_frame_equal(read(pattern, tmp_path), before)


@pytest.mark.parametrize(("every", "expected"), [(3600.0, [100]), (-1.0, [10, 30, 60, 100])])
def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch, every, expected):
    monkeypatch.setattr(module, "EVERY", every)
    told: list[int] = []
    progress = Progress(1002, lambda it: told.append(it.pictures), done=1000)
    for pictures, finished in ((10, False), (20, True), (30, False), (40, True)):
        progress.add(pictures, finished)
    assert told == expected
    assert re.fullmatch(r"shard 1,002 of 1,002, 100 pictures, [\d,]+ pictures a second", str(progress))


def test_nothing_is_told_of_shards_that_are_read_already(pattern, tmp_path):
    told = []
    for _ in range(2):
        index_shards(shard_paths(pattern), tmp_path / "indexes", told.append)
    assert [progress.pictures for progress in told] == [12]
