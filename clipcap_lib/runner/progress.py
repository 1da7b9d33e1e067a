"""The live table of `clipcap run`: notebook, cell, elapsed, last metric."""

import time

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from clipcap_lib.runner.pipeline import Engine, Job, Listener, Outcome, partial_folder, run_jobs

MARKS = {"done": "[green]✓ done", "fresh": "[green]✓ kept", "failed": "[red]✗ failed", "skipped": "[yellow]– skipped"}


def run_with_board(console: Console, jobs: list[Job], workers: int, engine: Engine | None = None) -> list[Outcome]:
    """Run jobs and show how far they are: a table that is drawn anew, or in a log a line a notebook; see `run_jobs`."""
    board = Board(jobs)

    def report(outcome: Outcome) -> None:
        board.finish(outcome)
        if not console.is_terminal:
            status, seconds, note = board.rows[outcome.job.folder]
            line = f"{outcome.job.name:<28} {status}[/] {seconds} {escape(note)}"
            console.print(line, highlight=False, emoji=False, soft_wrap=True)

    listener = Listener(on_cell=board.cell, on_start=board.start, on_outcome=report)
    if not console.is_terminal:
        return run_jobs(jobs, workers, listener, engine)
    with Live(board, console=console, refresh_per_second=2):
        return run_jobs(jobs, workers, listener, engine)


class Board:
    """The rows of the table, kept up to date by what happens to the jobs."""

    def __init__(self, jobs: list[Job]) -> None:
        self.rows = {job.folder: ["waiting", "", ""] for job in jobs}
        self.jobs, self.started = jobs, {}

    def start(self, job: Job) -> None:
        self.started[job.folder] = time.perf_counter()
        self.rows[job.folder] = ["[cyan]starting", "", ""]

    def cell(self, job: Job, cell: int, cells: int) -> None:
        self.rows[job.folder][0] = f"[cyan]cell {cell + 1}/{cells}"

    def finish(self, outcome: Outcome) -> None:
        self.started.pop(outcome.job.folder, None)
        self.rows[outcome.job.folder] = [MARKS[outcome.status], f"{outcome.seconds:.0f} s", outcome.error or ""]

    def __rich__(self) -> Table:
        table = Table("notebook", "status", "time", "last metric", box=None, pad_edge=False)
        for job in self.jobs:
            status, elapsed, note = self.rows[job.folder]
            if job.folder in self.started:
                elapsed, note = f"{time.perf_counter() - self.started[job.folder]:.0f} s", last_metric(job)
            table.add_row(job.name, status, elapsed, Text(note))
        return table


def last_metric(job: Job) -> str:
    """The newest line of a running job's history, in words."""
    path = partial_folder(job) / "history.csv"
    try:
        last = pd.read_csv(path).iloc[-1]
    except (OSError, IndexError, pd.errors.EmptyDataError, pd.errors.ParserError):
        return ""  # not there yet, or a line is being written this moment
    return f"step {last['step']:,}: {last['split']} {last['metric']} {float(last['value']):.3f}"
