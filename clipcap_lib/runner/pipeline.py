"""Runs the jobs of an experiment, each after those it needs: parameters checked before work, fresh results kept."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from clipcap_lib.files import read_json
from clipcap_lib.runner.devices import Devices, visible_devices
from clipcap_lib.runner.executed_notebooks import renew_prose
from clipcap_lib.runner.execution import execute
from clipcap_lib.runner.freshness import is_fresh
from clipcap_lib.runner.jobs import Job, Listener, Outcome, check_parameters

# What executes jobs that do not need one another, and gives each outcome as soon as it is known.
Engine = Callable[[list[Job], Listener], Iterator[Outcome]]


class EngineError(RuntimeError):
    """An engine that cannot be used, such as a cluster that does not answer; the message says what to do."""


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
    renew_prose(job.folder / "notebook.ipynb", job.source)
    return Outcome(job, "fresh", read_json(job.folder / "job.json")["seconds"])


def local_engine(workers: int, devices: Devices) -> Engine:
    """Executes up to `workers` notebooks side by side; where there are GPUs, each when one is free, and on that alone.

    A notebook's log is its executed copy, saved once a second at most.
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
