"""Notebooks by plain papermill, from another folder: lists as text, misspelt values, a folder for each setting."""

import json
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from clipcap_lib.files import read_json

pytestmark = pytest.mark.notebooks
ROOT = Path(__file__).parents[2]


def execute(name: str, folder: Path, **parameters) -> str:
    """What a notebook shows when papermill was started in `folder`."""
    made, output = folder / "out.ipynb", str(folder / "out")
    papermill.execute_notebook(
        ROOT / f"notebooks/{name}.ipynb", made, {"output": output} | parameters, progress_bar=False, cwd=folder
    )
    return json.dumps([cell.get("outputs", []) for cell in nbformat.read(made, as_version=4).cells], ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "03_train",
            {"mapping": "brt"},
            "mapping: 'brt' is not one of mlp, bert, transformer, linear, direct; did you mean 'bert'",
        ),
        ("05_decoding", {"strategies": "grdy"}, "decoding strategy 'grdy' is unknown; did you mean 'greedy'?"),
        ("06_results", {"decoders": "[greedy, bem]"}, "decoding strategy 'bem' is unknown; did you mean 'beam'?"),
    ],
)
def test_a_misspelt_value_is_refused_in_a_setup_cell_before_any_work(tmp_path, name, parameters, message):
    with pytest.raises(PapermillExecutionError) as error:
        execute(name, tmp_path, **parameters)
    assert error.value.ename == "ValueError"
    assert message in error.value.evalue
    assert "pydantic" not in error.value.evalue
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    executed = [cell for cell in cells if cell.cell_type == "code" and cell.execution_count]
    assert all(set(cell.metadata.tags) & {"parameters", "injected-parameters", "setup"} for cell in executed)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.ipynb"]


@pytest.mark.parametrize("form", ['["{}"]', "{}/runs/mlp-full-s0"])
def test_runs_may_be_a_folder_or_a_list_as_text(reports, tmp_path, form):
    execute("04_mlp_vs_bert", tmp_path, runs=form.format(reports / "emoji-tiny"))
    losses = read_json(tmp_path / "out/summary.json")["best_dev_loss"]
    assert len(losses) == (1 if "/runs/" in form else 4)


def test_every_list_may_be_one_item_as_text(reports, tmp_path):
    run = str(reports / "emoji-tiny/runs/mlp-full-s0")
    few = {"runs": run, "decoding_images": 2}
    execute("05_decoding", tmp_path, strategies="greedy", grid_k=2, grid_alpha="[0.6]", **few)
    assert list(read_json(tmp_path / "out/summary.json")["strategies"]) == ["greedy"]
    execute("06_results", tmp_path, decoders="greedy", samples=1, extremes=1, **few)
    assert "greedy" in execute("07_explore", tmp_path, runs=run, tried="greedy", interactive=False)


def test_a_short_run_says_that_its_rate_stays_low_and_notebook_01_computes_its_sentence(tmp_path):
    small = {"train_images": 32, "dev_images": 4, "test_images": 4, "compositional_images": 4, "report_language": "en"}
    shown = execute("03_train", tmp_path, steps=2, mapper_layers=1, **small)
    assert "the learning rate reaches only 1 % of its peak" in shown
    shown = execute("01_data_preparation", tmp_path, **small)
    assert "No picture of dev or test is a training picture, compared byte by byte." in shown


def test_cross_attention_on_a_grid_from_training_to_captions(tmp_path, reports):
    """Notebook 03 trains it, `caption` and notebooks 05 to 07 read it, notebook 08 sets it beside other runs."""
    tiny = {"train_images": 128, "dev_images": 16, "test_images": 16, "compositional_images": 16, "data_seed": 3}
    run, steps = str(tmp_path / "out"), {"steps": 4, "warmup_steps": 1, "evaluate_every": 2}
    shown = execute("03_train", tmp_path, mapping="direct", features="grid", bridge="cross-attention", tuning="frozen",
                    cross_attention_width=20, strategy="best-of-n n:2", **tiny, **steps)  # fmt: skip
    assert "[2, 3, 1, 5, 9, 4]" in shown.replace("\n", "")  # keys and values, blocks, batch, heads, tokens, w
    for name, parameters in {
        "05_decoding": {"strategies": ["greedy", "magic k:2 alpha:0.1 beta:0.5"], "decoding_images": 4, "grid_k": [2]},
        "06_results": {"decoders": ["beam width:2", "best-of-n n:2"], "decoding_images": 4, "samples": 2},
        "07_explore": {"tried": ["contrastive k:2 alpha:0.1"], "interactive": False},
    }.items():
        assert "Traceback" not in execute(name, tmp_path, runs=run, output=str(tmp_path / name), **parameters)
    both = [run, str(reports / "emoji-tiny" / "runs" / "mlp-frozen-s0")]
    english = {"output": str(tmp_path / "08"), "report_language": "en"}
    shown = execute("08_what_limits", tmp_path, runs=both, probed_images=100, **english)
    findings = read_json(tmp_path / "08" / "summary.json")["findings"]
    assert any(said.startswith("This rests on one seed") for said in findings)
    assert "guessing" in shown  # the probes
    assert shown.count("image/png") >= 2
