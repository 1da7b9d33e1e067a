"""What commands say beside their results: errors that end them, warnings, tables of findings and of numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.pager import SystemPager
from rich.table import Column, Table
from rich.text import Text

from clipcap_lib.project import enter_project

if TYPE_CHECKING:
    import pandas as pd

    from clipcap_lib.runner.doctor import Finding


@contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Exit with 2 and the error's own words where one of these is raised."""
    try:
        yield
    except kinds as error:
        complain(error)
        raise typer.Exit(2) from None


def enter(*named: Path) -> None:
    """Make the project's top folder the current one; exits with 2 outside the project."""
    with refusing(FileNotFoundError):
        enter_project(*named)


def complain(words: object, style: str = "red") -> None:
    """Print to standard error."""
    # As it is: not wrapped, and the brackets of `a[b].png` are not rich's own.
    Console(stderr=True).print(Text(str(words), style=style), soft_wrap=True)


def warn(words: object) -> None:
    """Print what is doubtful, and ends nothing, to standard error."""
    complain(words, "yellow")


def findings_table(found: list["Finding"]) -> Table:
    """What was looked for, a sign of whether it is there, and what to do where it is not."""
    signs = {"ready": "[green]✓", "missing": "[red]✗", "optional": "[yellow]–"}
    table = Table("", "what", Column("found, or what to do", overflow="fold"), box=None, pad_edge=False)
    for finding in found:
        table.add_row(signs[finding.state], finding.name, escape(finding.note))
    return table


def markdown(table: "pd.DataFrame") -> str:
    """A table as pull requests show it."""
    rows = [table.columns, ["---"] * len(table.columns), *_readable_rows(table)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def print_whole(table: "pd.DataFrame") -> None:
    """Print a table with nothing cut off; in a terminal too narrow for it, in a pager that scrolls sideways."""
    rows = [list(map(str, table.columns)), *_readable_rows(table)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    # Not as a table of rich, which takes two seconds for 500 runs.
    text = "\n".join("  ".join(map(set_cell_size, row, widths)).rstrip() for row in rows)
    screen = Console()
    os.environ.setdefault("LESS", "--chop-long-lines")
    too_wide = screen.is_terminal and sum(widths) + 2 * len(widths) - 2 > screen.width
    (SystemPager().show if too_wide else typer.echo)(text)


def _readable_rows(table: "pd.DataFrame") -> Iterator[list[str]]:
    """The rows of a table as people read them."""
    for row in table.itertuples(index=False):
        yield ["" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
               for value in row]  # fmt: skip
