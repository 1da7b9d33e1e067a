"""A sweep on a Ray cluster of two nodes leaves what the same runs leave one after the other, and survives a death."""

import json
from contextlib import chdir
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from copied_project import copied

from clipcap_lib.runner import ray_engine as engines
from clipcap_lib.runner.experiment import find_experiment, load_experiment
from clipcap_lib.runner.freshness import is_fresh
from clipcap_lib.runner.jobs import Job, Listener, plan_jobs
from clipcap_lib.runner.pipeline import run_jobs

ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow
SWEEP = ("mapping=mlp", "tuning=frozen,full", "seed=0,1,2", "training.steps=3", "training.warmup_steps=1",
         "training.evaluate_every=1")  # fmt: skip
TIMES = ("seconds", "peak_memory_mb")
REPORTS = Path("reports")


@pytest.fixture
def workspace(tmp_path, project):
    """A copy of the project without anything made; the current folder while the test lasts."""
    with chdir(copied(project, tmp_path / "project")):
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory, project) -> Path:
    """The reports of the sweep, executed by the local engine one after the other."""
    place = copied(project, tmp_path_factory.mktemp("alone") / "project")
    with chdir(place):
        outcomes = run_jobs(planned(), workers=1)
    assert [outcome.error for outcome in outcomes] == [None] * 9
    return place


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of a core each; the second may be killed by the last test."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_register_timeout_seconds", "600")  # where other tests keep the cores busy
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        found.add_node(num_cpus=1)
        yield found
        found.shutdown()


def planned(*overrides: str) -> list[Job]:
    """The data, the features, six trainings, and of what compares them the results."""
    given = dict(override.split("=", 1) for override in (*SWEEP, *overrides))  # a later one in place of an earlier
    settings = load_experiment(
        find_experiment(Path("emoji-tiny")), [f"{key}={value}" for key, value in given.items()], "sweep"
    )
    return [job for job in plan_jobs(settings, REPORTS) if job.for_others or job.notebook == "06_results"]


def left_by(job: Job) -> dict[str, object]:
    """What lies in a job's folder, by its path there, without times; TensorBoard's copy of the history left out."""
    files = [file for file in job.folder.rglob("*") if file.is_file() and "tensorboard" not in file.parts]
    return {file.relative_to(job.folder).as_posix(): content(file) for file in files}


def content(file: Path) -> object:
    match file.suffix:
        case ".csv":
            return pd.read_csv(file).drop(columns="seconds", errors="ignore").to_csv()
        case ".parquet":
            return pd.read_parquet(file).to_csv()
        case ".json":
            return {key: value for key, value in json.loads(file.read_text()).items() if key not in TIMES}
        case ".ipynb":
            return [(cell.cell_type, cell.source) for cell in nbformat.read(file, as_version=4).cells]
    return file.read_bytes()


def assert_as_alone(jobs: list[Job], alone: Path) -> None:
    for job in jobs:
        here = left_by(job)
        with chdir(alone):
            there = left_by(job)
        assert here.keys() == there.keys()
        assert [name for name in here if here[name] != there[name]] == [], job.name
    runs = [job for job in jobs if job.notebook == "03_train"]
    assert all("model/model.safetensors" in left_by(job) for job in runs)


def test_a_sweep_on_two_nodes_is_the_sweep_of_one_process(cluster, alone, workspace):
    jobs, started = planned(), []
    listener = Listener(on_start=lambda job: started.append(job.name))
    with engines.ray_engine(REPORTS, cluster.address) as engine:
        outcomes = run_jobs(jobs, listener=listener, engine=engine)
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("done", None)] * 9
    assert sorted(started) == sorted(job.name for job in jobs)
    assert all(map(is_fresh, jobs))
    assert_as_alone(jobs, alone)
    assert not list(Path().glob(".ray-*"))


def test_what_machines_do_not_share_travels(cluster, alone, workspace, monkeypatch):
    """Each node works in its own copy of the project, and only results come back."""
    monkeypatch.setattr(engines, "_seen_everywhere", lambda ray, marks: False)
    jobs = planned("tuning=frozen", "seed=0")
    with engines.ray_engine(REPORTS, cluster.address) as engine:
        outcomes = run_jobs(jobs, engine=engine)
        broken = Job("03_train", REPORTS / "broken", jobs[2].parameters | {"mapping": "none"})
        (failed,) = run_jobs([broken], engine=engine)
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("done", None)] * 4
    assert all(map(is_fresh, jobs))
    assert not Path("data/prepared").exists()
    assert_as_alone(jobs[:3], alone)  # the last compares other runs
    assert failed.status == "failed" and "mapping" in failed.error
    assert (REPORTS / ".broken.partial" / "notebook.ipynb").exists()


def test_a_node_that_dies_costs_no_run(cluster, alone, workspace):
    """Its run is started again on the other node and comes to the same numbers."""
    jobs, started, training = planned(), [], set()
    (second,) = cluster.worker_nodes

    def on_cell(job: Job, cell: int, cells: int) -> None:
        if job.notebook == "03_train" and cell > 1:
            training.add(job.name)
        if len(training) == 2 and cluster.worker_nodes:  # both nodes are at work
            cluster.remove_node(second, allow_graceful=False)

    listener = Listener(on_start=lambda job: started.append(job.name), on_cell=on_cell)
    with engines.ray_engine(REPORTS, cluster.address) as engine:
        outcomes = run_jobs(jobs, listener=listener, engine=engine)
    assert not cluster.worker_nodes
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("done", None)] * 9
    assert len(started) > len(jobs)
    assert_as_alone(jobs, alone)
