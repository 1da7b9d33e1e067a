"""Comparing runs: intervals, regressions, and what counts as a run."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.reporting import compare_runs as compare
from clipcap_lib.reporting.compare_runs import Comparison, _deltas, _labels, find_run


def scores(shift, seed=0, images=200):
    rng = np.random.default_rng(seed)
    base = rng.random(images)
    names = [str(number) for number in range(images)]
    return pd.DataFrame({"all": (base + shift > 0.5).astype(float), "CIDEr-D": base + shift}, index=names)


def test_a_paired_interval_is_narrower_than_the_spread_of_the_images():
    (_, row) = _deltas("b", scores(0.0), scores(0.1))
    assert row["delta"] == pytest.approx(0.1)
    assert row["low"] == pytest.approx(0.1)
    assert row["high"] == pytest.approx(0.1)


def test_two_equal_runs_differ_by_nothing_and_unequal_ones_hold_their_delta():
    assert all(row["delta"] == 0 for row in _deltas("b", scores(0.0), scores(0.0)))
    for row in _deltas("b", scores(0.0), scores(0.0, seed=1)):
        assert row["low"] <= row["delta"] <= row["high"]
        assert row["low"] < 0 < row["high"]


def test_images_that_were_not_judged_do_not_count():
    base, other = scores(0.0), scores(0.2)
    other.loc[other.index[:50], "all"] = np.nan
    base.loc[base.index[-50:], "all"] = np.nan
    (row, _) = _deltas("b", base, other)
    both = base.index[50:-50]
    assert row["images"] == 100
    assert row["value"] == pytest.approx(other.loc[both, "all"].mean())
    assert row["delta"] == pytest.approx((other.loc[both, "all"] - base.loc[both, "all"]).mean())


def test_verdicts_and_how_many_pictures_would_settle_it():
    (better,) = [row for row in _deltas("b", scores(0.0), scores(0.1, seed=0)) if row["metric"] == "CIDEr-D"]
    assert better["verdict"] == "better" and better["to_settle"] <= 1
    base, other = scores(0.0)[["CIDEr-D"]], scores(0.02, seed=1)[["CIDEr-D"]]
    (row,) = _deltas("b", base, other)
    assert row["verdict"] == "may be chance"
    # So many pictures drawn from these make an interval of about the difference's own width on either side.
    difference = (other - base)["CIDEr-D"]
    half = 1.96 * difference.std() / np.sqrt(row["to_settle"])
    assert half == pytest.approx(abs(row["delta"]), rel=0.01)
    found = Comparison([], ["a", "b"], pd.DataFrame([better, row | {"metric": "count"}]))
    assert compare.verdicts(found) == ["b against a: better in CIDEr-D; what differs in count may be chance."]


DELTAS = pd.DataFrame({
    "run": "b", "metric": ["all", "relation", "count", "size"], "value": 0.5,
    "first": 0.6, "verdict": ["worse", "may be chance", "worse", "better"], "images": 19, "to_settle": 30.0,
    "delta": [-0.05, -0.105, -0.01, 0.3], "low": [-0.07, -0.368, -0.02, 0.2], "high": [-0.03, 0.105, -0.005, 0.4],
})  # fmt: skip


def test_only_a_fall_beyond_the_tolerance_is_worse_and_only_an_interval_without_0_is_clear():
    worse = Comparison([], ["a", "b"], DELTAS).worse(0.02)
    assert worse.set_index("metric")["clear"].to_dict() == {"all": True, "relation": False}


@pytest.mark.parametrize(("metrics", "strict", "code"), [
    (["all", "relation"], False, 1), (["relation"], False, 0), (["relation"], True, 1), (["size", "count"], True, 0),
])  # fmt: skip
def test_what_may_be_chance_is_said_and_fails_only_where_asked(tmp_path, monkeypatch, metrics, strict, code):
    found = Comparison([], ["a", "b"], DELTAS[DELTAS["metric"].isin(metrics)])
    monkeypatch.setattr(compare, "compare", lambda runs: found)
    monkeypatch.setattr(compare, "write_comparison", lambda found, output, language: output)
    command = ["compare", "a", "b", "--output", str(tmp_path / "page.html"), *(["--strict"] if strict else [])]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    said = "b: relation -0.105 (95 % interval -0.368 to +0.105, so it may be chance) against a"
    assert (said in result.output) == ("relation" in metrics)


def test_a_comparison_for_a_pull_request(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "compare", lambda runs: Comparison([], ["a", "b"], DELTAS))
    monkeypatch.setattr(compare, "write_comparison", lambda found, output, language: output)
    command = ["compare", "a", "b", "--output", str(tmp_path / "page.html")]
    lines = CliRunner().invoke(app, [*command, "--md"]).output.splitlines()
    assert lines[0].startswith("| run | metric | a | value | difference")
    assert lines[3] == "| b | relation | 60.0 % | 50.0 % | -10.5 | -36.8 … +10.5 | may be chance | 19 | 30 |"
    found = pd.DataFrame(json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout))
    pd.testing.assert_frame_equal(found, DELTAS, check_dtype=False, check_like=True)


def test_runs_without_a_common_image_are_refused():
    other = scores(0.0)
    other.index = "other " + other.index
    with pytest.raises(ValueError, match="no test image in common"):
        _deltas("b", scores(0.0), other)


def test_labels_are_as_short_as_tells_runs_apart():
    folders = [Path("/a/emoji-zh/runs/mlp"), Path("/b/emoji-zh/runs/mlp"), Path("/b/emoji-zh/runs/bert")]
    assert _labels(folders[1:]) == ["mlp", "bert"]
    assert _labels([folders[0], Path("/b/emoji-en/runs/mlp")]) == ["emoji-zh/mlp", "emoji-en/mlp"]
    assert _labels(folders) == [str(folder) for folder in folders]
    with pytest.raises(ValueError, match="a run is named twice"):
        _labels([folders[0], folders[0]])


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither the folder of a finished run"):
        find_run(tmp_path)
