"""In which language a page speaks: an experiment's, or the one that all it shows have in common."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clipcap_lib.files import read_json
from clipcap_lib.runs import Run
from clipcap_lib.wording import speak, spoken

HTML_LANGUAGES = {"zh": "zh-CN"}


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Say everything in a language, and afterwards, even after an error, in the one before."""
    before = spoken()
    speak(language)
    try:
        yield
    finally:
        speak(before)


def html_language() -> str:
    """The language spoken, as the `lang` of a page names it."""
    return HTML_LANGUAGES.get(spoken(), spoken())


def shared(languages: Iterable[str]) -> str:
    """The language that all have in common; English where they differ, and of none."""
    found = set(languages)
    return found.pop() if len(found) == 1 else "en"


def language_of_report(folder: Path) -> str | None:
    """The language in which an experiment's report was written, or else its notebooks executed; None of neither.

    A report that does not name its language is an older one, and English.
    """
    path = folder / "experiment.json"
    if path.exists():
        return read_json(path).get("language", "en")
    given = [read_json(job)["parameters"] for job in sorted(folder.glob("notebooks/*/job.json"))]
    languages = [parameters["report_language"] for parameters in given if "report_language" in parameters]
    return languages[-1] if languages else None  # what compares comes last; what is shared may be of an earlier run


def language_of_reports(reports: Path) -> str:
    """The language that all experiments in a folder of reports share."""
    return shared(language_of_report(path.parent) for path in sorted(reports.glob("*/experiment.json")))


def language_of_run(run: Run) -> str:
    """The language in which a run is told of: its report's, or else that of its captions."""
    return language_of_report(run.folder.absolute().parents[1]) or run.params.get("language") or "en"
