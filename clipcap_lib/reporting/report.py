"""Renders an experiment's executed notebooks as one self-contained page, and all experiments as an index."""

import datetime
import io
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import pandas as pd
from markupsafe import Markup
from nbconvert import HTMLExporter
from ruamel.yaml import YAML

from clipcap_lib.emoji.scenes import ATTRIBUTION
from clipcap_lib.files import claimed, replacing
from clipcap_lib.reporting.caption_browser import caption_browser
from clipcap_lib.reporting.chinese_font import font_face
from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.runner.pipeline import Job, Outcome, partial_folder
from clipcap_lib.runs import loss_curve, read_json, read_run, write_json
from clipcap_lib.settings import WITHOUT_EFFECT

QUESTIONS = {
    "04_mlp_vs_bert": "Does an MLP really learn faster and better than BERT, or was it the tuning of GPT-2?",
    "05_decoding": "Which decoding writes the best captions, and at what cost?",
    "06_results": "What do the captions get right, and what do the learned prefixes mean?",
    "08_what_limits": "What limits ClipCap: the vector, the bridge or the data?",
}
SECTIONS = (*QUESTIONS, "07_explore", "01_data_preparation", "02_feature_extraction")
HIDDEN = {"interactive", "setup", "parameters", "injected-parameters", "navigation", "headline"}  # tags of cells
TEMPLATES = files("clipcap_lib.reporting") / "templates"
INDEX_WRITTEN = 60.0  # seconds that the page over all experiments may take another process


def write_report(experiment: Experiment, outcomes: list[Outcome], reports: Path) -> Path:
    """Write `reports/<experiment>/index.html` and refresh `reports/index.html`; return the former.

    The page holds every figure and table itself and opens without a network; failed notebooks are named with the cell.
    """
    folder = reports / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    scenes = experiment.data.corpus == "emoji-scenes"
    captions = _write_captions(experiment, outcomes, folder)
    for job in _runs(outcomes):
        body = Markup(render_notebook(job.folder / "notebook.ipynb", scenes))
        write_page(_rendered(job), "run.html.j2", name=job.name, body=body)
    failures = [_failure(outcome, folder) for outcome in outcomes if outcome.status == "failed"]
    summaries = {outcome.job.notebook: _summary(outcome) for outcome in outcomes}
    page = _page("experiment.html.j2",
        title=experiment.title, name=experiment.name, written=_today(), style=_style(), failures=failures,
        captions=captions,
        answers={question: summaries.get(name, {}).get("findings", []) for name, question in QUESTIONS.items()},
        sections=[_section(outcome, scenes) for name in SECTIONS for outcome in outcomes if _has(outcome, name)],
        jobs=[_job_row(outcome, folder) for outcome in outcomes], counts=_counts(outcomes),
        provenance=_provenance(outcomes), settings=_settings(experiment), attribution=ATTRIBUTION if scenes else None,
    )  # fmt: skip
    path = folder / "index.html"
    _write(path, page)
    # Another experiment's report may end at the same moment.
    with claimed(reports / "index.html", wait=INDEX_WRITTEN):
        write_json(folder / "experiment.json", _index_row(experiment, outcomes, failures))
        write_index(reports)
    return path


def _write_captions(experiment: Experiment, outcomes: list[Outcome], folder: Path) -> str | None:
    """Write the caption browser beside the report; return its name, or None where no run is finished."""
    runs = [read_run(job.folder) for job in _runs(outcomes)]
    decoding = next((outcome.job.folder for outcome in outcomes if _has(outcome, "05_decoding")), None)
    failed = [o.job.name for o in outcomes if o.job.notebook == "03_train" and not _has(o, "03_train")]
    content = caption_browser(folder, experiment.title, runs, decoding, failed)
    if content is None:
        return None
    write_page(folder / "captions.html", "captions.html.j2", **content)
    return "captions.html"


def write_index(reports: Path) -> Path:
    """Write `reports/index.html` over every experiment that has been run."""
    rows = [read_json(path) for path in sorted(reports.glob("*/experiment.json"))]
    path = reports / "index.html"
    _write(path, _page("index.html.j2", experiments=rows, style=_style()))
    return path


def render_notebook(path: Path, scenes: bool = True) -> str:
    """An executed notebook as an HTML fragment: code folded away, cells tagged `interactive` left out.

    Cells tagged `scenes` need the truth of emoji scenes: they are for a corpus of scenes only.
    """
    notebook = nbformat.read(path, as_version=4)
    hidden = HIDDEN if scenes else HIDDEN | {"scenes"}
    notebook.cells = [cell for cell in notebook.cells if not hidden & set(cell.metadata.get("tags", []))]
    exporter = HTMLExporter(template_file="notebook.html.j2", extra_loaders=[_loader()], exclude_anchor_links=True)
    body, _ = exporter.from_notebook_node(notebook)
    return _describe_figures(_without_title(body), notebook)


def _without_title(body: str) -> str:
    """The page gives the title itself, as a heading of level 2: everything below goes down a level."""
    body = re.sub(r"<h1[^>]*>.*?</h1>", "", body, count=1, flags=re.DOTALL)
    return re.sub(r"(</?h)([2-5])\b", lambda tag: f"{tag[1]}{int(tag[2]) + 1}", body)


