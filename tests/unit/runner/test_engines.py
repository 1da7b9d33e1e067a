"""How jobs are handed to what executes them; nothing is executed here. tests/notebooks has the notebooks."""

import time
from collections import Counter
from pathlib import Path

import pytest

from clipcap_lib.runner import pipeline
from clipcap_lib.runner.devices import VISIBLE, Devices
from clipcap_lib.runner.jobs import Job, Listener, Outcome
from clipcap_lib.runner.pipeline import local_engine, run_jobs


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Jobs without notebooks."""
    monkeypatch.setattr(pipeline, "check_parameters", lambda job: None)
    monkeypatch.setattr(pipeline, "is_fresh", lambda job: False)


def job(name: str, *needs: Job) -> Job:
    return Job("none", Path(name), {}, needs)


def test_an_engine_is_given_what_can_be_executed_side_by_side():
    first, other = job("first"), job("other")
    after, late = job("after", first), job("late", other)
    last = job("last", after, late)
    given, heard = [], []

    def engine(jobs, listener):
        given.append([each.name for each in jobs])
        for each in reversed(jobs):
            yield Outcome(each, "failed" if each is other else "done")

    listener = Listener(on_outcome=lambda outcome: heard.append((outcome.job.name, outcome.status)))
    outcomes = run_jobs([first, other, after, late, last], listener=listener, engine=engine)
    assert given == [["first", "other"], ["after"], []]
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done", "skipped", "skipped"]
    assert outcomes[3].error == "needs other"
    assert sorted(heard) == sorted((outcome.job.name, outcome.status) for outcome in outcomes)


def test_a_training_by_several_processes_has_a_gpu_for_each(monkeypatch):
    shown = {}

    def execute(job, listener, environment):
        shown[job.name] = environment[VISIBLE].split(",")
        return Outcome(job, "done")

    monkeypatch.setattr(pipeline, "execute", execute)
    jobs = [job("one"), Job("none", Path("two"), {"processes": 2}), Job("none", Path("also two"), {"processes": 2})]
    run_jobs(jobs, engine=local_engine(3, Devices(["a", "b", "c"])))
    assert {name: len(gpus) for name, gpus in shown.items()} == {"one": 1, "two": 2, "also two": 2}


def test_no_two_notebooks_are_on_one_gpu_and_more_workers_wait(monkeypatch):
    in_use, most, used = Counter(), Counter(), []

    def execute(job, listener, environment):
        name = environment[VISIBLE]
        in_use[name] += 1
        most[name] = max(most[name], in_use[name])
        most["all"] = max(most["all"], in_use.total())
        time.sleep(0.01)
        in_use[name] -= 1
        used.append(name)
        return Outcome(job, "failed" if job.name in "03" else "done")

    monkeypatch.setattr(pipeline, "execute", execute)
    jobs = [job(str(number)) for number in range(10)]
    outcomes = run_jobs(jobs, engine=local_engine(5, Devices(["a", "b"])))
    assert [outcome.status for outcome in outcomes].count("done") == 8
    assert most == {"a": 1, "b": 1, "all": 2}
    assert len(used) == 10
