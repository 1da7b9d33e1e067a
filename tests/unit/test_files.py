"""Files that several processes may touch: whole or as before, and no litter; one holder at a time."""

import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.files import claim, remove_temporaries, replacing


def test_an_error_while_a_file_is_written_leaves_the_old_one_and_no_litter(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "old")]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "new")]


def test_what_a_killed_process_left_is_removed(tmp_path):
    script = "import os, sys, pathlib; from clipcap_lib.files import replacing\n"
    script += "with replacing(pathlib.Path(sys.argv[1])) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.pt"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    remove_temporaries(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_place_is_held_until_it_is_released_or_its_holder_dies(tmp_path):
    place = tmp_path / "run"
    held = claim(place)
    script = "import sys, pathlib; from clipcap_lib.files import claim; held = claim(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, place]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "run is in use by process" in refused.stderr
    again = claim(place)  # a cell that is run twice in one kernel
    for lock in (again, held):
        lock.release()
    assert subprocess.run(command, check=False).returncode == 0
    claim(place).release()
    assert not place.exists()


def test_of_two_processes_that_want_a_folder_one_writes_and_the_other_waits(tmp_path):
    script = """
import pathlib, sys, time
from clipcap_lib.files import write_once

def write(place):
    place.mkdir()
    (place / "first").touch()
    with open(sys.argv[2], "a") as log:
        log.write("written ")
    time.sleep(1)
    (place / "last").touch()

write_once(pathlib.Path(sys.argv[1]), write)
assert (pathlib.Path(sys.argv[1]) / "last").exists()  # whoever returns finds it whole
"""
    command = [sys.executable, "-c", script, tmp_path / "corpus", tmp_path / "log"]
    (tmp_path / ".corpus.partial").mkdir()  # of a process that was killed
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "written "
    assert not (tmp_path / ".corpus.partial").exists()


def test_two_runs_of_one_experiment_the_second_is_refused_at_once(tmp_path):
    script = "import sys, pathlib; from clipcap_lib.files import claim; held = claim(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-uc", script + "; print(1); input()", tmp_path / "emoji-tiny"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    result = CliRunner().invoke(app, ["run", "emoji-tiny", "--reports", str(tmp_path)])
    other.kill()
    other.wait()
    assert result.exit_code == 2
    assert f"emoji-tiny is in use by process {other.pid} on" in result.output
    assert not (tmp_path / "emoji-tiny").exists()


def test_a_full_disk_while_the_report_is_written_is_said(tmp_path, monkeypatch):
    def full(self: Path, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr("clipcap_lib.runner.progress.run_with_board", lambda *a: [])
    monkeypatch.setattr("clipcap_lib.runner.warm_kernels.use_warm_kernels", lambda: None)
    monkeypatch.setattr("clipcap_lib.runner.warm_kernels.warm_process", lambda: ThreadPoolExecutor(1))  # here
    monkeypatch.setattr(Path, "write_text", lambda self, *a, **k: full(self) if "html" in self.name else None)
    result = CliRunner().invoke(app, ["run", "emoji-tiny", "--reports", str(tmp_path)])
    assert result.exit_code == 1
    assert "the report could not be written: [Errno 28] No space left on device" in result.output
    assert not list(tmp_path.glob("**/*.tmp"))
