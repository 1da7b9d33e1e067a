"""The live table of `clipcap run`: notebook, cell, elapsed, last metric; below it the total and what may be left."""

import csv
import time
from collections import deque
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from clipcap_lib.runner.jobs import Job, Listener, Outcome, partial_folder
from clipcap_lib.runner.pipeline import Engine, run_jobs

MARKS = {"done": "[green]✓ done", "fresh": "[green]✓ kept", "failed": "[red]✗ failed", "skipped": "[yellow]– skipped"}


def run_with_board(console: Console, jobs: list[Job], workers: int, engine: Engine | None = None) -> list[Outcome]:
    """Run jobs and show how far they are: a table that is drawn anew, or in a log a line a notebook; see `run_jobs`."""
    board = Board(jobs, workers)

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

    def __init__(self, jobs: list[Job], workers: int) -> None:
        self.rows = {job.folder: ["waiting", "", ""] for job in jobs}
        self.jobs, self.workers, self.began = jobs, workers, time.perf_counter()
        self.started: dict[Path, float] = {}
        self.outcomes: list[Outcome] = []

    def start(self, job: Job) -> None:
        self.started[job.folder] = time.perf_counter()
        self.rows[job.folder] = ["[cyan]starting", "", ""]

    def cell(self, job: Job, cell: int, cells: int) -> None:
        self.rows[job.folder][0] = f"[cyan]cell {cell + 1}/{cells}"

    def finish(self, outcome: Outcome) -> None:
        self.started.pop(outcome.job.folder, None)
        self.outcomes.append(outcome)
        self.rows[outcome.job.folder] = [MARKS[outcome.status], f"{outcome.seconds:.0f} s", outcome.error or ""]

    def __rich__(self) -> Table:
        table = Table("notebook", "status", "time", "last metric", box=None, pad_edge=False)
        for job in self.jobs:
            status, elapsed, note = self.rows[job.folder]
            if job.folder in self.started:
                elapsed, note = f"{time.perf_counter() - self.started[job.folder]:.0f} s", last_metric(job)
            table.add_row(job.name, status, elapsed, Text(note))
        table.caption, table.caption_justify = self.total(), "left"
        return table

    def total(self) -> str:
        """How many notebooks are through, since when, and how long the rest may take."""
        told = f"{len(self.outcomes)} of {len(self.jobs)} notebooks, {_minutes(time.perf_counter() - self.began)}"
        return f"{told}, at least {_minutes(left)} more" if (left := self.left()) else told

    def left(self) -> float:
        """Seconds that the other notebooks may take, after those of the same kind that were executed before them."""
        seconds: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            if outcome.status == "done":
                seconds.setdefault(outcome.job.notebook, []).append(outcome.seconds)
        through = {outcome.job.folder for outcome in self.outcomes}
        known = [job for job in self.jobs if job.folder not in through and job.notebook in seconds]
        now = time.perf_counter()
        waits = [mean(seconds[job.notebook]) - (now - self.started.get(job.folder, now)) for job in known]
        return sum(max(0.0, wait) for wait in waits) / self.workers


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"


def last_metric(job: Job) -> str:
    """The newest line of a running job's history, in words."""
    path = partial_folder(job) / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            last = deque(csv.DictReader(lines), 1).pop()
        return f"step {int(last['step']):,}: {last['split']} {last['metric']} {float(last['value']):.3f}"
    except (OSError, IndexError, TypeError, ValueError):
        return ""  # not there yet, or a line is being written this moment
