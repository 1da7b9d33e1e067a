"""`clipcap run`, `report` and `doctor`: an experiment executed, shown, or looked at before it is."""

import shlex
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from clipcap_lib.cli.messages import complain, enter, findings_table, refusing, warn
from clipcap_lib.files import InUseError, claimed
from clipcap_lib.runner.experiment import Experiment, ExperimentError, find_experiment, load_experiment
from clipcap_lib.runner.importing import importing

if TYPE_CHECKING:
    from clipcap_lib.runner.devices import Devices
    from clipcap_lib.runner.jobs import Job, Outcome
    from clipcap_lib.runner.pipeline import Engine


class EngineName(StrEnum):
    """What executes notebooks: this process, or the machines of a Ray cluster."""

    local = "local"
    ray = "ray"


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-S", help="key=value in place of the file's, or key=value,value: a run for each"),
]
Name = Annotated[
    str | None, typer.Option(help="of the experiment with -S; default: its own, the keys and single values")
]


def run(
    experiment: Annotated[Path, typer.Argument(help="an experiment by name, such as emoji-zh, or a file of your own")],
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
    overrides: Overrides = None,
    name: Name = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-j",
            min=1,
            help="notebooks side by side, each on a GPU of its own where there are any; default: execution.workers",
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="ray: each notebook is a task of a Ray cluster")
    ] = EngineName.local,
    address: Annotated[
        str | None, typer.Option(help="of the Ray cluster: auto, or host:port; default: a new one on this machine")
    ] = None,
) -> None:
    """Execute the notebooks of an experiment and render its report; what is fresh is kept."""
    # Here, because what executes notebooks takes half a second to import, and no other command needs it.
    from clipcap_lib.runner.freshness import is_fresh
    from clipcap_lib.runner.jobs import plan_jobs
    from clipcap_lib.runner.parameter_cells import ParameterError
    from clipcap_lib.runner.pipeline import EngineError
    from clipcap_lib.runner.progress import run_with_board

    console = Console()
    _refuse_what_does_not_go_together(engine, address, workers)
    listed = shlex.join(
        ["clipcap", "doctor", str(experiment), *(part for each in overrides or () for part in ("-S", each))]
    )
    experiment = find_experiment(experiment)
    enter(experiment)
    with refusing(ExperimentError, ParameterError, InUseError, EngineError), ExitStack() as held:
        settings = load_experiment(experiment, overrides or (), name)
        jobs, workers = plan_jobs(settings, reports), workers or settings.execution.workers
        if reports.is_dir():  # before checks that take seconds; a refused experiment makes no folder
            held.enter_context(_claimed(reports, settings.name))
        fresh = all(map(is_fresh, jobs))
        devices = _checked(console, settings, jobs, fresh, engine is EngineName.local, listed)
        held.enter_context(_claimed(reports, settings.name))
        with _executing(EngineName.local if fresh else engine, workers, devices, reports, address) as executes:
            outcomes = run_with_board(console, jobs, workers, executes)
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        for outcome in failed:
            complain(f"{outcome.job.name}: {outcome.error}")
        alarms, page = _report(settings, outcomes, reports)
    for alarm in alarms:
        warn(f"alarm: {alarm}")
    typer.echo(f"report: {page}")
    raise typer.Exit(1 if failed else 0)


def _refuse_what_does_not_go_together(engine: EngineName, address: str | None, workers: int | None) -> None:
    if engine is EngineName.local and address:
        complain("--address names a Ray cluster: add --engine ray")
        raise typer.Exit(2)
    if engine is EngineName.ray and workers:
        complain("--workers is of --engine local: Ray runs as many notebooks as its machines have cores and GPUs for")
        raise typer.Exit(2)
    if engine is EngineName.ray and find_spec("ray") is None:
        complain(f"Ray is not installed: {sys.executable} -m pip install -e '.[ray]', in your clone")
        raise typer.Exit(2)


