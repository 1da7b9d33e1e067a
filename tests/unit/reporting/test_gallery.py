"""The gallery finds its own figures under their headings in a small notebook, or says which it lacks."""

import shutil

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.reporting import gallery
from clipcap_lib.reporting.gallery import FIGURES, first_figure_under
from clipcap_lib.runs import read_json, write_json


def test_a_figure_is_found_under_its_heading(notebook):
    assert first_figure_under(notebook, "损失曲线") == b"\x89PNG picture"
    with pytest.raises(ValueError, match="Nowhere"):
        first_figure_under(notebook, "Nowhere")
    with pytest.raises(ValueError, match="no figure under the heading 'Nothing here'"):
        first_figure_under(notebook, "Nothing here")  # the next heading's figure is not its own


def test_a_gallery_without_a_figure_is_refused_in_one_line(notebook, tmp_path):
    for experiment, name, _ in FIGURES.values():
        copy = tmp_path / experiment / "notebooks" / name / "notebook.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, copy)
    result = CliRunner().invoke(app, ["gallery", "--reports", str(tmp_path)])
    assert result.exit_code == 2
    assert "no figure under the heading" in result.output
    assert result.output.count("\n") == 1


def test_answers_say_what_they_rest_on_and_those_of_other_experiments_stay(tmp_path, notebook, monkeypatch):
    monkeypatch.setattr(gallery, "FIGURES", {"a.png": ("emoji-zh", "04_mlp_vs_bert", "损失曲线"),
                                             "b.png": ("emoji-zh-scaling", "08_what_limits", "损失曲线")})  # fmt: skip
    place = tmp_path / "emoji-zh" / "notebooks" / "04_mlp_vs_bert"
    place.mkdir(parents=True)
    shutil.copy(notebook, place / "notebook.ipynb")
    write_json(place / "summary.json", {"findings": ["MLP is ahead."]})
    run = tmp_path / "emoji-zh" / "runs" / "mlp-full-s0"
    run.mkdir(parents=True)
    write_json(run / "provenance.json", {"git_commit": "abc", "device": "a CPU"})
    (tmp_path / "gallery").mkdir()
    write_json(tmp_path / "gallery" / "answers.json", {"emoji-zh-scaling": {"findings": ["It shrinks."]}})
    made = gallery.write_gallery(tmp_path, tmp_path / "gallery")
    assert [path.name for path in made] == ["a.png", "answers.json"]
    answers = read_json(made[-1])
    assert answers["emoji-zh"] == {"findings": ["MLP is ahead."], "commit": "abc", "device": "a CPU", "runs": 1}
    assert answers["emoji-zh-scaling"] == {"findings": ["It shrinks."]}
