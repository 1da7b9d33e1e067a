"""Executes one job through papermill, strictly: its status is true, and what it leaves behind can be resumed."""

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets import Dict
from traitlets.config import Config

from clipcap_lib.files import read_json, write_json
from clipcap_lib.runner.executed_notebooks import drop_navigation, unexecuted_cell
from clipcap_lib.runner.freshness import job_hash, record_of
from clipcap_lib.runner.jobs import Job, Listener, Outcome, partial_folder
from clipcap_lib.runner.warm_kernels import use_warm_kernels

SAVED_EVERY = 1.0  # seconds: saving at each cell's beginning and end would take as long as many a cell does


class _ReportingEngine(NBClientEngine):
    """papermill's own engine, telling which cell is being executed and saving the notebook once a second at most."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, on_cell=None, **options):
        began, save = nb_man.cell_start, nb_man.save

        def cell_start(cell, cell_index=None, **kwargs):
            on_cell(cell_index, len(nb_man.nb.cells))
            return began(cell, cell_index, **kwargs)

        def save_now_and_then(**kwargs):
            if (nb_man.now() - nb_man.last_save_time).total_seconds() > SAVED_EVERY:
                save(**kwargs)

        nb_man.cell_start, nb_man.save = cell_start, save_now_and_then
        try:
            return super().execute_managed_notebook(nb_man, kernel_name, **options)
        finally:
            save()  # where a kernel died, papermill itself does not


papermill_engines.register("reporting", _ReportingEngine)


class DeviceKernelManager(AsyncKernelManager):
    """Starts a kernel with environment variables that this process does not have.

    Its name has no underscore in front: traitlets would take its section of the configuration for a private one.
    """

    environment = Dict(config=True)

    async def start_kernel(self, **options: Any) -> None:
        await super().start_kernel(env=os.environ | self.environment, **options)


def execute(job: Job, listener: Listener, environment: dict[str, str] | None = None) -> Outcome:
    """Execute a job on this machine, its kernel with more `environment` than this process has."""
    listener.on_start(job)
    try:
        return _execute(job, listener, environment or {})
    except OSError as error:
        return failed_on_disk(job, error)


def failed_on_disk(job: Job, error: OSError) -> Outcome:
    """The outcome of a job that met a full disk, or a folder that cannot be written."""
    return Outcome(job, "failed", error=f"{error.filename or job.folder}: {error.strerror or error}")


def _execute(job: Job, listener: Listener, environment: dict[str, str]) -> Outcome:
    use_warm_kernels()  # where nothing is executed, nothing is imported
    work, stamp, started = partial_folder(job), job_hash(job), time.perf_counter()
    if (before := record_of(work)) and before["hash"] != stamp:
        shutil.rmtree(work)  # left behind by other parameters or another library
    elif before and before["seconds"] is not None and not before["error"] and (work / "DONE").exists():
        return conclude(job)  # killed after the last cell: nothing is left to execute
    work.mkdir(parents=True, exist_ok=True)
    content = {"hash": stamp, "notebook": job.notebook, "parameters": job.parameters, "seconds": None, "error": None}
    write_json(work / "job.json", content)
    error = _papermill(job, work, listener, environment)
    if not error:
        drop_navigation(work / "notebook.ipynb")
        (work / "DONE").touch()
    content |= {"seconds": round(time.perf_counter() - started, 1), "error": error}
    write_json(work / "job.json", content)
    return conclude(job)


def conclude(job: Job) -> Outcome:
    """What became of a job, by the record in its partial folder; what went well takes the place of an older result."""
    work = partial_folder(job)
    record = read_json(work / "job.json")
    if record["error"]:
        shutil.rmtree(job.folder, ignore_errors=True)  # an older result would pass for this one's
        (work / "DONE").unlink(missing_ok=True)
        return Outcome(job, "failed", record["seconds"], record["error"])
    _put_in_place(job, work)
    return Outcome(job, "done", record["seconds"])


def _put_in_place(job: Job, work: Path) -> None:
    """Let a finished folder take the place of an older result, which is whole until then."""
    older = job.folder.with_name(f".{job.folder.name}.older")
    shutil.rmtree(older, ignore_errors=True)
    if job.folder.exists():
        job.folder.rename(older)
    work.rename(job.folder)
    shutil.rmtree(older, ignore_errors=True)


def _papermill(job: Job, work: Path, listener: Listener, environment: dict[str, str]) -> str | None:
    """Execute the notebook into `work`; return what went wrong, or `None`."""
    began: list[int] = []

    def on_cell(cell: int, cells: int) -> None:
        began.append(cell)
        listener.on_cell(job, cell, cells)

    once = partial(_papermill_once, job, work, on_cell, began, environment)
    error = once()
    return error if not error or began else once()  # a kernel that never started is worth a second try


def _papermill_once(
    job: Job, work: Path, on_cell: Callable[[int, int], None], began: list[int], environment: dict[str, str]
) -> str | None:
    """`began`: the cells whose execution `on_cell` has been told of."""
    output, parameters = work / "notebook.ipynb", {**job.parameters, "output": work.as_posix()}
    try:
        papermill.execute_notebook(
            job.source, output, parameters, engine_name="reporting", on_cell=on_cell,
            kernel_name="python3", progress_bar=False, log_output=False, execution_timeout=job.cell_timeout,
            extra_arguments=["--log-level=50"],  # a kernel's own log is not for the terminal
            request_save_on_cell_execute=True, autosave_cell_every=0, kernel_manager_class=DeviceKernelManager,
            config=Config(DeviceKernelManager={"environment": environment}),
        )  # fmt: skip
        return unexecuted_cell(output)
    except PapermillExecutionError as error:
        return f"cell {error.cell_index + 1}: {error.ename}: {error.evalue}"
    except (DeadKernelError, CellTimeoutError, CellExecutionError, RuntimeError) as error:
        at = f"cell {began[-1] + 1}" if began else "before the first cell"
        kind = "took too long" if isinstance(error, CellTimeoutError) else "kernel died"
        return f"{at}: {kind}: {str(error).strip().partition(chr(10))[0]}"
