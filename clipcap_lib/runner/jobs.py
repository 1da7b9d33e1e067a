"""Jobs, each one notebook to execute: which of them an experiment needs, and what becomes of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from clipcap_lib.runner.experiment import Experiment
from clipcap_lib.runner.parameter_cells import ParameterError, notebook_parameters

NOTEBOOKS = Path("notebooks")
STUDY = "08_what_limits"  # of experiments with axes beside mapping, tuning and seed
COMPARISONS = ("04_mlp_vs_bert", "05_decoding", "06_results", "07_explore", STUDY)
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
    def source(self) -> Path:
        """The notebook's file in `notebooks/`."""
        return notebook_file(self.notebook)

    @property
    def gpus(self) -> int:
        """How many GPUs it uses where there are some: one for each process that trains."""
        return self.parameters.get("processes", 1)


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


def partial_folder(job: Job) -> Path:
    """Where a job works until it is finished; what is in it can be resumed."""
    return job.folder.with_name(f".{job.folder.name}.partial")


def notebook_file(name: str) -> Path:
    """The file of a notebook by its name."""
    return NOTEBOOKS / f"{name}.ipynb"


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
    wanted = notebook_parameters(notebook_file(notebook))
    parameters = {key: value for key, value in {**experiment.flat(), **extra}.items() if key in wanted}
    return Job(notebook, place, parameters, needs, notebook not in COMPARISONS, experiment.execution.cell_timeout)


def _shared_job(
    experiment: Experiment, shared: dict[str, Job], folder: Path, notebook: str, **extra: Any
) -> Job:  # fmt: skip
    """The job of this notebook with these parameters: the one that another run needs too, or a new one."""
    first = folder / "notebooks" / notebook
    job = _job(experiment, notebook, first, **extra)
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
    known = notebook_parameters(job.source)
    for name, value in job.parameters.items():
        if name not in known:
            raise ParameterError(f"{job.notebook}: unknown parameter {name!r}; it has {', '.join(known)}")
        expected = (int, float) if isinstance(known[name], float) else type(known[name])
        if not isinstance(value, expected) or isinstance(value, bool) != isinstance(known[name], bool):
            raise ParameterError(f"{job.notebook}: {name} is {value!r}; expected {type(known[name]).__name__}")
