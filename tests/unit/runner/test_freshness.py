"""What runs again after a change of the library: by the job's hash, with a copy of the library that is changed."""

import shutil
from pathlib import Path

import pytest

from clipcap_lib.provenance import sources
from clipcap_lib.runner.experiment import find_experiment, load_experiment
from clipcap_lib.runner.freshness import job_hash
from clipcap_lib.runner.jobs import plan_jobs


@pytest.fixture
def library(tmp_path, monkeypatch, project) -> Path:
    """A copy of the library that hashes are taken from."""
    monkeypatch.chdir(project)
    copy = tmp_path / "clipcap_lib"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


def hashes(*overrides: str) -> dict[str, str]:
    experiment = load_experiment(find_experiment(Path("emoji-tiny")), overrides, "emoji-tiny")
    jobs = plan_jobs(experiment, Path("reports"))
    return {job.name: job_hash(job) for job in jobs}


def changed(file: Path, old: str, new: str) -> set[str]:
    """The jobs that run again when a piece of a file is another."""
    before, text = hashes(), file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    after = hashes()
    return {name for name in before if before[name] != after[name]}


COMPARED = {"04_mlp_vs_bert", "05_decoding", "06_results", "07_explore"}
RUNS = {f"{mapping}-{tuning}-s0" for mapping in ("mlp", "bert") for tuning in ("frozen", "full")}


def test_a_change_of_how_results_are_drawn_trains_nothing_again(library):
    assert changed(library / "reporting/figures.py", '"""Every plot', '"""Each plot') == COMPARED
    assert changed(library / "reporting/templates/style.css", "body", "body ") <= COMPARED
    assert changed(library / "wording.py", '"""What notebooks', '"""All that notebooks') == COMPARED


def test_another_language_of_the_report_trains_nothing_again(library):
    before = hashes()
    after = hashes("report_language=zh")
    assert {name for name in before if before[name] != after[name]} == COMPARED


def test_a_change_of_a_mapping_network_trains_again(library):
    assert changed(library / "mapping.py", "nn.Tanh()", "nn.ReLU()") == RUNS | COMPARED


def test_a_change_of_the_command_line_or_the_doctor_runs_nothing_again(library):
    assert changed(library / "cli/__init__.py", '"""The `clipcap`', '"""This `clipcap`') == set()
    assert changed(library / "runner/doctor.py", '"""What', '"""All that') == set()
    assert changed(library / "reporting/gallery.py", '"""The README', '"""This README') <= COMPARED


def test_a_change_of_what_prepares_the_corpus_runs_everything_again(library):
    everything = {"01_data_preparation", "02_feature_extraction"} | RUNS | COMPARED
    assert changed(library / "emoji/kinds.csv", "cat", "tomcat") == everything
