"""The top folder of the project, from wherever one is."""

import os
from pathlib import Path


def find_project(*places: Path) -> Path:
    """The top folder of the project that one of these places lies in, the first that does, or this library's source.

    Raises `FileNotFoundError` where there is none.
    """
    for place in (*(path.absolute() for path in places), Path(__file__)):
        for folder in (place, *place.parents):
            if (folder / "notebooks" / "experiments").is_dir():
                return folder
    where = Path.cwd()
    raise FileNotFoundError(f"{where} is not inside the workbench: `cd` into your clone, which holds notebooks/")


def enter_project(*named: Path) -> Path:
    """Make the top folder of the project that one is in, or else of what was `named`, the current one; return it."""
    folder = find_project(Path.cwd(), *named)
    os.chdir(folder)
    return folder
