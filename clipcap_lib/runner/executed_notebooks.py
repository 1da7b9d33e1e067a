"""Executed copies of notebooks: without navigation, every cell executed, explained in the words of today."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from clipcap_lib.files import replacing


def renew_prose(path: Path, source: Path) -> None:
    """Let a kept notebook explain in the words of today: its code and outputs stay, the cells between are renewed."""
    kept, today = (nbformat.read(file, as_version=4) for file in (path, source))
    renewed = list(_with_prose_of(_without_navigation(today.cells), kept.cells))
    if [cell.source for cell in renewed] != [cell.source for cell in kept.cells]:
        kept.cells = renewed
        with replacing(path) as temporary:
            nbformat.write(kept, temporary)


def _with_prose_of(today: list[NotebookNode], kept: list[NotebookNode]) -> Iterator[NotebookNode]:
    code = (cell for cell in kept if cell.cell_type == "code")
    for cell in today:
        if cell.cell_type != "code":
            yield cell
            continue
        for executed in code:  # papermill's own cell of parameters stands before the next of the notebook's
            yield executed
            if executed.source == cell.source:
                break


def drop_navigation(path: Path) -> None:
    """Leave out the cell that leads to other notebooks."""
    # Its links lead to notebooks that stand beside the source, not beside an executed copy.
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = _without_navigation(notebook.cells)
    nbformat.write(notebook, path)


def _without_navigation(cells: list[NotebookNode]) -> list[NotebookNode]:
    return [cell for cell in cells if "navigation" not in cell.metadata.get("tags", [])]


def unexecuted_cell(path: Path) -> str | None:
    """Which cell of code was never executed, in words; `None` where all were."""
    # papermill calls a notebook completed even when its kernel died: only execution counts tell.
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, start=1):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            return f"cell {number}: never executed"
    return None
