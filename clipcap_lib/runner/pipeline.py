"""Runs the notebooks of an experiment through papermill, strictly: parameters checked, status true, fresh work kept."""

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets import Dict
from traitlets.config import Config

from clipcap_lib.files import read_json, replacing, write_json
from clipcap_lib.provenance.sources import library_hash
from clipcap_lib.runner.devices import Devices, visible_devices
from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.runner.parameter_cells import ParameterError, notebook_parameters
from clipcap_lib.runner.warm_kernels import use_warm_kernels

NOTEBOOKS = Path("notebooks")
Status = Literal["done", "fresh", "failed", "skipped"]


@dataclass(frozen=True)
class Job:
    """One notebook to execute: where it goes, what it is given, which jobs it needs, whether others need it.

    A cell may take `cell_timeout` seconds.
    """

    notebook: str
    folder: Path
    parameters: dict[str, Any]
    needs: tuple["Job", ...] = ()
    for_others: bool = False
    cell_timeout: int = 7200

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def gpus(self) -> int:
        """How many GPUs it uses where there are some: one for each process that trains."""
        return self.parameters.get("processes", 1)


INPUTS = ("encoder", "language_model", "captions_file", "dev_captions_file", "test_captions_file", "splits_file")
DRAWING = ("reporting", "wording")  # what shows results and makes none
DRAWN = ("report_language",)  # parameters of what shows them
SAVED_EVERY = 1.0  # seconds: each cell's beginning and end would take as long as many a cell
STUDY = "08_what_limits"  # of experiments with axes beside mapping, tuning and seed
COMPARISONS = ("04_mlp_vs_bert", "05_decoding", "06_results", "07_explore", STUDY)


@dataclass
class Outcome:
    """What became of a job; `error` says in which cell it failed and why."""

    job: Job
    status: Status
    seconds: float = 0.0
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the job's folder holds its result, made now or before."""
        return self.status in ("done", "fresh")


@dataclass
class Listener:
    """What the caller wants to hear while jobs run."""

    on_cell: Callable[[Job, int, int], None] = lambda job, cell, cells: None
    on_start: Callable[[Job], None] = lambda job: None
    on_outcome: Callable[[Outcome], None] = lambda outcome: None


# What executes jobs that do not need one another, and gives each outcome as soon as it is known.
Engine = Callable[[list[Job], Listener], Iterator[Outcome]]


class EngineError(RuntimeError):
    """An engine that cannot be used, such as a cluster that does not answer; the message says what to do."""


# --- planning ------------------------------------------------------------------------------------------------------


def plan_jobs(experiment: Experiment, reports: Path) -> list[Job]:
    """The jobs of an experiment in an order in which each comes after those it needs.

    Runs whose data and encoder are the same share the preparation of data and features. These two are done side by
    side: what both read, the corpus, is prepared by the one that comes first.
    """
    folder = reports / experiment.name
    all_threads = experiment.execution.workers * experiment.execution.threads  # little runs beside it
    shared: dict[str, Job] = {}  # what several runs go on from, by notebook and parameters
    runs = []
    for choice in experiment.run_grid():
        own = experiment.of_run(choice)
        data = _shared_job(own, shared, folder, "01_data_preparation")
        features = _shared_job(own, shared, folder, "02_feature_extraction", threads=all_threads)
        given = {key: value for key, value in choice.items() if "." not in key}
        place = folder / "runs" / experiment.run_name(choice)
        runs.append(_job(own, "03_train", place, (data, features), **given))
    run_folders = [run.folder.as_posix() for run in runs]
    comparisons = (
        _job(experiment, name, folder / "notebooks" / name, tuple(runs), runs=run_folders, interactive=False)
        for name in _comparisons(experiment)
    )
    # A tuned language model takes longest: begun first, none of them runs alone at the end. Reports keep the order.
    return [*shared.values(), *sorted(runs, key=lambda run: run.parameters["tuning"] == "frozen"), *comparisons]


