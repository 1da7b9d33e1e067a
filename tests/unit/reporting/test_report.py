"""Pages: failures are red with their cell, figures are described by their heading, scenes are told with scenes only."""

import re
import shutil

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from clipcap_lib.reporting.report import SECTIONS, render_notebook, write_report
from clipcap_lib.runner.experiment import Experiment, load_experiment
from clipcap_lib.runner.pipeline import Job, Outcome, partial_folder
from clipcap_lib.settings import Data


def test_a_rendered_notebook_folds_code_and_describes_figures(notebook):
    body = render_notebook(notebook)
    assert '<details class="code">' in body
    assert 'alt="Figure: 损失曲线"' in body
    for hidden in ("The title", "secret", "widget()", "No description"):
        assert hidden not in body


def test_a_failed_notebook_is_named_with_its_cell(project, tmp_path):
    experiment = load_experiment(project / "notebooks" / "experiments" / "emoji-tiny.yaml")
    job = Job("03_train", tmp_path / experiment.name / "runs" / "mlp-full-s0", {})
    partial_folder(job).mkdir(parents=True)
    page = write_report(experiment, [Outcome(job, "failed", 3.0, "cell 7: ValueError: <too bad>")], tmp_path)
    for path in (page, tmp_path / "index.html"):
        text = path.read_text(encoding="utf-8")
        assert "cell 7: ValueError: &lt;too bad&gt;" in text
        assert "failed" in text


def said(page: str) -> str:
    """What a page says to who does not unfold the code."""
    return re.sub(r'<details class="code">.*?</details>|<style>.*?</style>', "", page, flags=re.DOTALL)


def report_of(experiment: Experiment, notebooks, reports) -> str:
    """The report over notebooks as they are committed, whose code and texts are those of any corpus."""
    outcomes = []
    for name in SECTIONS:
        job = Job(name, reports / experiment.name / "notebooks" / name, {})
        job.folder.mkdir(parents=True)
        shutil.copy(notebooks / f"{name}.ipynb", job.folder / "notebook.ipynb")
        outcomes.append(Outcome(job, "done", 1.0))
    return said(write_report(experiment, outcomes, reports).read_text(encoding="utf-8"))


def test_a_report_of_photographs_says_nothing_of_emoji_scenes(project, tmp_path):
    scenes = load_experiment(project / "notebooks" / "experiments" / "emoji-tiny.yaml")
    data = Data(corpus="files", captions_file="captions.csv", images_folder="photographs")
    photographs = scenes.model_copy(update={"name": "photographs", "title": "Photographs", "data": data})
    page = report_of(photographs, project / "notebooks", tmp_path)
    only_scenes = "(?i)emoji|scene|✓|five ways|what the pictures show|name the right things|compositions"
    assert re.findall(only_scenes, page) == []
    assert "The same pictures, every run" in page  # the rest is there
    other = report_of(scenes, project / "notebooks", tmp_path)
    for words in ("Emoji scenes are drawn", "What the pictures show", "✓ means", "name the right things", "OpenMoji"):
        assert words in other


def test_cells_on_scenes_are_shown_with_scenes_only(tmp_path, figure_cell):
    tagged = {"tags": ["scenes"]}
    cells = [
        new_markdown_cell("## Any corpus"), new_markdown_cell("## Only scenes", metadata=tagged),
        figure_cell("scene()", ("scenes",)), new_code_cell("anything()"),
    ]  # fmt: skip
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "notebook.ipynb")
    assert "Only scenes" in render_notebook(path)
    assert "Figure: Only scenes" in render_notebook(path)
    body = render_notebook(path, scenes=False)
    assert "Any corpus" in body
    assert "anything" in body
    assert "Only scenes" not in body
    assert "<img" not in body
