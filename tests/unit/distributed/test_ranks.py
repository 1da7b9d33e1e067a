"""Two processes over gloo come to the numbers of one that takes each step whole."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clipcap_lib.checkpointing import Checkpoints
from clipcap_lib.distributed.handover import hand_over
from clipcap_lib.settings import TrainingSettings
from clipcap_lib.training import train

SCRIPT = Path(__file__).parents[2] / "two_ranks.py"
STEPS = TrainingSettings(
    steps=50, images_per_step=5, captions_per_image=2, learning_rate=5e-4, language_model_learning_rate=5e-4,
    warmup_steps=2, evaluate_every=10, patience=9, precision="float32",
)  # fmt: skip
CASES = {
    "mlp, frozen": ("mlp", "frozen", 12, {}),
    "mlp, full": ("mlp", "full", 12, {}),
    "bert, frozen": ("bert", "frozen", 12, {}),
    "bert, full": ("bert", "full", 12, {}),
    "in two parts each, clipped": ("bert", "full", 12, {"steps": 10, "accumulate": 2, "clip_gradients": 0.5}),
    "padding in the loss": ("mlp", "full", 12, {"steps": 10, "padding_in_loss": True, "keep": "last"}),
    "one picture for two": ("bert", "full", 1, {"steps": 10, "weight_decay": 0.1}),
}


@pytest.fixture
def language_model(steady_language_model):
    return steady_language_model


@pytest.fixture
def trained(make_model, make_split, tmp_path):
    """Each case trained by one process and by two; the captioner of the one, and both folders."""
    found, places = {}, []
    for number, (name, (mapping, tuning, images, changed)) in enumerate(CASES.items()):
        one, two = tmp_path / f"{number}-one", tmp_path / f"{number}-two"
        one.mkdir(), two.mkdir()
        model = make_model(mapping, tuning)
        splits = make_split(model, images=images), make_split(model, images=min(images, 5), seed=1)
        settings = STEPS.model_copy(update=changed)
        places.append(two / "place")
        hand_over(places[-1], model, splits, settings.model_copy(update={"processes": 2}), 3, two)
        train(model, *splits, settings.model_copy(update={"accumulate": 1}), 3, one)
        found[name] = model, one, two
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, SCRIPT, *places], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return found


def test_two_processes_come_to_the_losses_and_weights_of_one(trained):
    for name, (model, one, two) in trained.items():
        expected, history = (pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (one, two))
        assert expected["value"].nunique() > len(expected) / 2, name  # it learns
        np.testing.assert_allclose(history.pop("value"), expected.pop("value"), atol=1e-5, rtol=0, err_msg=name)
        pd.testing.assert_frame_equal(history, expected)
        assert [path.name for path in sorted(two.glob("*.pt"))] == [path.name for path in sorted(one.glob("*.pt"))]
        (best,) = {path.stem.rpartition("-")[2] for path in sorted(one.glob("checkpoint-*.pt"))[-1:]}
        weights = Checkpoints(two, "").best(int(best))
        for key, weight in model.trainable().items():
            if not key.endswith(("key.bias", "c_attn.bias")):  # of keys: a gradient of nothing but rounding
                torch.testing.assert_close(weights[key], weight, atol=1e-4, rtol=0, msg=f"{name}: {key}")
