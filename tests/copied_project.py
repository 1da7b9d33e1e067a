"""A copy of the project without anything made, for tests that work in one of their own."""

import shutil
from pathlib import Path


def copied(project: Path, place: Path) -> Path:
    """Copy code, notebooks and models to `place`, with an empty folder of reports; return it."""
    made = [path.name for path in (project / "data").iterdir() if path.name != "models"]
    shutil.copytree(project, place, ignore=shutil.ignore_patterns(".*", "__pycache__", "reports", "tests", *made))
    (place / "reports").mkdir()
    return place