def _job(experiment: Experiment, notebook: str, place: Path, needs: tuple[Job, ...] = (), **extra: Any) -> Job:
    wanted = notebook_parameters(NOTEBOOKS / f"{notebook}.ipynb")
    parameters = {key: value for key, value in {**experiment.flat(), **extra}.items() if key in wanted}
    return Job(notebook, place, parameters, needs, notebook not in COMPARISONS, experiment.execution.cell_timeout)


def _shared_job(
    experiment: Experiment, shared: dict[str, Job], folder: Path, notebook: str, needs: tuple[Job, ...] = (),
    **extra: Any,
) -> Job:  # fmt: skip
    """The job of this notebook with these parameters: the one that another run needs too, or a new one."""
    first = folder / "notebooks" / notebook
    job = _job(experiment, notebook, first, needs, **extra)
    same = [other for other in shared.values() if (other.notebook, other.parameters) == (notebook, job.parameters)]
    if same:
        return same[0]
    before = sum(other.notebook == notebook for other in shared.values())
    place = first.with_name(f"{notebook}-{before + 1}") if before else first
    return shared.setdefault(place.name, replace(job, folder=place))


def _comparisons(experiment: Experiment) -> list[str]:
    """The notebooks that compare the runs: those of mapping and tuning, or the one that asks what limits ClipCap."""
    if experiment.runs.further:
        return [STUDY]
    # The explorer is about one picture: there is nothing to explore where embeddings came without pictures.
    return [name for name in COMPARISONS if name != STUDY and (experiment.data.has_pictures or name != "07_explore")]


def check_parameters(job: Job) -> None:
    """Raise `ParameterError` for a parameter the notebook does not have or whose type differs from its default's."""
    known = notebook_parameters(NOTEBOOKS / f"{job.notebook}.ipynb")
    for name, value in job.parameters.items():
        if name not in known:
            raise ParameterError(f"{job.notebook}: unknown parameter {name!r}; it has {', '.join(known)}")
        expected = (int, float) if isinstance(known[name], float) else type(known[name])
        if not isinstance(value, expected) or isinstance(value, bool) != isinstance(known[name], bool):
            raise ParameterError(f"{job.notebook}: {name} is {value!r}; expected {type(known[name]).__name__}")


# --- freshness -----------------------------------------------------------------------------------------------------


