"""Renders an experiment's executed notebooks as one self-contained page, and all experiments as an index."""

import datetime
import io
import re
from pathlib import Path
from typing import Any

import nbformat
from ruamel.yaml import YAML

from clipcap_lib.emoji.scenes import ATTRIBUTION
from clipcap_lib.files import claimed, read_json, write_json
from clipcap_lib.reporting import charts
from clipcap_lib.reporting.caption_browser import caption_browser
from clipcap_lib.reporting.first_screen import first_screen
from clipcap_lib.reporting.language import language_of_reports, speaking
from clipcap_lib.reporting.notebook_html import FOR_NOTEBOOKS, cells_to_read, notebook_html, notebook_parts
from clipcap_lib.reporting.page import write_page
from clipcap_lib.reporting.runs_page import write_runs_page
from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.runner.jobs import Job, Outcome, notebook_file, partial_folder
from clipcap_lib.runs import Run, loss_curve, read_run
from clipcap_lib.settings import WITHOUT_EFFECT
from clipcap_lib.wording import say, term

QUESTIONS = ("04_mlp_vs_bert", "05_decoding", "06_results", "08_what_limits")  # notebooks that answer one
PAGES = ("01_data_preparation", "02_feature_extraction", "03_train", "07_explore")  # of their own
ALARMING = ("01_data_preparation", "06_results")
INDEX_WRITTEN = 60.0  # seconds that the page over all experiments may take another process


def get_ready() -> None:
    """Do what takes seconds and is the same for every report, so that it can be done while notebooks run."""
    charts.script()
    notebook_parts(notebook_file(PAGES[0]))  # the first notebook takes a second more than others


def write_report(experiment: Experiment, outcomes: list[Outcome], reports: Path) -> Path:
    """Write `reports/<experiment>/index.html` and refresh `reports/index.html`; return the former.

    The page holds every figure and table itself and opens without a network; failed notebooks are named with the cell.
    It speaks the experiment's language.
    """
    with speaking(_language(experiment)):
        return _write_report(experiment, outcomes, reports)


def _language(experiment: Experiment) -> str:
    return experiment.report_language or experiment.data.language


def _write_report(experiment: Experiment, outcomes: list[Outcome], reports: Path) -> Path:
    folder = reports / experiment.name
    scenes = experiment.data.corpus == "emoji-scenes"
    for outcome in outcomes:
        if outcome.finished and outcome.job.notebook in PAGES:
            body = notebook_html(outcome.job.folder / "notebook.ipynb", scenes)
            write_page(_rendered(outcome.job), "notebook_page.html.j2", title=_title(outcome), body=body)
    failures = [_failure(outcome, folder) for outcome in outcomes if outcome.status == "failed"]
    summaries = {outcome.job.notebook: _summary(outcome) for outcome in outcomes}
    runs = [read_run(outcome.job.folder) for outcome in outcomes if _has(outcome, "03_train")]
    answers = _answers(summaries)
    path = write_page(folder / "index.html", "experiment.html.j2",
        title=term(experiment.title), name=experiment.name, written=_today(), failures=failures,
        answers=answers, alarms=alarms(outcomes), captions=_write_captions(experiment, outcomes, runs, folder),
        sections=[_section(outcome, scenes) for name in QUESTIONS for outcome in outcomes if _has(outcome, name)],
        jobs=[_job_row(outcome, folder) for outcome in outcomes], counts=_counts(outcomes),
        provenance=_provenance(runs), settings=_settings(experiment), attribution=ATTRIBUTION if scenes else None,
        **first_screen(runs),
    )  # fmt: skip
    # Another experiment's report may end at the same moment.
    with claimed(reports / "index.html", wait=INDEX_WRITTEN):
        write_json(folder / "experiment.json", _index_row(experiment, outcomes, failures, runs, answers))
        write_runs_page(reports)
        write_index(reports)
    return path


def _write_captions(experiment: Experiment, outcomes: list[Outcome], runs: list[Run], folder: Path) -> str | None:
    """Write the caption browser beside the report; return its name, or None where no run is finished."""
    decoding = next((outcome.job.folder for outcome in outcomes if _has(outcome, "05_decoding")), None)
    failed = [o.job.name for o in outcomes if o.job.notebook == "03_train" and not o.finished]
    content = caption_browser(folder, term(experiment.title), runs, decoding, failed)
    return write_page(folder / "captions.html", "captions.html.j2", **content).name if content else None


def write_index(reports: Path) -> Path:
    """Write `reports/index.html` over every experiment that has been run, in the language that they share."""
    rows = [read_json(path) for path in sorted(reports.glob("*/experiment.json"))]
    with speaking(language_of_reports(reports)):
        return write_page(
            reports / "index.html", "index.html.j2", title=say("ClipCap Workbench: experiments"), experiments=rows,
            runs_page="runs.html" if (reports / "runs.html").exists() else None,
        )  # fmt: skip


