"""A training by several processes, through torchrun: its numbers, and what becomes of it when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

import clipcap_lib as cc
from clipcap_lib.distributed import launch, rank
from clipcap_lib.settings import TrainingSettings

pytestmark = pytest.mark.slow
STEPS = TrainingSettings(
    steps=50, images_per_step=5, captions_per_image=2, learning_rate=5e-4, language_model_learning_rate=5e-4,
    warmup_steps=2, evaluate_every=10, patience=9, precision="float32",
)  # fmt: skip
TWO = STEPS.model_copy(update={"processes": 2})
LONG = TWO.model_copy(update={"steps": 10_000, "patience": 1_000})
ENDS = 10.0  # seconds


@pytest.fixture
def language_model(steady_language_model):
    return steady_language_model


@pytest.fixture
def run(make_model, make_split, tmp_path):
    """Train a captioner in a folder of this name; its history but for the seconds."""

    def run(name, settings=STEPS, on_progress=lambda line: None, mapping="bert", tuning="full", spoil=False):
        model, folder = make_model(mapping, tuning), tmp_path / name
        folder.mkdir(exist_ok=True)
        if spoil:
            with torch.no_grad():
                next(iter(model.mapper.parameters())).fill_(float("nan"))
        cc.train(model, make_split(model), make_split(model, images=5, seed=1), settings, 0, folder, on_progress)
        return model, pd.read_csv(folder / "history.csv").drop(columns="seconds")

    return run


def processes(folder: Path, *modules) -> list[psutil.Process]:
    """The processes that train in a folder."""
    names, found = {module.__name__ for module in modules or (rank, launch)}, []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if names & set(command) and any(str(folder) in part for part in command):
            found.append(process)
    return found


def gone(folder: Path) -> bool:
    """Whether none of them is left after a few seconds."""
    end = time.monotonic() + ENDS
    while (left := processes(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return not left


@pytest.mark.parametrize("mapping", ["mlp", "bert"])
@pytest.mark.parametrize("tuning", ["frozen", "full"])
def test_two_processes_come_to_the_losses_of_one(run, tmp_path, mapping, tuning):
    lines, heard = [], []
    _, expected = run("one", STEPS, lines.append, mapping, tuning)
    _, history = run("two", TWO, heard.append, mapping, tuning)
    np.testing.assert_allclose(history.pop("value"), expected.pop("value"), atol=1e-5, rtol=0)
    pd.testing.assert_frame_equal(history, expected)
    assert [line.rpartition(",")[0] for line in heard] == [line.rpartition(",")[0] for line in lines]
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    assert gone(tmp_path / "two")


def test_a_killed_rank_is_named_within_seconds_and_the_next_call_resumes(run, tmp_path):
    _, expected = run("whole", TWO)
    killed = []

    def kill(line):
        if not killed:
            (victim,) = [one for one in processes(tmp_path / "run", rank) if one.environ()["RANK"] == "1"]
            victim.kill()
            killed.append(time.monotonic())

    with pytest.raises(RuntimeError, match="process 1 of 2 was ended by SIGKILL; run it again, and it resumes"):
        run("run", TWO, kill)
    assert time.monotonic() - killed[0] < ENDS
    assert gone(tmp_path / "run")
    steps = []
    _, history = run("run", TWO, steps.append)
    assert len(steps) == 4  # of five evaluations: the first was before the kill
    pd.testing.assert_frame_equal(history, expected, check_exact=True)


def test_an_error_arrives_as_from_one_process(run, tmp_path):
    with pytest.raises(FloatingPointError, match="the dev loss is nan at step 0; lower learning_rate"):
        run("run", TWO, spoil=True)
    assert gone(tmp_path / "run")


def test_an_interrupted_caller_leaves_no_rank(run, tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("run", LONG, interrupt)
    assert processes(tmp_path / "run") == []


CALLER = """
import pickle, sys
from pathlib import Path
import clipcap_lib as cc
from clipcap_lib.distributed.handover import take_over
model, task = take_over(Path(sys.argv[1]))
cc.train(model, task.train_split, task.dev_split, task.settings, 0, Path(sys.argv[2]), lambda line: print(line, flush=True))
"""  # noqa: E501


@pytest.mark.parametrize("victim", ["caller", "torchrun"])
def test_a_killed_caller_and_a_killed_torchrun_leave_no_rank(make_model, make_split, tmp_path, victim):
    from clipcap_lib.distributed.handover import hand_over

    model, folder = make_model("mlp", "frozen"), tmp_path / "run"
    folder.mkdir()
    hand_over(tmp_path / "asked", model, (make_split(model), make_split(model, images=5)), LONG, 0, folder)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, tmp_path / "asked", folder], stdout=-1, stderr=-1, env=environment, text=True
    )
    caller.stdout.readline()
    assert len(processes(folder, rank)) == 2
    (torchrun,) = processes(folder, launch)
    os.kill(caller.pid if victim == "caller" else torchrun.pid, signal.SIGKILL)
    assert gone(folder)
    _, errors = caller.communicate()
    assert victim == "caller" or "torchrun was ended by SIGKILL; run it again, and it resumes" in errors
