"""What notebooks begin and end with: the project's folder, style and threads, and a summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipcap_lib.files import write_json
from clipcap_lib.project import enter_project
from clipcap_lib.provenance.record import set_threads
from clipcap_lib.reporting.figures import use_style
from clipcap_lib.wording import speak


def start_notebook(language: str = "en", threads: int | None = None) -> None:
    """Enter the project's folder, set the reader's language, the style of figures and the threads of torch."""
    enter_project()
    speak(language)
    use_style()
    if threads:
        set_threads(threads)


def write_summary(output: str, content: Mapping[str, Any]) -> None:
    """Write what later notebooks and the report read into `<output>/summary.json`."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "summary.json", dict(content))