def _checked(
    console: Console, settings: Experiment, jobs: list["Job"], fresh: bool, here: bool, listed: str
) -> "Devices":
    """The GPUs for what is executed `here`; exits with 2 where files, models or settings do not allow it.

    `listed` is the command that lists all that was looked for.
    """
    from clipcap_lib.runner.devices import Devices, visible_devices
    from clipcap_lib.runner.doctor import check_all
    from clipcap_lib.runner.warm_kernels import use_warm_kernels, warm_process

    if here and not fresh:
        use_warm_kernels()
    with console.status("checking files and models") if console.is_terminal else nullcontext():
        _get_ready(jobs)
        with warm_process() as warm:  # so that this process need not import torch
            found = warm.submit(check_all, settings, fresh, here).result()
            devices = Devices(warm.submit(visible_devices).result() if here else [])
    if missing := [finding for finding in found if finding.state == "missing"]:
        complain(f"{settings.name} cannot run yet; `{listed}` shows the whole list")
        console.print(findings_table(missing))
        raise typer.Exit(2)
    return devices


def _executing(
    engine: EngineName, workers: int, devices: "Devices", reports: Path, address: str | None
) -> AbstractContextManager["Engine"]:
    if engine is EngineName.local:
        from clipcap_lib.runner.pipeline import local_engine

        return nullcontext(local_engine(workers, devices))
    from clipcap_lib.runner.ray_engine import ray_engine

    return ray_engine(reports, address or "local")


def _get_ready(jobs: list["Job"]) -> None:
    """Do what takes seconds and can be done while the server of kernels imports."""
    from clipcap_lib.runner.freshness import job_hash

    with importing():
        for job in jobs:
            job_hash(job)
        from clipcap_lib.reporting.report import get_ready

        get_ready()


def _claimed(reports: Path, name: str) -> AbstractContextManager[None]:
    """Reserve the experiment's folder; exits with 2 where the folder of reports cannot be written."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=reports).close()  # only writing tells whether one may
    except OSError as error:
        complain(f"{error}; choose a folder you may write to with --reports")
        raise typer.Exit(2) from None
    return claimed(reports / name)


def _report(settings: Experiment, outcomes: list["Outcome"], reports: Path) -> tuple[list[str], Path]:
    """What was found to doubt in the runs, and the report's page, written.

    Exits with 1 on a full disk, for instance: runs are kept, the page can be written again.
    """
    from clipcap_lib.reporting.report import alarms, write_report

    try:
        return alarms(outcomes), write_report(settings, outcomes, reports)
    except OSError as error:
        complain(f"{reports}: the report could not be written: {error}; what was executed is kept: run it again")
        raise typer.Exit(1) from None


def report(
    experiment: Annotated[Path, typer.Argument(help="an experiment by name, or a file of your own")],
    pdf: Annotated[bool, typer.Option("--pdf", help="print it into report.pdf, by a browser that is here")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="each figure as PNG and SVG, with its numbers, into figures/")
    ] = False,
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
    overrides: Overrides = None,
    name: Name = None,
) -> None:
    """Render an experiment's report again from the notebooks that were executed; execute nothing."""
    from clipcap_lib.reporting.export import write_figures, write_pdf
    from clipcap_lib.reporting.language import language_of_report
    from clipcap_lib.reporting.report import write_report
    from clipcap_lib.runner.freshness import found_outcomes
    from clipcap_lib.runner.jobs import plan_jobs

    experiment = find_experiment(experiment)
    enter(experiment)
    with refusing(ExperimentError, InUseError, OSError):
        settings = load_experiment(experiment, overrides or (), name)
        if told := language_of_report(reports / settings.name):  # in which its notebooks were executed
            settings = settings.model_copy(update={"report_language": told})
        outcomes = found_outcomes(plan_jobs(settings, reports))
        with claimed(reports / settings.name):
            typer.echo(page := write_report(settings, outcomes, reports))
            if figures:
                done = [outcome.job.folder / "notebook.ipynb" for outcome in outcomes if outcome.finished]
                typer.echo(f"{page.parent / 'figures'}: {len(write_figures(done, page.parent / 'figures'))} files")
            if pdf:
                typer.echo(write_pdf(page))


def doctor(
    experiment: Annotated[Path | None, typer.Argument(help="an experiment by name, or a file of your own")] = None,
    overrides: Overrides = None,
) -> None:
    """Say what this machine has of what is needed, and where to get the rest; exit code 0: ready, 1: not."""
    from clipcap_lib.runner.doctor import check_all

    console = Console()
    path = find_experiment(experiment) if experiment else None
    enter(path or Path())
    with refusing(ExperimentError):
        found = check_all(load_experiment(path, overrides or ()) if path else None)
    console.print(findings_table(found))
    missing = sum(finding.state == "missing" for finding in found)
    console.print(f"[red]not ready: {missing} missing" if missing else "[green]ready")
    raise typer.Exit(1 if missing else 0)
