"""The gallery finds its own figures under their headings in a small notebook, or says which it lacks."""

import shutil

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.reporting.gallery import FIGURES, first_figure_under


def test_a_figure_is_found_under_its_heading(notebook):
    assert first_figure_under(notebook, "损失曲线") == b"\x89PNG picture"
    with pytest.raises(ValueError, match="Nowhere"):
        first_figure_under(notebook, "Nowhere")
    with pytest.raises(ValueError, match="no figure under the heading 'Nothing here'"):
        first_figure_under(notebook, "Nothing here")  # the next heading's figure is not its own


def test_a_gallery_without_a_figure_is_refused_in_one_line(notebook, tmp_path):
    for name, _ in FIGURES.values():
        copy = tmp_path / "emoji-zh" / "notebooks" / name / "notebook.ipynb"
        copy.parent.mkdir(parents=True)
        shutil.copy(notebook, copy)
    result = CliRunner().invoke(app, ["gallery", "--reports", str(tmp_path)])
    assert result.exit_code == 2
    assert "no figure under the heading" in result.output
    assert result.output.count("\n") == 1
