"""Learning curves show all they are about, by the limits that their own axes have."""

from pathlib import Path

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
