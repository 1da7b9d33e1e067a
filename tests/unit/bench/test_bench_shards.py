"""The bench's generated shards are real ones, and what it measures is what passed."""

import tarfile
from pathlib import Path

from clipcap_lib.bench.shards import curve, measure, write_shards
from clipcap_lib.images import open_picture


def test_generated_shards_are_read_as_tar_files(tmp_path):
    paths = write_shards(tmp_path, 25, 10)
    seen = {}
    for path in paths:
        with tarfile.open(path) as tar:
            seen |= {member.name: tar.extractfile(member).read() for member in tar}
    assert [path.name for path in paths] == ["00000.tar", "00001.tar", "00002.tar"]
    assert list(seen)[-2:] == ["000000024.jpg", "000000024.txt"]
    assert len(set(seen.values())) == len(seen) == 50
    assert all(text.endswith(name[:9].encode()) for name, text in seen.items() if name.endswith(".txt"))
    assert open_picture(Path(paths[1]) / "000000011.jpg").size == (16, 16)


def test_each_stage_is_measured_to_its_end(tmp_path):
    table = measure(tmp_path, 200, 50).table()
    for _, rows in table.groupby("stage"):
        assert rows["pictures"].is_monotonic_increasing
        assert rows["pictures"].iloc[-1] == 200
    assert set(table["stage"]) == {"reading", "extraction"}
    assert (table[["rate", "megabytes"]] > 0).all(axis=None)
    for axis, column in zip(curve(table).axes, ("rate", "megabytes"), strict=True):
        drawn = {tuple(point) for line in axis.lines for point in line.get_xydata()}
        assert drawn >= set(zip(table["pictures"], table[column], strict=True))
