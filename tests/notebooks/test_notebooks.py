"""Every notebook through the path users take, at a tiny size; and the rules notebooks are written by."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.explore import captioner as captioning
from clipcap_lib.files import read_json
from clipcap_lib.reporting.notebook_html import notebook_html
from clipcap_lib.runner.jobs import COMPARISONS, STUDY
from clipcap_lib.runner.parameter_cells import notebook_parameters
from clipcap_lib.runs import read_runs

pytestmark = pytest.mark.notebooks
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURES = {
    "01_data_preparation": 3, "02_feature_extraction": 2, "03_train": 2, "04_mlp_vs_bert": 3, "05_decoding": 5,
    "06_results": 4, "07_explore": 0,
}  # fmt: skip


def executed(reports: Path) -> list[Path]:
    return sorted((reports / "emoji-tiny").glob("*/*/notebook.ipynb"))


def test_every_notebook_of_the_experiment_ran(reports):
    names = {path.parent.name for path in executed(reports)}
    runs = {f"{mapping}-{tuning}-s0" for mapping in ("mlp", "bert") for tuning in ("frozen", "full")}
    assert names == {"01_data_preparation", "02_feature_extraction", *COMPARISONS, *runs} - {STUDY}
    assert all(
        (path.parent / "DONE").exists() and (path.parent / "summary.json").exists() for path in executed(reports)
    )


def test_outputs_are_clean_and_figures_are_there(reports):
    for path in executed(reports):
        notebook = nbformat.read(path, as_version=4)
        text = json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)
        for litter in ("0%|", "interactive(children", "Warning", "Glyph", '"name": "stderr"'):
            assert litter not in text, f"{path.parent.name}: {litter}"
        figures = text.count('"image/png"')
        assert figures == FIGURES[json.loads((path.parent / "job.json").read_text())["notebook"]], path.parent.name


def test_a_run_folder_holds_what_the_contract_says(reports):
    folder = reports / "emoji-tiny" / "runs" / "bert-full-s0"
    for name in (
        "params.json",
        "history.csv",
        "summary.json",
        "captions.parquet",
        "provenance.json",
        "model/model.safetensors",
    ):
        assert (folder / name).exists(), name
    summary = read_json(folder / "summary.json")
    assert summary["steps"] == 20
    assert 0 < summary["best_dev_loss"] < 20
    assert 0 <= summary["test_objects"] <= 1


def test_plain_papermill_works_too(tmp_path, monkeypatch):
    """With a kernel that is started, not forked."""
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "local-provisioner")
    small = {
        "train_images": 64,
        "dev_images": 8,
        "test_images": 8,
        "compositional_images": 8,
        "steps": 4,
        "warmup_steps": 1,
    }
    parameters = small | {
        "mapping": "transformer",
        "tuning": "lora",
        "mapper_layers": 1,
        "strategy": "mbr n:2",
        "output": str(tmp_path / "run"),
    }
    papermill.execute_notebook(
        ROOT / "notebooks/03_train.ipynb", tmp_path / "out.ipynb", parameters, progress_bar=False
    )
    (run,) = read_runs([str(tmp_path / "run")])  # a finished run like any other
    assert run.summary["steps"] == 4


def test_the_tiny_models_can_be_trained_again(tmp_path):
    parameters = {
        "clip_steps": 2, "clip_batch_size": 4, "probe_scenes": 32, "test_scenes": 16, "gpt2_steps": 2,
        "gpt2_batch_size": 2, "output": str(tmp_path / "models"),
    }  # fmt: skip
    papermill.execute_notebook(
        ROOT / "notebooks/00_tiny_models.ipynb", tmp_path / "out.ipynb", parameters, progress_bar=False
    )
    names = ("tiny-clip.pt", "tiny-clip.md", "tiny-gpt2-zh/model.safetensors", "tiny-gpt2-en/README.md")
    assert all((tmp_path / "models" / name).exists() for name in names)
    output = json.dumps([cell.get("outputs", []) for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells])
    assert "stderr" not in output
    card = (tmp_path / "models" / "tiny-clip.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("sha256", "seed", "last loss", "CC BY-SA 4.0"))


def test_an_executed_copy_links_to_no_neighbours(reports):
    copies = list((reports / "emoji-tiny").glob("*/*/notebook.ipynb"))
    assert len(copies) > 6
    for path in copies:
        cells = nbformat.read(path, as_version=4).cells
        assert not [cell for cell in cells if "navigation" in cell.metadata.get("tags", [])], path


def test_mapping_mlp_builds_an_mlp(reports):
    from clipcap_lib.mapping import MLPMapper
    from clipcap_lib.model import ClipCapModel

    assert isinstance(ClipCapModel.from_pretrained(reports / "emoji-tiny/runs/mlp-full-s0/model").mapper, MLPMapper)


def caption(*arguments: str):
    return CliRunner().invoke(app, ["caption", *arguments])


def test_a_run_captions_from_any_folder_with_what_its_own_project_holds(reports, monkeypatch, tmp_path):
    run = reports / "emoji-tiny" / "runs" / "mlp-full-s0"
    picture = ROOT / pd.read_parquet(run / "captions.parquet")["image_path"][0]
    monkeypatch.chdir(tmp_path)
    captioner = captioning.Captioner.from_pretrained(run)
    assert captioner.caption(picture, "mbr n:2")  # weighs words by the training captions
    assert list(tmp_path.iterdir()) == []  # no corpus was made here


def test_pictures_are_captioned_from_the_command_line(reports, monkeypatch):
    run = reports / "emoji-tiny" / "runs" / "mlp-full-s0"
    pictures = pd.read_parquet(run / "captions.parquet")["image_path"].head(2).tolist()
    plain = caption(*pictures, "--run", str(run))
    assert plain.exit_code == 0, plain.output
    assert [line.split("\t")[0] for line in plain.output.splitlines()] == [Path(name).name for name in pictures]
    monkeypatch.setattr("clipcap_lib.cli.captioning.BATCH", 1)
    assert caption(*pictures, "--run", str(run)).output == plain.output
    search = ("--strategy", "contrastive", "--k", "4", "--alpha", "0.6", "--json")
    found = [json.loads(line) for line in caption(*pictures, "--run", str(run), *search).output.splitlines()]
    several = [
        json.loads(line) for line in caption(*pictures, "--run", str(run), *search, "--n", "5").output.splitlines()
    ]
    assert all(len(row["captions"][0]["tokens"]) > 0 for row in found)
    assert [row["captions"][0]["text"] for row in several] == [row["captions"][0]["text"] for row in found]
    assert all(len({caption["text"] for caption in row["captions"]}) == 5 for row in several)
    long = caption(pictures[0], "--run", str(run), "--min-new-tokens", "20", "--no-repeat-ngram", "1", "--json")
    words = json.loads(long.output)["captions"][0]["tokens"]
    assert len(words) >= 20
    assert len(set(words)) == len(words)
    five = caption(pictures[0], "--run", str(run), "--strategy", "sample", "--n", "5")
    assert len(five.output.splitlines()) == 5
    kept = caption(pictures[0], "--run", str(run), "--strategy", "best-of-n min_p:0.1", "--n", "5")
    assert len(kept.output.splitlines()) == 1


def test_pictures_that_are_called_alike_are_told_apart(reports, tmp_path):
    run = reports / "emoji-tiny" / "runs" / "mlp-full-s0"
    one, another = pd.read_parquet(run / "captions.parquet")["image_path"].head(2)
    twin = Path(shutil.copy(another, tmp_path / Path(one).name))
    how = ("--run", str(run), "--strategy", "sample temperature:2")
    alone = caption(one, one, *how).output.splitlines()
    lines = caption(one, str(twin), another, *how).output.splitlines()
    assert [line.split("\t")[0] for line in alone] == [Path(one).name] * 2
    assert [line.split("\t")[0] for line in lines] == [str(Path(one).absolute()), str(twin), Path(another).name]
    assert lines[0].split("\t")[1] == alone[0].split("\t")[1], "a draw depends on the file's name alone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--strategy", "contrastive", "--k", "4"), "option 'alpha' is required"),
        (("--strategy", "greedy", "--k", "4"), "it has no option 'k'"),
        (("--strategy", "beem"), "did you mean 'beam'"),
        (("--max-new-tokens", "0"), "Invalid value for '--max-new-tokens'"),
        ((), "there is no such picture"),
    ],
)
def test_impossible_captioning_is_refused_in_one_line(reports, arguments, message):
    result = caption("nowhere.jpg", "--run", str(reports / "emoji-tiny/runs/mlp-full-s0"), *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_what_the_model_cannot_do_is_refused_before_a_picture_is_embedded(reports, monkeypatch):
    run = reports / "emoji-tiny" / "runs" / "mlp-full-s0"
    picture = pd.read_parquet(run / "captions.parquet")["image_path"][0]
    monkeypatch.setattr(captioning.Captioner, "embed", lambda *_: pytest.fail("a picture was embedded"))
    result = caption(picture, "--run", str(run), "--max-new-tokens", "1000")
    assert result.exit_code == 2
    assert "128 positions less the prefix leave 124" in result.output


def test_the_report_is_self_contained_and_links_exist(reports):
    for page in (reports / "emoji-tiny" / "index.html", reports / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
        assert "<script src" not in text
        for link in re.findall(r'href="([^"#][^"]*)"', text):
            assert link.startswith("data:") or (page.parent / link).exists(), link
        assert len(text) < 5_000_000
    page = (reports / "emoji-tiny" / "index.html").read_text(encoding="utf-8")
    images = BeautifulSoup(page, "html.parser").find_all("img")
    assert images
    assert all(len(image["alt"]) >= 8 and "No description" not in image["alt"] for image in images)


def test_figures_come_with_their_numbers_and_pictures_with_none(reports):
    bundles = [
        output["data"] for path in executed(reports) for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]  # fmt: skip
    with_numbers = [bundle["text/csv"] for bundle in bundles if "text/csv" in bundle]
    assert 0 < len(with_numbers) < len(bundles)  # notebook 01 shows pictures
    assert all(text.startswith("panel,series,x,y\n") and text.count("\n") > 1 for text in with_numbers)


def test_running_again_does_nothing(reports):
    before = {path: path.stat().st_mtime_ns for path in executed(reports)}
    result = CliRunner().invoke(
        app, ["run", str(ROOT / "notebooks/experiments/emoji-tiny.yaml"), "--reports", str(reports)]
    )
    assert result.exit_code == 0
    assert result.output.count("kept") == len(before)
    assert {path: path.stat().st_mtime_ns for path in executed(reports)} == before


def test_a_mistake_in_an_experiment_stops_before_any_work(tmp_path):
    text = (ROOT / "notebooks/experiments/emoji-tiny.yaml").read_text(encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(text.replace("steps: 20", "stepz: 20"), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(tmp_path / "bad.yaml"), "--reports", str(tmp_path / "reports")])
    assert result.exit_code == 2
    assert "stepz" in result.output
    assert not (tmp_path / "reports").exists()


# --- the rules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook_parameters(path)
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "zh" not in cell.metadata.get("tags", [])  # which has one of its own
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    assert len(titles) == 1
    head = notebook.cells[0].source
    assert all(word in head for word in ("You will see", "Needs", "Produces"))
    for cell in code:
        if "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 26, cell.source
            assert not re.search(r"^\s*(def|class) ", cell.source, flags=re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0[1-8]*.ipynb")), ids=lambda path: path.stem)
def test_what_is_shown_of_photographs_says_nothing_of_emoji_scenes(path):
    page = re.sub(r'<details class="code">.*?</details>', "", notebook_html(path, scenes=False), flags=re.DOTALL)
    assert re.findall("(?i)emoji|scene", page) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    links = re.findall(r"\]\(([^)]+\.ipynb)\)", "\n".join(cell.source for cell in notebook.cells))
    assert links
    assert all((path.parent / link).exists() for link in links)
