"""The page over all runs: its data are the table of runs, and what varied is found for each experiment."""

import json
import re

import pandas as pd
import pytest
import vl_convert

from clipcap_lib.reporting import runs_page


@pytest.fixture
def table() -> pd.DataFrame:
    rates, seeds = [1e-3, 2e-3], [0, 1]
    rows = [
        ("sweep", f"mlp-{rate}-{seed}", "mlp", seed, rate, 1 + 100 * rate + seed / 100)
        for rate in rates
        for seed in seeds
    ]
    rows += [("pair", name, name, 0, 1e-3, 1.0) for name in ("mlp", "bert")]
    return pd.DataFrame(rows, columns=["experiment", "run", "mapping", "seed", "learning_rate", "best_dev_loss"])


SETTINGS = ["mapping", "seed", "learning_rate"]


def test_only_what_varies_in_an_experiment_of_four_runs_is_an_axis(table):
    found = runs_page.sweeps(table, SETTINGS)
    assert set(found["experiment"]) == {"sweep"}
    assert set(found["setting"]) == {"seed", "learning rate", runs_page.LOSS}
    assert runs_page.sweeps(table.iloc[:0], SETTINGS).empty


def test_values_stand_in_the_order_of_their_numbers_and_the_loss_where_it_lies(table):
    table.loc[table["learning_rate"] == 2e-3, "learning_rate"] = 10  # "10" comes before "0.001" as a word
    found = runs_page.sweeps(table, SETTINGS)
    rates = found[found["setting"] == "learning rate"]
    assert rates.set_index("value")["place"].to_dict() == {"0.001": 0, "10": 1}
    losses = found[found["setting"] == runs_page.LOSS]
    spread = losses["loss"].max() - losses["loss"].min()
    assert losses["place"].tolist() == pytest.approx(
        ((losses["loss"] - losses["loss"].min()) / spread).tolist(), abs=1e-4
    )


@pytest.mark.parametrize("make", [runs_page._parallel, runs_page._single])
def test_the_charts_compile(table, make):
    vega = vl_convert.vegalite_to_vega(make(runs_page.sweeps(table, SETTINGS)).to_dict())
    assert "experiment" in {signal["name"] for signal in vega["signals"]}


def test_a_folder_without_runs_has_a_page(tmp_path):
    page = runs_page.write_runs_page(tmp_path).read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert json.loads(data)["rows"] == []
