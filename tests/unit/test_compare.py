"""Comparing runs: intervals, regressions, and what counts as a run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipcap_lib.compare import Comparison, _deltas, _labels, find_run


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


def test_only_a_fall_beyond_the_tolerance_is_a_regression():
    table = pd.DataFrame({"run": "b", "metric": ["x", "y", "z"], "delta": [-0.05, -0.01, 0.3]})
    assert Comparison([], ["a", "b"], table).regressions(0.02)["metric"].tolist() == ["x"]


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
