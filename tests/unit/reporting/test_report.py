"""Pages: failures are red with their cell, figures are described by their heading, scenes are told with scenes only."""

import re
import shutil

from clipcap_lib.reporting.report import PAGES, QUESTIONS, write_report
from clipcap_lib.runner.experiment import Experiment, load_experiment
from clipcap_lib.runner.jobs import Job, Outcome, partial_folder
from clipcap_lib.settings import Data


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
    return re.sub(
        r'<details class="code">.*?</details>|<style>.*?</style>|<script.*?</script>', "", page, flags=re.DOTALL
    )


def report_of(experiment: Experiment, notebooks, reports) -> str:
    """The report and its pages over notebooks as they are committed, whose code and texts are those of any corpus."""
    outcomes = []
    for name in (*QUESTIONS, *(page for page in PAGES if page != "03_train")):
        job = Job(name, reports / experiment.name / "notebooks" / name, {})
        job.folder.mkdir(parents=True)
        shutil.copy(notebooks / f"{name}.ipynb", job.folder / "notebook.ipynb")
        outcomes.append(Outcome(job, "done", 1.0))
    pages = [write_report(experiment, outcomes, reports), *(reports / experiment.name).glob("notebooks/*/*.html")]
    return "".join(said(page.read_text(encoding="utf-8")) for page in pages)


def test_a_report_of_photographs_says_nothing_of_emoji_scenes(project, tmp_path):
    scenes = load_experiment(project / "notebooks" / "experiments" / "emoji-tiny.yaml")
    data = Data(corpus="files", captions_file="captions.csv", images="photographs")
    scenes = scenes.model_copy(update={"report_language": "en"})
    photographs = scenes.model_copy(update={"name": "photographs", "title": "Photographs", "data": data})
    page = report_of(photographs, project / "notebooks", tmp_path)
    only_scenes = "(?i)emoji|scene|✓|five ways|what the pictures show|name the right things|compositions"
    assert re.findall(only_scenes, page) == []
    assert "The same pictures, every run" in page  # the rest is there
    other = report_of(scenes, project / "notebooks", tmp_path)
    for words in ("Emoji scenes are drawn", "What the pictures show", "✓ means", "name the right things", "OpenMoji"):
        assert words in other
