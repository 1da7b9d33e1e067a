"""One table of every finished run: read, filtered and sorted, five hundred of them in under two seconds' work."""

import io
import json

import pandas as pd
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from clipcap_lib.analysis.all_runs import all_runs, chosen_runs
from clipcap_lib.cli import app
from clipcap_lib.cli.messages import print_whole
from clipcap_lib.files import write_json


def finished(reports, experiment, name, **params):
    folder = reports / experiment / "runs" / name
    folder.mkdir(parents=True)
    params = {"mapping": "mlp", "tuning": "full", "seed": 0, "learning_rate": 1e-3, "test_images": 200} | params
    write_json(folder / "params.json", params)
    write_json(folder / "summary.json", {"best_dev_loss": 0.1 * (1 + params["seed"]), "steps": 10, "seconds": 3.0,
                                         "trainable_parameters": 5, "test_all": 0.25})  # fmt: skip
    write_json(folder / "provenance.json", {"git_commit": "0123456789abcdef"})
    (folder / "DONE").touch()
    return folder


@pytest.fixture
def reports(tmp_path):
    for seed in range(3):
        finished(tmp_path, "one", f"mlp-full-s{seed}", seed=seed)
    finished(tmp_path, "adhoc", "bert-full-s5", mapping="bert", seed=5, learning_rate=2e-3)
    (finished(tmp_path, "one", "unfinished") / "DONE").unlink()
    (finished(tmp_path, "one", "damaged") / "summary.json").write_text("{")
    return tmp_path


def test_every_finished_run_is_there_with_what_differs(reports):
    table = all_runs(reports)
    assert sorted(table["run"]) == ["bert-full-s5", "mlp-full-s0", "mlp-full-s1", "mlp-full-s2"]
    assert set(table["experiment"]) == {"one", "adhoc"}
    assert "learning_rate" in table
    assert "test_images" not in table  # the same for all
    assert set(table["commit"]) == {"0123456789"}


def test_the_interval_of_a_share_is_wilsons(reports):
    row = all_runs(reports).iloc[0]
    expected = binomtest(50, 200).proportion_ci(method="wilson")
    assert (row["right_low"], row["right_high"]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_runs_are_chosen_and_sorted(reports):
    chosen = chosen_runs(all_runs(reports), 'mapping == "mlp" and seed > 0', "-best_dev_loss")
    assert chosen["seed"].tolist() == [2, 1]
    assert len(chosen_runs(all_runs(reports), None, None)) == 4


def test_runs_are_chosen_by_what_all_of_them_share(reports):
    assert len(all_runs(reports, "test_images == 200")) == 4


@pytest.mark.parametrize(
    ("where", "sort", "message"),
    [("mappin == 3", None, "--where mappin == 3: .*the columns are experiment, run, mapping"),
     ("seed <", None, "--where seed <"),
     ("seed", None, "write a condition"),
     ("@pd.io == 3", None, "--where @pd"),
     (None, "-", "--sort -: no column"),
     (None, "best_loss", "--sort best_loss: no column; did you mean 'best_dev_loss'")],
)  # fmt: skip
def test_what_cannot_be_asked_is_told(reports, where, sort, message):
    with pytest.raises(ValueError, match=message):
        chosen_runs(all_runs(reports), where, sort)


def test_no_run_is_no_error(tmp_path):
    assert all_runs(tmp_path).empty


def test_the_command_writes_each_form(reports):
    def said(*options):
        result = CliRunner().invoke(app, ["runs", "--reports", str(reports), "--sort", "seed", *options])
        assert result.exit_code == 0, result.output
        return result.output

    assert pd.read_csv(io.StringIO(said("--csv")))["seed"].tolist() == [0, 1, 2, 5]
    assert [row["mapping"] for row in json.loads(said("--json"))] == ["mlp", "mlp", "mlp", "bert"]
    lines = said("--md").splitlines()
    assert lines[0].startswith("| experiment | run | mapping |")
    assert len(lines) == 2 + 4
    assert "bert-full-s5" in said()


def test_a_wide_table_is_printed_whole(capsys):
    wide = {"run": ["mlp-full-s0-" + 40 * "key=value,"], "best_dev_loss": [0.123456], "note": [None]}
    print_whole(pd.DataFrame(wide))
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == list(wide)
    assert row.split() == [wide["run"][0], "0.1235"]
