"""Run folders: lists of them however they are typed, those of an experiment, and JSON that any reader reads."""

import json
import math

import numpy as np
import pytest

from clipcap_lib.files import read_json, write_json
from clipcap_lib.runs import listed, read_runs, run_folders


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ("reports/x/runs/y", ["reports/x/runs/y"]),
        ('["reports/a", "reports/b"]', ["reports/a", "reports/b"]),
        ("['reports/a']", ["reports/a"]),
        ("[greedy, beam width:5]", ["greedy", "beam width:5"]),
        ("beam width:5 n:3", ["beam width:5 n:3"]),
        (4, [4]),
        (0.6, [0.6]),
        ("[2, 4]", [2, 4]),
        ("[0.0, 0.6]", [0.0, 0.6]),
        ("", []),
    ],
)
def test_a_list_is_read_however_it_was_typed(value, expected):
    assert listed(value) == expected


def test_a_list_that_was_not_closed_is_named():
    with pytest.raises(ValueError, match=r"\[\"a\", \"b: expected a list such as \[\"a\", \"b\"\]"):
        listed('["a", "b')


@pytest.fixture
def reports(tmp_path):
    for name in ("one", "two", ".three.partial"):
        (tmp_path / "mine/runs" / name).mkdir(parents=True)
        (tmp_path / "mine/runs" / name / "DONE").touch()
    (tmp_path / "mine/runs/unfinished").mkdir()
    return tmp_path


def test_the_folder_of_an_experiment_stands_for_its_finished_runs(reports):
    runs = [f"{reports}/mine/runs/one", f"{reports}/mine/runs/two"]
    assert run_folders(f"{reports}/mine") == runs
    assert run_folders(f'["{reports}/mine"]') == runs
    assert run_folders(runs) == runs
    assert run_folders(runs[1]) == runs[1:]


def test_a_folder_without_a_finished_run_is_named_whole(reports):
    with pytest.raises(FileNotFoundError, match=f"no finished run in: {reports}/mine/runs/unfinished;"):
        read_runs(run_folders(f"{reports}/mine/runs/unfinished"))


def test_unfinished_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="half-done"):
        read_runs([str(tmp_path / "half-done")])


def test_a_number_that_is_none_is_null_in_json(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [1.5, np.float64("inf")], "c": {"d": (np.nan, 2)}})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == read_json(tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}}
