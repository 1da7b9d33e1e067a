"""The chart's data are the run's history, and its description compiles as Vega."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vl_convert

from clipcap_lib.reporting import charts
from clipcap_lib.reporting.run_names import distinct_names
from clipcap_lib.runs import Run


def run(mapping: str, steps: int, seed: int = 0, experiment: str = "one") -> Run:
    values = np.linspace(3 + seed, 1, steps)
    rows = [(step, step * 10, step * 0.5, "train", "loss", value) for step, value in enumerate(values)]
    rows += [(step, step * 10, step * 0.5, "dev", "loss", 2.0) for step in range(0, steps, 10)]
    history = pd.DataFrame(rows, columns=["step", "images", "seconds", "split", "metric", "value"])
    return Run(
        Path(experiment, f"{mapping}-full-s{seed}"),
        {"mapping": mapping, "tuning": "full", "seed": seed},
        {},
        history,
        pd.DataFrame(),
    )


def spec(chart) -> dict:
    """What the page holds of a chart."""
    (data,) = re.findall(r"<script[^>]*>(.*?)</script>", charts.embed(chart, "curves"), flags=re.DOTALL)
    return json.loads(data)


def points(chart) -> pd.DataFrame:
    (data,) = spec(chart)["datasets"].values()
    return pd.read_csv(io.StringIO(data))


def test_the_curves_are_the_history():
    chart = charts.loss_curves([run("mlp", 40), run("bert", 40)])
    found = points(chart)
    train = found[(found["run"] == "mlp, full") & (found["split"] == "train")]
    assert train["none"].tolist() == pytest.approx(np.linspace(3, 1, 40), abs=1e-4)
    assert train["images"].tolist() == [step * 10 for step in range(40)]
    smooth = pd.Series(np.linspace(3, 1, 40)).ewm(span=25).mean()
    assert train["some"].tolist() == pytest.approx(smooth.tolist(), abs=1e-4)


def test_each_run_has_a_name_and_a_line_of_its_own():
    runs = [run("mlp", 40), run("mlp", 40, seed=1), run("bert", 40), run("mlp", 40, experiment="other")]
    names = ["one/mlp-full-s0", "mlp, full, seed 1", "bert, full", "other/mlp-full-s0"]
    assert distinct_names(runs) == names
    chart = charts.loss_curves(runs)
    found = points(chart)
    for name, each in zip(names, runs, strict=True):
        drawn = found[(found["run"] == name) & (found["split"] == "train")]
        assert drawn["none"].tolist() == pytest.approx(each.history["value"].head(40).tolist(), abs=1e-4)
    (shown,) = [parameter["value"] for parameter in spec(chart)["params"] if parameter["name"] == "shown"]
    assert shown == names


def test_many_steps_are_thinned_and_evaluations_are_not():
    found = points(charts.loss_curves([run("mlp", 20_000)]))
    assert 2_000 < (found["split"] == "train").sum() <= charts.POINTS
    assert (found["split"] == "dev").sum() == 2_000


def test_the_chart_compiles_without_complaint():
    vega = vl_convert.vegalite_to_vega(spec(charts.loss_curves([run("mlp", 20)])))
    assert {"x", "curves", "smoothing", "logarithm", "shown"} <= {signal["name"] for signal in vega["signals"]}


def test_data_in_a_page_cannot_end_its_script():
    assert "</script><b>, full" in json.dumps(spec(charts.loss_curves([run("</script><b>", 20)])))
