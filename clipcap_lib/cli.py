"""The `clipcap` command."""

import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from clipcap_lib.experiment import ExperimentError, load_experiment
from clipcap_lib.pipeline import Job, Listener, Outcome, ParameterError, partial_folder, plan_jobs, run_jobs
from clipcap_lib.report import write_report
from clipcap_lib.runs import enter_project

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="ClipCap Workbench")
MARKS = {"done": "[green]✓ done", "fresh": "[green]✓ kept", "failed": "[red]✗ failed", "skipped": "[yellow]– skipped"}


class Board:
    """The live table of `clipcap run`: notebook, cell, elapsed, last metric."""

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
            table.add_row(job.name, status, elapsed, note)
        return table


def last_metric(job: Job) -> str:
    """The newest line of a running job's history, in words."""
    path = partial_folder(job) / "history.csv"
    try:
        last = pd.read_csv(path).iloc[-1]
    except (OSError, IndexError, pd.errors.EmptyDataError, pd.errors.ParserError):
        return ""  # not there yet, or a line is being written this moment
    return f"step {last['step']:,}: {last['split']} {last['metric']} {float(last['value']):.3f}"


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="an experiment file, such as notebooks/experiments/emoji-zh.yaml")],
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
) -> None:
    """Execute the notebooks of an experiment and render its report; what is fresh is kept."""
    console = Console()
    experiment = experiment.absolute()
    enter_project()
    try:
        settings = load_experiment(experiment)
        jobs = plan_jobs(settings, reports)
        outcomes = _run_with_board(console, jobs, settings.execution.workers, settings.execution.cell_timeout)
    except (ExperimentError, ParameterError) as error:
        console.print(f"[red]{error}", highlight=False)
        raise typer.Exit(2) from None
    except PermissionError as error:
        console.print(f"[red]{error.filename}: {error.strerror}; choose a folder you may write to with --reports")
        raise typer.Exit(2) from None
    page = write_report(settings, outcomes, reports)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        console.print(f"[red]{outcome.job.name}: {outcome.error}", highlight=False)
    console.print(f"report: {page}")
    raise typer.Exit(1 if failed else 0)


def _run_with_board(console: Console, jobs: list[Job], workers: int, cell_timeout: int) -> list[Outcome]:
    board = Board(jobs)

    def report(outcome: Outcome) -> None:
        board.finish(outcome)
        if not console.is_terminal:  # a log gets one line a notebook, not a redrawn table
            status, seconds, note = board.rows[outcome.job.folder]
            console.print(f"{outcome.job.name:<28} {status}[/] {seconds} {note}", highlight=False)

    listener = Listener(on_cell=board.cell, on_start=board.start, on_outcome=report)
    if not console.is_terminal:
        return run_jobs(jobs, workers, cell_timeout, listener)
    with Live(board, console=console, refresh_per_second=2):
        return run_jobs(jobs, workers, cell_timeout, listener)


@app.command()
def gallery(reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports")) -> None:
    """Copy the README's figures out of the default experiment's executed notebooks into reports/gallery/."""
    from clipcap_lib.gallery import write_gallery

    enter_project()
    for path in write_gallery(reports / "emoji-zh", reports / "gallery"):
        typer.echo(path)
