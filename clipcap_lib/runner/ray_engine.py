"""Notebooks as tasks of a Ray cluster: one task a notebook, on whatever machine has the cores and the GPU for it.

What machines must have is the project's Python environment. The library and the notebooks travel with the tasks, so
that every machine executes those of the caller.

- Where every machine sees the caller's project and reports (a network file system, or one machine), tasks work there,
  as the local engine does. A task whose machine dies is started elsewhere and goes on from its checkpoint.
- Where one does not, each task works in its machine's copy of the project. Results of jobs that it needs and files that
  the experiment names travel there, and its own result travels back, all through Ray's store of objects. Corpora and
  embeddings are made on each machine, once. A task whose machine dies begins anew. For many pictures share a folder.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from clipcap_lib.files import write_once
from clipcap_lib.provenance.sources import PACKAGE
from clipcap_lib.runner.carrying import needed_paths, pack, unpack
from clipcap_lib.runner.execution import conclude, execute, failed_on_disk
from clipcap_lib.runner.jobs import Job, Listener, Outcome, partial_folder
from clipcap_lib.runner.pipeline import Engine, EngineError
from clipcap_lib.system import first_line

LEFT_BEHIND = [".git", ".venv", "__pycache__", "/reports", "/tests", "/clipcap_lib"]  # the library goes by itself
RETRIES = 3  # of a task whose machine or process died
HEARD_EVERY = 0.5  # seconds between looks at what tasks tell


@contextmanager
def ray_engine(reports: Path, address: str = "local") -> Iterator[Engine]:
    """The engine on a Ray cluster until the block ends: `local` starts one on this machine, `auto` or host:port joins.

    Raises `EngineError` where Ray is not installed, no cluster answers, or its machines cannot import the library.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise EngineError("Ray is not installed: pip install -e '.[ray]'") from None
    # Who sees these files works in these folders; they also make each call's copies of the project new ones.
    marks = [folder.resolve() / f".ray-{uuid4().hex}" for folder in (Path.cwd(), reports)]
    try:
        for mark in marks:
            mark.touch()
        _connect(ray, address)
        yield _engine_on(ray, marks, reports)
    except ray.exceptions.RayError as error:
        raise EngineError(f"Ray: {_told(error)}") from error
    finally:
        ray.shutdown()
        for mark in marks:
            mark.unlink(missing_ok=True)


def _connect(ray: ModuleType, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    environment = {"working_dir": str(Path.cwd()), "py_modules": [str(PACKAGE)], "excludes": LEFT_BEHIND}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except Exception as error:  # Ray raises just that where a machine is too slow to start it
        raise EngineError(f"Ray, --address {address}: {first_line(error)}") from error


def _engine_on(ray: ModuleType, marks: list[Path], reports: Path) -> Engine:
    from ray.util.queue import Queue

    shared = _seen_everywhere(ray, marks)
    if not shared and reports.is_absolute():
        raise EngineError(f"{reports}: the machines share no such folder; name one inside the project, such as reports")
    here = _on(ray.get_runtime_context().get_node_id())
    news = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    return _Cluster(ray, marks if shared else [], news, {}).run


def _seen_everywhere(ray: ModuleType, marks: list[Path]) -> bool:
    """Whether each machine of the cluster sees the caller's folders."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    look = ray.remote(_unseen)
    return not any(ray.get([look.options(num_cpus=0, scheduling_strategy=_on(node)).remote(marks) for node in nodes]))


def _unseen(marks: list[Path]) -> list[Path]:
    return [mark.parent for mark in marks if not mark.exists()]


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


@dataclass
class _Cluster:
    """A cluster that is connected: `marks` in the folders that all share, or none; `carried`: what travels, by path."""

    ray: ModuleType
    marks: list[Path]
    news: Any
    carried: dict[Path, Any]

    def run(self, jobs: list[Job], listener: Listener) -> Iterator[Outcome]:
        """Execute jobs that do not need one another, and give each outcome as soon as it is known."""
        running = {self._submit(job): job for job in jobs}
        try:
            while running:
                done, _ = self.ray.wait(list(running), timeout=HEARD_EVERY)
                for event, *told in self.news.get_nowait_batch(self.news.size()):
                    getattr(listener, event)(*told)
                for task in done:
                    yield self._outcome(task, running.pop(task))
        finally:  # the user breaks off
            for task in running:
                self.ray.cancel(task, force=True)

    def _submit(self, job: Job) -> Any:
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        # A task that asks for more than the largest machine has would wait forever.
        cores, gpus = (max(int(node.get(kind, 0)) for node in nodes) for kind in ("CPU", "GPU"))
        asked = {"num_cpus": min(job.parameters.get("threads", 1), cores), "num_gpus": min(job.gpus, gpus)}
        task = self.ray.remote(_work).options(**asked, max_retries=RETRIES, name=job.name)
        return task.remote(job, self.marks, {} if self.marks else self._packed(job), self.news)

    def _packed(self, job: Job) -> dict[Path, Any]:
        """What a job needs of this machine, as objects of the cluster."""
        needed = needed_paths(job)
        for path in needed:
            if path not in self.carried:
                self.carried[path] = self.ray.put(pack(path))
        return {path: self.carried[path] for path in needed}

    def _outcome(self, task: Any, job: Job) -> Outcome:
        try:
            outcome, packed = self.ray.get(task)
            if packed is None:
                return replace(outcome, job=job)
            shutil.rmtree(partial_folder(job), ignore_errors=True)
            unpack(packed, partial_folder(job))
            return conclude(job)
        except self.ray.exceptions.RayError as error:
            return Outcome(job, "failed", error=_told(error))
        except OSError as error:
            return failed_on_disk(job, error)


def _told(error: Exception) -> str:
    """An error of Ray's in one line; that of a task is the last line of its traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if hasattr(error, "traceback_str") else lines[0]


# --- on the machine of the task ------------------------------------------------------------------------------------


def _work(job: Job, marks: list[Path], carried: dict[Path, Any], news: Any) -> tuple[Outcome, bytes | None]:
    """Execute a job; returns what became of it and, where no folder is shared, the folder that it filled."""
    tell = {event: partial(_tell, news, event) for event in ("on_start", "on_cell")}
    if marks:
        if unseen := _unseen(marks):
            error = f"{socket.gethostname()} joined the cluster, but does not see {unseen[0]}, which the others share"
            return Outcome(job, "failed", error=error), None
        with chdir(marks[0].parent):
            return execute(job, Listener(**tell)), None
    for path, packed in carried.items():
        write_once(path, partial(_fetch, packed))
    outcome = execute(job, Listener(**tell))
    place = job.folder if outcome.status == "done" else partial_folder(job)
    return outcome, pack(place) if place.exists() else None


def _tell(news: Any, event: str, *told: Any) -> None:
    news.put_nowait((event, *told))


def _fetch(packed: Any, path: Path) -> None:
    import ray

    unpack(ray.get(packed), path)
