"""What travels between machines arrives as it was, or not at all."""

import tarfile
from pathlib import Path

import pytest

from clipcap_lib.runner.carrying import needed_paths, pack, unpack
from clipcap_lib.runner.experiment import find_experiment, load_experiment
from clipcap_lib.runner.jobs import Job, plan_jobs


def test_a_folder_and_a_file_arrive_as_they_were(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "weights").write_bytes(bytes(range(256)))
    (tmp_path / "run" / "DONE").touch()
    unpack(pack(tmp_path / "run"), tmp_path / "far" / "away" / "run")
    unpack(pack(tmp_path / "run" / "model" / "weights"), tmp_path / "far" / "weights")
    arrived = {path.relative_to(tmp_path / "far").as_posix() for path in (tmp_path / "far").rglob("*")}
    assert arrived == {"away", "away/run", "away/run/DONE", "away/run/model", "away/run/model/weights", "weights"}
    copies = tmp_path / "far" / "weights", tmp_path / "far" / "away" / "run" / "model" / "weights"
    assert [copy.read_bytes() for copy in copies] == [bytes(range(256))] * 2
    assert copies[0].stat().st_mtime == pytest.approx((tmp_path / "run/model/weights").stat().st_mtime, abs=1)


def test_what_is_cut_off_leaves_nothing(tmp_path):
    (tmp_path / "whole").write_bytes(b"1" * 5000)
    with pytest.raises(tarfile.ReadError):
        unpack(pack(tmp_path / "whole")[:3000], tmp_path / "far" / "whole")
    assert list((tmp_path / "far").iterdir()) == []


def test_a_job_needs_results_and_the_files_it_names(project, monkeypatch):
    monkeypatch.chdir(project)
    data, _, run, *_, results = plan_jobs(load_experiment(find_experiment(Path("emoji-tiny"))), Path("reports"))
    models = [Path("data/models/tiny-clip.pt"), Path("data/models/tiny-gpt2-zh")]
    assert needed_paths(data) == []
    shared = [Path("reports/emoji-tiny/notebooks") / name for name in ("01_data_preparation", "02_feature_extraction")]
    assert needed_paths(run) == [*shared, *models]
    assert {path.parent.name for path in needed_paths(results) if path not in models} == {"runs"}
    own = run.parameters | {"images": "notebooks", "captions_file": str((project / "README.md").absolute())}
    named = needed_paths(type(run)(run.notebook, run.folder, own))
    assert named == [*models, Path("notebooks")]  # an absolute path is taken to be there


def test_a_job_needs_each_of_its_shards(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("0.tar", "1.tar"):
        Path(name).touch()
    assert needed_paths(Job("01_data_preparation", tmp_path, {"images": "{0,1}.tar"})) == [Path("0.tar"), Path("1.tar")]
