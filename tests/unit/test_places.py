"""From any folder: the project is found by what is named, and what needs none works without one."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from clipcap_lib import project as project_module
from clipcap_lib.cli import app
from clipcap_lib.files import write_json
from clipcap_lib.model import ClipCapConfig, ClipCapModel
from clipcap_lib.project import enter_project


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder outside every project, and a library that was not installed from a clone."""
    monkeypatch.setattr(project_module, "__file__", str(tmp_path / "site-packages/clipcap_lib/project.py"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def make_project(folder: Path) -> Path:
    (folder / "notebooks/experiments").mkdir(parents=True)
    return folder


def test_the_project_is_the_one_one_stands_in_then_the_one_that_is_named_then_the_library_s(nowhere, monkeypatch):
    one, two, three = (make_project(nowhere / name) for name in ("one", "two", "three"))
    named = two / "reports/x/runs/y"
    monkeypatch.setattr(project_module, "__file__", str(three / "clipcap_lib/project.py"))
    assert enter_project() == three
    monkeypatch.chdir(nowhere)
    assert enter_project(named) == two == Path.cwd()
    monkeypatch.chdir(nowhere)
    assert enter_project(Path("one/mine.yaml"), named) == one
    (two / "deep").mkdir()
    monkeypatch.chdir(two / "deep")
    assert enter_project(one) == two


def test_without_a_project_it_is_said_where_to_go(nowhere):
    with pytest.raises(FileNotFoundError, match=r"elsewhere is not inside the workbench: `cd` into your clone"):
        enter_project(nowhere / "reports")


@pytest.mark.parametrize("name", ["emoji-tiny", "{project}/notebooks/experiments/emoji-tiny.yaml"])
def test_the_doctor_works_from_another_folder(tmp_path, monkeypatch, project, name):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor", name.format(project=project)])
    assert result.exit_code == 0, result.output
    assert Path.cwd() == project


@pytest.fixture
def imported(tmp_path, language_model, project):
    """A folder as `clipcap import` writes it, of an untrained captioner."""
    encoder = f"clip:{project / 'data/models/tiny-clip.pt'}"
    torch.manual_seed(0)
    config = ClipCapConfig(
        mapping="mlp", tuning="full", encoder=encoder, language_model=language_model, clip_size=512, prefix_length=3,
        clip_length=2, mapper_layers=1, mapper_heads=4,
    )  # fmt: skip
    ClipCapModel.build(config).save_pretrained(tmp_path / "imported/model")
    write_json(tmp_path / "imported/params.json", config.model_dump() | {"language": "zh"})
    return tmp_path / "imported"


def caption(folder: Path, *options: str):
    for number in range(3):
        Image.new("RGB", (96, 96), (80 * number, 40, 0)).save(folder / f"{number}.jpg")
    names = [f"{number}.jpg" for number in range(3)]  # as they are typed: relative to the caller's folder
    return CliRunner().invoke(app, ["caption", *names, "--max-new-tokens", "12", *options])


def test_an_imported_checkpoint_needs_no_workbench(nowhere, imported):
    shutil.move(imported, nowhere / "mine")
    result = caption(nowhere, "--run", "mine")
    assert result.exit_code == 0, result.output
    assert [line.split("\t")[0] for line in result.output.splitlines()] == ["0.jpg", "1.jpg", "2.jpg"]
    assert Path.cwd() == nowhere


def test_a_run_that_needs_the_workbench_says_so(nowhere, imported):
    write_json(imported / "params.json", json.loads((imported / "params.json").read_text()) | {"corpus": "files"})
    result = caption(nowhere, "--run", str(imported))
    assert result.exit_code == 2
    assert "`cd` into your clone" in result.output


def test_what_caption_writes_as_json_can_be_scored(nowhere, imported):
    result = caption(nowhere, "--run", str(imported), "--strategy", "beam width:3 n:2", "--json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert [row["image_id"] for row in rows] == ["0.jpg", "1.jpg", "2.jpg"]
    first, run = rows[0], str(imported)
    assert (first["image"], first["run"]) == (str(nowhere / "0.jpg"), run)
    assert first["strategy"] == {"name": "beam", "width": 3, "length_penalty": 1.0, "n": 2}
    assert first["caption"] == first["captions"][0]["text"]
    assert len(first["captions"]) == 2
    for made in first["captions"]:
        assert len(made["tokens"]) == len(made["token_texts"])
        assert all(text.strip() for text in made["token_texts"])
        assert isinstance(made["score"], float)
    plain = caption(nowhere, "--run", run, "--strategy", "beam width:3").output.splitlines()
    assert [line.split("\t") for line in plain] == [[row["image_id"], row["caption"]] for row in rows]

    Path("captions.json").write_text(result.output, encoding="utf-8")
    references = [{"image_id": row["image_id"], "caption": row["caption"] + "猫"} for row in rows]
    Path("references.json").write_text(json.dumps(references), encoding="utf-8")
    scored = CliRunner().invoke(app, ["score", "captions.json", "references.json", "--language", "zh", "--json"])
    assert scored.exit_code == 0, scored.output
    Path("captions.txt").write_text("\n".join(plain), encoding="utf-8")
    by_lines = CliRunner().invoke(app, ["score", "captions.txt", "references.json", "--language", "zh", "--json"])
    assert scored.output == by_lines.output
    assert Path.cwd() == nowhere
