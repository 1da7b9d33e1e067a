"""Numbers of loss curves on made-up runs: intervals by integrating Student's t, curves and captions by hand."""

import math
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from made_up_runs import run

from clipcap_lib.analysis import loss_curves
from clipcap_lib.analysis.loss_curves import caption_scores, images_until, seed_interval
from clipcap_lib.metrics.reference import DocumentFrequencies, score
from clipcap_lib.runs import Run


@pytest.mark.parametrize("seeds", range(2, 11))
def test_the_interval_is_students(seeds):
    values = np.random.default_rng(seeds).normal(3, 1, seeds)
    low, high = seed_interval(pd.Series(values))
    quantile = (high - mean(values)) / (stdev(values) / math.sqrt(seeds))
    assert mean(values) - low == pytest.approx(high - mean(values))
    assert share_within(quantile, seeds - 1) == pytest.approx(0.95, abs=1e-4)


def share_within(quantile: float, freedom: int) -> float:
    """The probability that Student's t lies within ± a value, by integrating its density."""
    x = np.linspace(0, quantile, 200_001)
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    density = scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    return float(2 * ((density[:-1] + density[1:]) / 2 * np.diff(x)).sum())


def test_one_seed_has_no_interval_and_many_have_a_cautious_one():
    assert seed_interval(pd.Series([0.1])) is None
    low, high = seed_interval(pd.Series(np.arange(20.0)))
    assert 2 * 2.093 * 5.916 / math.sqrt(20) < high - low < 1.1 * 2 * 2.093 * 5.916 / math.sqrt(20)


def test_images_until_lies_on_the_curve_between_the_evaluations_around_it():
    slow = run("bert", "full", [8.0, 4.0, 2.0, 3.5, 1.0])
    assert images_until(slow, 4.0) == pytest.approx(10)
    assert images_until(slow, 8**0.5) == pytest.approx(15)
    assert images_until(slow, 2.0) == pytest.approx(20)
    assert 30 < images_until(slow, 1.5) < 40
    assert images_until(slow, 9.0) == 0
    assert images_until(slow, 0.5) is None
    assert images_until(slow, 1.0 - 1e-12) == pytest.approx(40)  # a file of text may lose the last digit


class Prepared:
    """A corpus of three pictures; pictures a and b are the test split's."""

    table = pd.DataFrame({
        "image_id": ["t", "t", "a", "b"], "caption": ["一只猫", "一只狗", "一辆车", "一只猫在草地上"],
        "split": ["train", "train", "test", "test"],
    })  # fmt: skip

    def references(self):
        return self.table.groupby("image_id", sort=False)["caption"].agg(list)


def test_captions_are_scored_by_picture_and_a_corpus_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(loss_curves, "prepare_corpus", lambda data: read.append(data) or Prepared())
    captions = pd.DataFrame({
        "image_id": ["a", "b", "x"], "image_path": ["a.jpg", "", "x.jpg"], "caption": ["一辆车", "一只狗", "一只猫"],
        "split": ["test", "test", "dev"], "all": pd.array([1.0, 0.0, 1.0], dtype="Float64"),
    })  # fmt: skip
    one = run("mlp", "full", [1.0])
    runs = [Run(one.folder, {**one.params, "language": "zh"}, one.summary, one.history, captions)] * 3
    found = caption_scores(runs)
    assert len(read) == 1
    assert len(found) == 3
    frequencies = DocumentFrequencies.of([[["一只", "猫"], ["一只", "狗"]]])
    given = {"a": ["一辆车"], "b": ["一只猫在草地上"]}
    expected = score({"a": "一辆车", "b": "一只狗"}, given, "jieba", frequencies, resamples=1).images["CIDEr-D"]
    assert found[0].index.tolist() == ["a.jpg", "b"]
    assert found[0]["CIDEr-D"].tolist() == expected.tolist()
    assert found[0]["all"].tolist() == [1.0, 0.0]
