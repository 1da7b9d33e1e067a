"""A corpus is prepared once, whole, and anew when its files change."""

from pathlib import Path

import pytest
from PIL import Image
from shards_of import picture, write_shards, write_tar

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.runner import freshness, jobs
from clipcap_lib.runner.freshness import job_hash
from clipcap_lib.runner.jobs import Job
from clipcap_lib.settings import Data


@pytest.fixture
def data(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / f"images/{number}.jpg")
    captions = tmp_path / "captions.txt"
    captions.write_text("".join(f"{number}\ta picture\n" for number in range(6)))
    return Data(corpus="files", language="en", captions_file=str(captions), images=str(tmp_path / "images"),
                dev_images=1, test_images=1)  # fmt: skip


def test_pictures_that_come_later_are_taken_in(data, tmp_path):
    job = Job("01_data_preparation", tmp_path / "job", {"images": data.images})
    first, before = prepare_corpus(data, tmp_path), job_hash(job)
    assert len(first.images) == 4
    assert prepare_corpus(data, tmp_path).fingerprint == first.fingerprint
    for number in (4, 5):
        Image.new("RGB", (8, 8), (0, 40 * number, 0)).save(tmp_path / f"images/{number}.jpg")
    assert len(prepare_corpus(data, tmp_path).images) == 6
    freshness._pictures.cache_clear()  # as in another process
    assert job_hash(job) != before
    whole = prepare_corpus(data, tmp_path).fingerprint
    Image.new("RGB", (64, 64)).save(tmp_path / "images/5.jpg")  # of another size, as one whose copying had broken off
    assert prepare_corpus(data, tmp_path).fingerprint != whole


def test_a_preparation_that_broke_off_leaves_nothing_that_passes_for_one(data, tmp_path, monkeypatch):
    monkeypatch.setattr("pandas.DataFrame.to_parquet", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_corpus(data, tmp_path)
    monkeypatch.undo()
    assert len(prepare_corpus(data, tmp_path).images) == 4


def test_a_split_without_pictures_is_named(data, tmp_path):
    splits = tmp_path / "splits.csv"
    splits.write_text("image_id,split\n0,restval\n1,val\n2,test\n3,train\n")
    mine = data.model_copy(update={"splits_file": str(splits)})
    assert prepare_corpus(mine, tmp_path).images["split"].tolist() == ["train", "dev", "test", "train"]
    splits.write_text("image_id,split\n0,train\n1,valid\n2,test\n3,train\n")
    with pytest.raises(ValueError, match=r"splits\.csv: no picture is in the split dev; found: test, train, valid"):
        prepare_corpus(mine, tmp_path)


def test_one_picture_under_every_name_makes_no_splits(data, tmp_path):
    for path in (tmp_path / "images").iterdir():
        Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(ValueError, match="in the split dev or test; .*; different pictures among its 4 images: 1"):
        prepare_corpus(data, tmp_path)


def test_shards_that_come_later_or_are_missing_make_other_jobs(tmp_path, monkeypatch, project):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "NOTEBOOKS", project / "notebooks")
    pattern, hashes = write_shards(Path("shards")), []
    for change in (lambda: None, lambda: None, lambda: write_tar(Path("shards/00001.tar"), {"0.jpg": picture(9)}),
                   Path("shards/00002.tar").unlink):  # fmt: skip
        change()
        freshness._pictures.cache_clear()  # as in another process
        hashes.append(job_hash(Job("01_data_preparation", tmp_path / "job", {"images": pattern})))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
