"""A step taken in parts: the loss, the gradients and the dropout of the whole batch."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import clipcap_lib as cc
from clipcap_lib.distributed.parts import dropout_of_the_batch, shares
from clipcap_lib.settings import TrainingSettings
from clipcap_lib.training import train

STEPS = TrainingSettings(
    steps=12, images_per_step=5, captions_per_image=2, learning_rate=5e-4, language_model_learning_rate=5e-4,
    warmup_steps=2, evaluate_every=4, patience=9, precision="float32",
)  # fmt: skip


@pytest.fixture
def language_model(steady_language_model):
    return steady_language_model


@pytest.mark.parametrize(("images", "count"), [(5, 2), (12, 5), (3, 3), (2, 4), (1, 8)])
def test_shares_are_contiguous_and_leave_out_none(images, count):
    found = shares(images, count)
    assert [image for share in found for image in range(images)[share]] == list(range(images))
    sizes = [share.stop - share.start for share in found]
    assert len(found) == min(images, count)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("accumulate", [2, 5])
@pytest.mark.parametrize(("mapping", "tuning"), [("mlp", "frozen"), ("bert", "full")])
def test_parts_come_to_the_losses_of_the_whole(make_model, make_split, tmp_path, mapping, tuning, accumulate, device):
    histories = []
    for parts in (1, accumulate):
        model = make_model(mapping, tuning, device=device)
        splits, folder = (make_split(model), make_split(model, images=5, seed=1)), tmp_path / str(parts)
        folder.mkdir()
        cc.train(model, *splits, STEPS.model_copy(update={"accumulate": parts}), 0, folder)
        histories.append(pd.read_csv(folder / "history.csv").drop(columns="seconds"))
    whole, in_parts = histories
    np.testing.assert_allclose(in_parts.pop("value"), whole.pop("value"), atol=1e-5, rtol=0)
    pd.testing.assert_frame_equal(in_parts, whole)


def test_a_part_drops_out_what_the_whole_batch_would_and_later_numbers_are_its_own(device):
    mapper = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.5)).to(device)
    batch = torch.ones(7, 40, device=device)
    torch.manual_seed(0)
    expected = mapper(batch)
    drawn, later = torch.rand((), device=device), []
    for part in (slice(0, 3), slice(3, 7)):
        torch.manual_seed(0)
        with dropout_of_the_batch(mapper, part, 7) as states:
            torch.testing.assert_close(mapper(batch[part]), expected[part])
        later.append(torch.rand((), device=device).item())
        states[0].restore()
        assert torch.rand((), device=device) == drawn
    assert len({*later, drawn.item()}) == 3
    torch.manual_seed(0)
    assert torch.equal(mapper(batch), expected)  # as before


def test_a_language_model_that_drops_out_resumes_to_the_same_numbers(make_model, make_split, tmp_path):
    settings = STEPS.model_copy(update={"accumulate": 2})

    def run(folder, stop_at=None):
        folder.mkdir(exist_ok=True)
        model = make_model("bert", "full")
        for module in model.language_model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.2
        lines = []

        def on_progress(line):
            lines.append(line)
            if len(lines) == stop_at:
                raise KeyboardInterrupt

        cc.train(model, make_split(model), make_split(model, images=5, seed=1), settings, 0, folder, on_progress)
        return pd.read_csv(folder / "history.csv").drop(columns="seconds")

    expected = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop_at=1)
    pd.testing.assert_frame_equal(run(tmp_path / "stopped"), expected, check_exact=True)


def test_training_whole_steps_refuses_settings_that_it_would_not_follow(make_model, make_split, tmp_path):
    model = make_model()
    with pytest.raises(ValueError, match=r"processes and accumulate are of clipcap_lib\.train"):
        train(model, make_split(model), make_split(model), STEPS.model_copy(update={"accumulate": 2}), 0, tmp_path)
