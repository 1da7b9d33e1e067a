"""Figures show all they are about: by the limits that their own axes have, and by where points lie."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipcap_lib.reporting import figures
from clipcap_lib.runs import Run


def run(train: list[float], dev: list[float]) -> Run:
    rows = [
        (step, step * 10, step * 0.5, split, "loss", value)
        for split, values in (("train", train), ("dev", dev))
        for step, value in enumerate(values)
    ]
    history = pd.DataFrame(rows, columns=["step", "images", "seconds", "split", "metric", "value"])
    params = {"mapping": "mlp", "tuning": "full", "seed": 0}
    return Run(Path("mlp-full-s0"), params, {"best_dev_loss": min(dev)}, history, pd.DataFrame())


@pytest.mark.parametrize(
    ("train", "dev"), [([3.0, *[0.5] * 60], [3.0, 1.0]), ([3.0, *[2.0] * 60], [3.0, 1.0])], ids=["train", "dev"]
)
def test_the_lowest_curve_stays_inside_the_frame(train, dev):
    (axis,) = figures.learning_curves([run(train, dev)]).axes
    lowest = min(line.get_ydata()[-1] for line in axis.lines)
    assert axis.get_ylim()[0] < lowest


def test_the_map_shows_the_two_directions_in_which_embeddings_differ_most():
    vectors = np.random.default_rng(0).normal(size=(40, 7)) * [1, 5, 1, 3, 1, 1, 1] + 2
    axis = figures.embedding_map(vectors, ["a"] * 40, "").axes[0]
    centred = vectors - vectors.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    drawn = np.concatenate([np.asarray(group.get_offsets()) for group in axis.collections])
    assert np.abs(drawn) == pytest.approx(np.abs(centred @ directions[:2].T))  # an axis may point either way
    shares = values**2 / (values**2).sum()
    assert f"({shares[0]:.0%} of variance)" in axis.get_xlabel() and f"({shares[1]:.0%})" in axis.get_ylabel()