def job_hash(job: Job) -> str:
    """What a job's result depends on: its code, parameters, the library's files behind it, model files, its needs.

    What other jobs go on from does not depend on how it is drawn: after a change in `reporting/` nothing is trained
    again. Nor does it after a change of what a notebook explains.
    """
    path = NOTEBOOKS / f"{job.notebook}.ipynb"
    code = list(_code_of(path.resolve(), path.stat().st_mtime_ns))
    library = library_hash("\n".join(code), without=DRAWING if job.for_others else ())
    parameters = {key: value for key, value in job.parameters.items() if not (job.for_others and key in DRAWN)}
    parts = [code, parameters, library, _inputs_hash(job.parameters), [job_hash(need) for need in job.needs]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@lru_cache(maxsize=64)
def _code_of(notebook: Path, modified: int) -> tuple[str, ...]:
    # The time is in the key only so that a changed notebook is read again.
    return tuple(cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code")


def _inputs_hash(parameters: dict[str, Any]) -> str:
    paths = input_paths(parameters)
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    pictures = parameters.get("images")
    return (_pictures(pictures) if pictures else "") + _files_hash([file for file in found if file.is_file()])


def input_paths(parameters: dict[str, Any]) -> list[Path]:
    """The caption files, splits, encoder and language model that parameters name, as far as they are files or folders.

    A model that is named by its hub id is none; pictures are not among them.
    """
    names = [str(parameters.get(key, "")) for key in INPUTS]
    paths = [Path(name.partition(":")[2] if name.startswith(("clip:", "hf:")) else name) for name in names if name]
    return [path for path in paths if path.exists()]


@cache
def _pictures(images: str) -> str:
    from clipcap_lib.corpus.corpus import pictures_digest
    from clipcap_lib.digests import MANIFEST

    # Asked for by every job and all that it needs: once a process, for a folder may hold a hundred thousand.
    try:
        return pictures_digest(images, Path("data/features") / MANIFEST, print)
    except (ValueError, FileNotFoundError):
        return ""  # shards that are not there or are none: the doctor and notebook 01 name them


def _files_hash(files: list[Path]) -> str:
    stats = [(file, file.stat()) for file in files]
    digests = [[file.name, _file_digest(file, stat.st_size, stat.st_mtime_ns)] for file, stat in stats]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(file: Path, size: int, modified: int) -> str:
    # Size and time are in the key only so that a changed file is read again.
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_fresh(job: Job) -> bool:
    """Whether the job's folder holds the finished result of this notebook, these parameters and this library."""
    record = _record_of(job.folder)
    return record is not None and (job.folder / "DONE").exists() and record["hash"] == job_hash(job)


def found_outcomes(jobs: list[Job]) -> list[Outcome]:
    """What stands of these jobs, whatever has changed since; a job that never ended counts as skipped.

    Raises `FileNotFoundError` where none did.
    """
    ended = [(job.folder / "DONE").exists() for job in jobs]
    if not any(ended):
        raise FileNotFoundError(f"{jobs[0].folder.parents[1]}: nothing has been executed yet: `clipcap run` does")
    return [
        Outcome(job, "fresh", read_json(job.folder / "job.json")["seconds"]) if done
        else Outcome(job, "skipped", error="not executed")
        for job, done in zip(jobs, ended, strict=True)
    ]  # fmt: skip


# --- execution -----------------------------------------------------------------------------------------------------


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


def run_jobs(
    jobs: list[Job], workers: int = 1, listener: Listener | None = None, engine: Engine | None = None
) -> list[Outcome]:
    """Execute jobs, each after those it needs; what is fresh is kept, what needs a failed job is skipped.

    All parameters are checked before the first notebook starts. Without an `engine`, this process executes up to
    `workers` notebooks side by side; see `local_engine`.
    """
    listener = listener or Listener()
    for job in jobs:
        check_parameters(job)
    engine = engine or local_engine(workers, Devices(visible_devices()))
    outcomes: dict[Path, Outcome] = {}
    for wave in _waves(jobs):
        settled = [outcome for job in wave if (outcome := _settled(job, outcomes))]
        due = [job for job in wave if job.folder not in {outcome.job.folder for outcome in settled}]
        for outcome in itertools.chain(settled, engine(due, listener)):
            outcomes[outcome.job.folder] = outcome
            listener.on_outcome(outcome)
    return [outcomes[job.folder] for job in jobs]


def _waves(jobs: list[Job]) -> list[list[Job]]:
    waves: list[list[Job]] = []
    depth: dict[Path, int] = {}
    for job in jobs:
        depth[job.folder] = 1 + max((depth[need.folder] for need in job.needs), default=-1)
        if depth[job.folder] == len(waves):
            waves.append([])
        waves[depth[job.folder]].append(job)
    return waves


def _settled(job: Job, outcomes: dict[Path, Outcome]) -> Outcome | None:
    """What becomes of a job that need not or cannot be executed; `None`: it is to be executed."""
    failed = [need.name for need in job.needs if outcomes[need.folder].status in ("failed", "skipped")]
    if failed:
        return Outcome(job, "skipped", error=f"needs {', '.join(failed)}")
    if not is_fresh(job):
        return None
    _renew_prose(job)
    return Outcome(job, "fresh", read_json(job.folder / "job.json")["seconds"])


def local_engine(workers: int, devices: Devices) -> Engine:
    """Executes up to `workers` notebooks side by side; where there are GPUs, each when one is free, and on that alone.

    A notebook's log is its executed copy, saved every second.
    """

    def run(jobs: list[Job], listener: Listener) -> Iterator[Outcome]:
        pool = ThreadPoolExecutor(workers)
        try:
            for future in as_completed([pool.submit(_execute_on_a_device, job, listener, devices) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def _execute_on_a_device(job: Job, listener: Listener, devices: Devices) -> Outcome:
    with devices.some(job.gpus) as environment:
        return execute(job, listener, environment)


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


def partial_folder(job: Job) -> Path:
    """Where a job works until it is finished; what is in it can be resumed."""
    return job.folder.with_name(f".{job.folder.name}.partial")


def _execute(job: Job, listener: Listener, environment: dict[str, str]) -> Outcome:
    use_warm_kernels()  # where nothing is executed, nothing is imported
    work, stamp, started = partial_folder(job), job_hash(job), time.perf_counter()
    if (before := _record_of(work)) and before["hash"] != stamp:
        shutil.rmtree(work)  # left behind by other parameters or another library
    elif before and before["seconds"] is not None and not before["error"] and (work / "DONE").exists():
        return conclude(job)  # killed after the last cell: nothing is left to execute
    work.mkdir(parents=True, exist_ok=True)
    content = {"hash": stamp, "notebook": job.notebook, "parameters": job.parameters, "seconds": None, "error": None}
    write_json(work / "job.json", content)
    error = _papermill(job, work, listener, environment)
    if not error:
        _drop_navigation(work / "notebook.ipynb")
        (work / "DONE").touch()
    content |= {"seconds": round(time.perf_counter() - started, 1), "error": error}
    write_json(work / "job.json", content)
    return conclude(job)


def _renew_prose(job: Job) -> None:
    """Let a kept notebook explain in the words of today: its code and outputs stay, the cells between are renewed."""
    path = job.folder / "notebook.ipynb"
    kept, today = (nbformat.read(file, as_version=4) for file in (path, NOTEBOOKS / f"{job.notebook}.ipynb"))
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


def _record_of(work: Path) -> dict[str, Any] | None:
    """What an earlier process wrote of the job it began in a folder; of a damaged record, that it is no known job."""
    path = work / "job.json"
    if not path.exists():
        return None
    try:
        record = read_json(path)
    except ValueError:
        record = None
    return record if isinstance(record, dict) and "hash" in record else {"hash": None}


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
            NOTEBOOKS / f"{job.notebook}.ipynb", output, parameters, engine_name="reporting", on_cell=on_cell,
            kernel_name="python3", progress_bar=False, log_output=False, execution_timeout=job.cell_timeout,
            extra_arguments=["--log-level=50"],  # a kernel's own log is not for the terminal
            request_save_on_cell_execute=True, autosave_cell_every=0, kernel_manager_class=DeviceKernelManager,
            config=Config(DeviceKernelManager={"environment": environment}),
        )  # fmt: skip
        return _unexecuted_cell(output)
    except PapermillExecutionError as error:
        return f"cell {error.cell_index + 1}: {error.ename}: {error.evalue}"
    except (DeadKernelError, CellTimeoutError, CellExecutionError, RuntimeError) as error:
        at = f"cell {began[-1] + 1}" if began else "before the first cell"
        kind = "took too long" if isinstance(error, CellTimeoutError) else "kernel died"
        return f"{at}: {kind}: {str(error).strip().partition(chr(10))[0]}"


def _drop_navigation(path: Path) -> None:
    # Its links lead to notebooks that stand beside the source, not beside an executed copy.
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = _without_navigation(notebook.cells)
    nbformat.write(notebook, path)


def _without_navigation(cells: list[NotebookNode]) -> list[NotebookNode]:
    return [cell for cell in cells if "navigation" not in cell.metadata.get("tags", [])]


def _unexecuted_cell(path: Path) -> str | None:
    # papermill calls a notebook completed even when its kernel died: only execution counts tell.
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, start=1):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            return f"cell {number}: never executed"
    return None
