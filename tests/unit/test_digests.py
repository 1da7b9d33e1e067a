"""Digests of files: each file is read once, and no change is overlooked."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipcap_lib.digests import file_digests, folder_digest


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [folder / f"{shade}.bmp" for shade in range(5)]
    for path in paths:
        Image.new("RGB", (8, 8), (int(path.stem),) * 3).save(path)
    return paths


def test_a_file_replaced_by_one_of_its_size_and_time_is_noticed(pictures, tmp_path):
    manifest = tmp_path / "files.parquet"
    bmp = pictures[0]
    stat = os.stat(bmp)
    first = file_digests([bmp], manifest)
    Image.new("RGB", (8, 8), (3, 2, 1)).save(bmp)
    os.utime(bmp, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert os.stat(bmp).st_size == stat.st_size
    assert file_digests([bmp], manifest) != first


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\0" * 500])
def test_a_damaged_manifest_costs_a_reading(pictures, tmp_path, content):
    manifest = tmp_path / "files.parquet"
    expected = file_digests(pictures, manifest)
    manifest.write_bytes(content)
    assert np.array_equal(file_digests(pictures, manifest), expected)
    assert np.array_equal(file_digests(pictures, manifest), expected)


def test_a_manifest_of_an_earlier_version_is_read_anew(pictures, tmp_path):
    manifest = tmp_path / "files.parquet"
    expected = file_digests(pictures, manifest)
    pd.read_parquet(manifest).drop(columns="changed").assign(digest="0" * 32).to_parquet(manifest)
    assert np.array_equal(file_digests(pictures, manifest), expected)


def test_a_folder_is_told_by_names_and_bytes_alone(pictures, tmp_path):
    folder, manifest = pictures[0].parent, tmp_path / "files.parquet"
    first = folder_digest(folder, manifest)
    shutil.copytree(folder, tmp_path / "copy")
    assert folder_digest(tmp_path / "copy", manifest) == first
    pictures[0].write_bytes(pictures[1].read_bytes())
    assert folder_digest(folder, manifest) != first
    (tmp_path / "copy" / "0.bmp").rename(tmp_path / "copy" / "9.bmp")
    assert folder_digest(tmp_path / "copy", manifest) != first
    (folder / "link").symlink_to(folder / "nowhere")
    folder_digest(folder, manifest)