def _questions() -> dict[str, str]:
    """What each of `QUESTIONS` answers."""
    return {
        "04_mlp_vs_bert": say("Does an MLP really learn faster and better than BERT, or was it the tuning of GPT-2?"),
        "05_decoding": say("Which decoding writes the best captions, and at what cost?"),
        "06_results": say("What do the captions get right, and what do the learned prefixes mean?"),
        "08_what_limits": say("What limits ClipCap: the vector, the bridge or the data?"),
    }


def _answers(summaries: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the notebooks found, by the question that each was asked."""
    found = {question: summaries.get(name, {}).get("findings", []) for name, question in _questions().items()}
    return [{"question": question, "first": said[0], "rest": said[1:]} for question, said in found.items() if said]


def _section(outcome: Outcome, scenes: bool) -> dict[str, Any]:
    title = _title(outcome)
    parts = notebook_parts(outcome.job.folder / "notebook.ipynb", scenes)
    shown = [part for part in parts if part.english != FOR_NOTEBOOKS]
    return {"id": outcome.job.name, "title": title, "short": re.split("[:?：？]", title)[0], "parts": shown}


def _title(outcome: Outcome) -> str:
    if outcome.job.notebook == "03_train":
        return say("Training run {name}", name=outcome.job.name)
    first = cells_to_read(nbformat.read(outcome.job.folder / "notebook.ipynb", as_version=4))[0].source
    return first.splitlines()[0].lstrip("# ").strip()


def _has(outcome: Outcome, notebook: str) -> bool:
    return outcome.job.notebook == notebook and outcome.finished


def _summary(outcome: Outcome) -> dict[str, Any]:
    path = outcome.job.folder / "summary.json"
    return read_json(path) if path.exists() and outcome.finished else {}


def alarms(outcomes: list[Outcome]) -> list[str]:
    """What notebook 01 found to doubt in the data, and notebook 06 in the runs."""
    return [alarm for outcome in outcomes if outcome.job.notebook in ALARMING and outcome.finished
            for alarm in _summary(outcome).get("alarms", [])]  # fmt: skip


def _failure(outcome: Outcome, folder: Path) -> dict[str, str | None]:
    return {"job": outcome.job.name, "error": outcome.error, "link": _link(partial_folder(outcome.job), folder)}


def _link(job_folder: Path, folder: Path) -> str | None:
    path = job_folder / "notebook.ipynb"
    return path.relative_to(folder).as_posix() if path.exists() else None


def _job_row(outcome: Outcome, folder: Path) -> dict[str, Any]:
    good = outcome.finished
    link = _link(outcome.job.folder if good else partial_folder(outcome.job), folder)
    status = term("done") if good else say("{status}: {error}", status=term(outcome.status), error=outcome.error)
    return {
        "name": outcome.job.name,
        "status": status,
        "css": "done" if good else "failed",
        "seconds": outcome.seconds,
        "link": link,
        "reading": _reading(outcome, folder),
    }


def _rendered(job: Job) -> Path:
    """The page of a notebook that is no section of the report."""
    return job.folder / "notebook.html"


def _reading(outcome: Outcome, folder: Path) -> str | None:
    """Where a job's notebook can be read as a page."""
    if not outcome.finished:
        return None
    if outcome.job.notebook in PAGES:
        return _rendered(outcome.job).relative_to(folder).as_posix()
    return f"#{outcome.job.name}"


def _counts(outcomes: list[Outcome]) -> str:
    good = sum(outcome.finished for outcome in outcomes)
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    counts = {"good": good, "all": len(outcomes), "minutes": minutes}
    return say("{good} of {all} notebooks done, {minutes:.1f} minutes of work, side by side counted each.", **counts)


def _provenance(runs: list[Run]) -> dict[str, Any] | None:
    return read_json(runs[0].folder / "provenance.json") if runs else None


def _index_row(
    experiment: Experiment, outcomes: list[Outcome], failures: list[dict], runs: list[Run], answers: list[dict]
) -> dict[str, Any]:
    best = min(runs, key=lambda run: run.summary["best_dev_loss"], default=None)
    return {
        "name": experiment.name, "title": experiment.title, "language": _language(experiment),
        "failures": failures, "runs": len(runs),
        "best_run": best.name if best else None, "best_dev_loss": best.summary["best_dev_loss"] if best else None,
        "written": _today(),
        "answer": answers[0]["first"] if answers else None,
        "minutes": round(sum(outcome.seconds for outcome in outcomes) / 60, 1),
        "spark": _spark(best) if best else "",
    }  # fmt: skip


def _spark(run: Run) -> str:
    """The dev loss of a run as the points of an SVG line, 100 wide and 24 high."""
    losses = loss_curve(run.history, "dev")["value"]
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
