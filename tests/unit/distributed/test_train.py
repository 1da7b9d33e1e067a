"""What is refused before processes are started, and what is said of those that failed; tests/slow starts them."""

import json

import pytest
import torch

import clipcap_lib as cc
from clipcap_lib.distributed.train import failure_of
from clipcap_lib.model import ClipCapModel
from clipcap_lib.settings import TrainingSettings


def test_more_processes_than_gpus_are_refused(make_model, make_split, tmp_path, monkeypatch):
    model = make_model()
    split = make_split(model)
    monkeypatch.setattr(ClipCapModel, "device", property(lambda self: torch.device("cuda")))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match="processes is 2, but there are 1 GPUs: one for each is needed"):
        cc.train(model, split, split, TrainingSettings(steps=1, processes=2), 0, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("codes", "errors", "code", "kind", "message"),
    [
        ({"0": 1, "1": -9}, {0: "RuntimeError"}, 1, RuntimeError, "process 1 of 3 was ended by SIGKILL"),
        (
            {"0": 1},
            {0: "RuntimeError", 2: "OutOfMemoryError"},
            1,
            RuntimeError,
            "process 2 of 3: OutOfMemoryError: by 2",
        ),
        ({"1": 1}, {1: "FloatingPointError"}, 1, FloatingPointError, "^by 1$"),
        ({}, {1: "RuntimeError"}, -9, RuntimeError, "torchrun was ended by SIGKILL"),
        ({}, {}, 7, RuntimeError, "exit code 7: no torchrun"),
    ],
)
def test_the_process_that_failed_first_is_named(tmp_path, codes, errors, code, kind, message):
    (tmp_path / "output.txt").write_text("no torchrun")
    if codes:
        (tmp_path / "failed.json").write_text(json.dumps(codes))
    for rank, name in errors.items():
        told = {"rank": rank, "time": 10 - rank, "kind": name, "message": f"by {rank}"}
        (tmp_path / f"error-{rank}.json").write_text(json.dumps(told))
    with pytest.raises(kind, match=message):
        raise failure_of(tmp_path, 3, code)
