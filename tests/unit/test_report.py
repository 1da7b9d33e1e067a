"""Pages: failures are red with their cell, figures are described by their heading, the gallery finds its own."""

import base64
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.experiment import load_experiment
from clipcap_lib.gallery import FIGURES, first_figure_under
from clipcap_lib.pipeline import Job, Outcome, partial_folder
from clipcap_lib.report import render_notebook, write_report

PNG = base64.b64encode(b"\x89PNG picture").decode()


def figure_cell(source: str = "plot()", tags: tuple[str, ...] = ()):
    output = new_output("display_data", {"image/png": PNG, "text/plain": "<Figure>"})
    return new_code_cell(source, outputs=[output], execution_count=1, metadata={"tags": list(tags)})


@pytest.fixture
def notebook(tmp_path):
    cells = [
        new_markdown_cell("# The title"), new_code_cell("secret = 1", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Nothing here"), new_markdown_cell("## 损失曲线"), figure_cell(),
        new_markdown_cell("## Next"), figure_cell("widget()", ("interactive",)),
    ]  # fmt: skip
    path = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_a_rendered_notebook_folds_code_and_describes_figures(notebook):
    body = render_notebook(notebook)
    assert '<details class="code">' in body
    assert 'alt="Figure: 损失曲线"' in body
    for hidden in ("The title", "secret", "widget()", "No description"):
        assert hidden not in body


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


def test_a_failed_notebook_is_named_with_its_cell(project, tmp_path):
    experiment = load_experiment(project / "notebooks" / "experiments" / "emoji-tiny.yaml")
    job = Job("03_train", tmp_path / experiment.name / "runs" / "mlp-full-s0", {})
    partial_folder(job).mkdir(parents=True)
    page = write_report(experiment, [Outcome(job, "failed", 3.0, "cell 7: ValueError: <too bad>")], tmp_path)
    for path in (page, tmp_path / "index.html"):
        text = path.read_text(encoding="utf-8")
        assert "cell 7: ValueError: &lt;too bad&gt;" in text
        assert "failed" in text