def _describe_figures(body: str, notebook: nbformat.NotebookNode) -> str:
    """Give each figure the heading it stands under as its alternative text."""
    heading = "Figure"

    def describe(match: re.Match[str]) -> str:
        nonlocal heading
        if match["title"]:
            heading = re.sub(r"<[^>]+>", "", match["title"]).strip()
            return match[0]
        return (
            f'<img alt="Figure: {heading}" '
            if "alt=" not in match[0]
            else match[0].replace('alt="No description has been provided for this image"', f'alt="Figure: {heading}"')
        )

    return re.sub(r"<h[34][^>]*>(?P<title>.*?)</h[34]>|<img [^>]*?(?=src=)", describe, body, flags=re.DOTALL)


def _section(outcome: Outcome, scenes: bool) -> dict[str, Any]:
    path = outcome.job.folder / "notebook.ipynb"
    first = nbformat.read(path, as_version=4).cells[0].source
    title = first.splitlines()[0].lstrip("# ").strip()
    return {
        "id": outcome.job.name,
        "title": title,
        "short": re.split("[:?]", title)[0],
        "body": Markup(render_notebook(path, scenes)),
    }


def write_page(path: Path, template: str, **content: Any) -> None:
    """Render a template of this package into one self-contained page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, _page(template, style=_style(), **content))


def _has(outcome: Outcome, notebook: str) -> bool:
    return outcome.job.notebook == notebook and outcome.status in ("done", "fresh")


def _summary(outcome: Outcome) -> dict[str, Any]:
    path = outcome.job.folder / "summary.json"
    return read_json(path) if path.exists() and outcome.status in ("done", "fresh") else {}


def _failure(outcome: Outcome, folder: Path) -> dict[str, str | None]:
    return {"job": outcome.job.name, "error": outcome.error, "link": _link(partial_folder(outcome.job), folder)}


def _link(job_folder: Path, folder: Path) -> str | None:
    path = job_folder / "notebook.ipynb"
    return path.relative_to(folder).as_posix() if path.exists() else None


def _job_row(outcome: Outcome, folder: Path) -> dict[str, Any]:
    good = outcome.status in ("done", "fresh")
    link = _link(outcome.job.folder if good else partial_folder(outcome.job), folder)
    status = "done" if good else f"{outcome.status}: {outcome.error}"
    return {
        "name": outcome.job.name,
        "status": status,
        "css": "done" if good else "failed",
        "seconds": outcome.seconds,
        "link": link,
        "reading": _reading(outcome, folder),
    }


def _rendered(job: Job) -> Path:
    """The page of a training run; the other notebooks are sections of the report."""
    return job.folder / "notebook.html"


def _reading(outcome: Outcome, folder: Path) -> str | None:
    """Where a job's notebook can be read as a page."""
    if _has(outcome, "03_train"):
        return _rendered(outcome.job).relative_to(folder).as_posix()
    return f"#{outcome.job.name}" if any(_has(outcome, name) for name in SECTIONS) else None


def _counts(outcomes: list[Outcome]) -> str:
    good = sum(outcome.status in ("done", "fresh") for outcome in outcomes)
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    return f"{good} of {len(outcomes)} notebooks done, {minutes:.1f} minutes of notebook time."


def _runs(outcomes: list[Outcome]) -> list[Job]:
    return [outcome.job for outcome in outcomes if _has(outcome, "03_train")]


def _provenance(outcomes: list[Outcome]) -> dict[str, Any] | None:
    runs = _runs(outcomes)
    return read_json(runs[0].folder / "provenance.json") if runs else None


def _index_row(experiment: Experiment, outcomes: list[Outcome], failures: list[dict]) -> dict[str, Any]:
    losses = {job.name: read_json(job.folder / "summary.json")["best_dev_loss"] for job in _runs(outcomes)}
    best = min(losses, key=losses.get) if losses else None
    return {
        "name": experiment.name, "title": experiment.title, "failures": failures, "runs": len(losses), "best_run": best,
        "best_dev_loss": losses.get(best), "written": _today(),
        "minutes": round(sum(outcome.seconds for outcome in outcomes) / 60, 1),
        "spark": _spark(next((job.folder for job in _runs(outcomes) if job.name == best), None)),
    }  # fmt: skip


def _spark(run: Path | None) -> str:
    """The dev loss of a run as the points of an SVG line, 100 wide and 24 high."""
    if run is None:
        return ""
    losses = loss_curve(pd.read_csv(run / "history.csv"), "dev")["value"]
    low, spread = losses.min(), max(losses.max() - losses.min(), 1e-9)
    step = 100 / max(1, len(losses) - 1)
    return " ".join(f"{i * step:.1f},{24 - 22 * (value - low) / spread:.1f}" for i, value in enumerate(losses))


def _settings(experiment: Experiment) -> str:
    """All settings as an experiment file, which can be copied: without the keys that its corpus does not use."""
    unused = set(WITHOUT_EFFECT[experiment.data.corpus])
    text = io.StringIO()
    YAML().dump(experiment.model_dump(exclude={"data": unused}), text)
    return text.getvalue()


def _today() -> str:
    return datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _loader() -> jinja2.BaseLoader:
    return jinja2.FunctionLoader(
        lambda name: (TEMPLATES / name).read_text(encoding="utf-8") if (TEMPLATES / name).is_file() else None
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(loader=_loader(), autoescape=True, undefined=jinja2.StrictUndefined)


def _page(template: str, **content: Any) -> str:
    """Render a page and embed what it needs of the Chinese font, so that no reader sees empty boxes."""
    text = _environment().get_template(template).render(**content)
    return text.replace("<style>", f"<style>{font_face(text, 'Report SC')}", 1)


def _style() -> Markup:
    return Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
