"""Training: exact resume, frozen stays frozen, the dev loss is a mean over real tokens, the best checkpoint is kept."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from clipcap_lib.checkpointing import Checkpoints, clear_checkpoints
from clipcap_lib.dataset import batches
from clipcap_lib.files import InUseError
from clipcap_lib.history import History
from clipcap_lib.packing import Padding, pack
from clipcap_lib.settings import TrainingSettings
from clipcap_lib.training import Trainer, dev_loss, train

SETTINGS = TrainingSettings(
    steps=9, images_per_step=4, captions_per_image=2, learning_rate=1e-3, language_model_learning_rate=1e-3,
    warmup_steps=2, evaluate_every=3, patience=9, precision="float32",
)  # fmt: skip


class Killed(Exception):
    pass


def run(make_model, make_split, folder, kill_at=None, settings=SETTINGS, train_seed=0, images=12, **model):
    folder.mkdir(exist_ok=True)
    captioner = make_model(**model)
    calls = iter(range(100))

    def on_progress(line):
        if next(calls) == kill_at:
            raise Killed

    splits = make_split(captioner, images=images), make_split(captioner, images=5, seed=1)
    train(captioner, *splits, settings, train_seed, folder, on_progress)
    return captioner, pd.read_csv(folder / "history.csv").drop(columns="seconds")


@pytest.mark.parametrize("tuning", ["frozen", "full", "lora"])
def test_killed_and_resumed_equals_uninterrupted(make_model, make_split, tmp_path, tuning, device):
    whole, expected = run(make_model, make_split, tmp_path / "whole", tuning=tuning, device=device)
    with pytest.raises(Killed):
        run(make_model, make_split, tmp_path / "killed", kill_at=0, tuning=tuning, device=device)
    with (tmp_path / "killed" / "history.csv").open("a") as file:
        file.write("4,16,1.0,train,loss,99.0\n")  # a step after the checkpoint, lost by the kill
    resumed, history = run(make_model, make_split, tmp_path / "killed", tuning=tuning, device=device)
    pd.testing.assert_frame_equal(history, expected, atol=1e-6)
    for name, weight in whole.trainable().items():
        torch.testing.assert_close(resumed.trainable()[name], weight, msg=name)


PHASES = [
    "History.add", "SummaryWriter.add_scalar", "Trainer.train_until_evaluation", "Trainer.evaluate",
    "Checkpoints.save_best", "Checkpoints.save", "torch.save", "os.replace", "Path.unlink",
]  # fmt: skip


class Killer:
    """Counts the calls of everything a training does to its files, and raises before or after the chosen one."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.calls = at, after, 0

    def around(self, call):
        def counted(*arguments, **options):
            number, self.calls = self.calls, self.calls + 1
            if number == self.at and not self.after:
                raise Killed
            found = call(*arguments, **options)
            if number == self.at:
                raise Killed
            return found

        return counted

    def watch(self, patch) -> None:
        places = {"History": History, "SummaryWriter": SummaryWriter, "Trainer": Trainer, "Checkpoints": Checkpoints,
                  "torch": torch, "os": os, "Path": Path}  # fmt: skip
        for phase in PHASES:
            owner, name = places[phase.partition(".")[0]], phase.partition(".")[2]
            patch.setattr(owner, name, self.around(getattr(owner, name)))


# The dev loss first rises at this rate: whoever counts an evaluation twice stops early.
SHORT = SETTINGS.model_copy(update={"steps": 3, "evaluate_every": 2, "patience": 2, "warmup_steps": 0,
                                    "learning_rate": 0.1, "language_model_learning_rate": 0.1})  # fmt: skip


def killed_run(make_model, make_split, folder, at, after):
    """Train until the kill; return how many calls there were, or `None` where there are fewer."""
    killer = Killer(at, after)
    with pytest.MonkeyPatch.context() as patch:
        killer.watch(patch)
        try:
            run(make_model, make_split, folder, settings=SHORT)
        except Killed:
            return killer.calls
    return None


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_call_and_resumed_equals_uninterrupted(make_model, make_split, tmp_path, after):
    whole, expected = run(make_model, make_split, tmp_path / "whole", settings=SHORT)
    dev = expected.loc[expected["split"] == "dev", "value"].tolist()
    assert dev[1] > dev[0]
    at = 0
    while killed_run(make_model, make_split, tmp_path / f"{at}", at, after) is not None:
        resumed, history = run(make_model, make_split, tmp_path / f"{at}", settings=SHORT)
        pd.testing.assert_frame_equal(history, expected, check_exact=True)
        for name, weight in whole.trainable().items():
            assert torch.equal(resumed.trainable()[name], weight), f"{name} after a kill at call {at}"
        assert not list((tmp_path / f"{at}").glob("*.tmp"))
        at += 1
    assert at > 30


def test_tensorboard_shows_a_resumed_training_as_one(make_model, make_split, tmp_path):
    with pytest.raises(Killed):
        run(make_model, make_split, tmp_path / "killed", kill_at=0)  # after step 3
    writer = SummaryWriter(str(tmp_path / "killed" / "tensorboard"))
    writer.add_scalar("train/loss", 99.0, 4)  # a step behind the checkpoint, lost by the kill
    writer.close()
    _, history = run(make_model, make_split, tmp_path / "killed")
    events = EventAccumulator(str(tmp_path / "killed" / "tensorboard")).Reload().Scalars("train/loss")
    train = history[history["split"] == "train"]
    assert [event.step for event in events] == train["step"].tolist()
    np.testing.assert_allclose([event.value for event in events], train["value"], rtol=1e-6)


def damage(path: Path, how: str) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "cut short":
            file.truncate(size // 2)
        else:
            file.seek(0 if how == "all zeros" else size // 2)
            file.write(b"\0" * (size if how == "all zeros" else 200))


@pytest.mark.parametrize("how", ["cut short", "all zeros", "zeros within"])
@pytest.mark.parametrize("pattern", ["checkpoint-6-*", "best-6"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(make_model, make_split, tmp_path, how, pattern):
    whole, expected = run(make_model, make_split, tmp_path / "whole")
    with pytest.raises(Killed):
        run(make_model, make_split, tmp_path / "killed", kill_at=1)  # after step 6
    (path,) = (tmp_path / "killed").glob(f"{pattern}.pt")
    damage(path, how)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged"):
        resumed, history = run(make_model, make_split, tmp_path / "killed")
    pd.testing.assert_frame_equal(history, expected, atol=1e-6)
    for name, weight in whole.trainable().items():
        torch.testing.assert_close(resumed.trainable()[name], weight, msg=name)


def test_two_checkpoints_and_the_weights_they_name_are_kept(make_model, make_split, tmp_path):
    with pytest.raises(Killed):
        run(make_model, make_split, tmp_path / "killed", kill_at=2)
    assert sorted(path.name for path in (tmp_path / "killed").glob("*.pt")) == [
        "best-6.pt", "best-9.pt", "checkpoint-6-best-6.pt", "checkpoint-9-best-9.pt",
    ]  # fmt: skip


def test_a_folder_in_which_another_process_trains_is_refused(make_model, make_split, tmp_path, monkeypatch):
    monkeypatch.setattr("clipcap_lib.training.KERNEL_ENDS", 0.0)
    script = (
        "import sys, pathlib; from clipcap_lib.files import claim; held = claim(pathlib.Path(sys.argv[1])); print(1)"
    )
    other = subprocess.Popen([sys.executable, "-uc", script + "; input()", tmp_path / "run"], stdin=-1, stdout=-1)
    other.stdout.readline()
    with pytest.raises(InUseError, match=rf"run is in use by process {other.pid} on .*, since 20"):
        run(make_model, make_split, tmp_path / "run")
    other.kill()
    other.wait()
    run(make_model, make_split, tmp_path / "run")


def test_a_dev_loss_that_is_not_a_number_stops_training(make_model, make_split, tmp_path, monkeypatch):
    monkeypatch.setattr("clipcap_lib.training.dev_loss", lambda *a, **k: float("nan"))
    with pytest.raises(FloatingPointError, match="the dev loss is nan at step 0; lower learning_rate"):
        run(make_model, make_split, tmp_path / "run")


def test_bfloat16_learns_nearly_what_float32_learns(make_model, make_split, tmp_path, device):
    _, expected = run(make_model, make_split, tmp_path / "float32", device=device)
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    _, history = run(make_model, make_split, tmp_path / "bf16", settings=settings, device=device)
    # On a GPU the dtype decides, too, which units drop out of a training step.
    losses, exact = (rows.loc[rows["split"] == "dev", "value"] for rows in (history, expected))
    assert not np.array_equal(losses, exact)
    np.testing.assert_allclose(losses, exact, rtol=0.02)


@pytest.mark.parametrize(
    "changed",
    [{"settings": SETTINGS.model_copy(update={"learning_rate": 1e-2})}, {"train_seed": 1}, {"images": 11},
     {"mapping": "linear"}],
)  # fmt: skip
def test_what_another_training_left_is_never_resumed(make_model, make_split, tmp_path, changed):
    _, expected = run(make_model, make_split, tmp_path / "fresh", **changed)
    with pytest.raises(Killed):
        run(make_model, make_split, tmp_path / "used", kill_at=0)
    _, history = run(make_model, make_split, tmp_path / "used", **changed)
    pd.testing.assert_frame_equal(history, expected, atol=1e-6)


def test_a_folder_used_again_holds_one_history(make_model, make_split, tmp_path):
    _, first = run(make_model, make_split, tmp_path / "run")
    clear_checkpoints(tmp_path / "run")
    _, again = run(make_model, make_split, tmp_path / "run")
    pd.testing.assert_frame_equal(again, first, atol=1e-6)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_a_finished_training_is_not_repeated(make_model, make_split, tmp_path):
    first, history = run(make_model, make_split, tmp_path / "run")
    again, same = run(make_model, make_split, tmp_path / "run", kill_at=0)  # any step would report and be killed
    pd.testing.assert_frame_equal(same, history)
    for name, weight in first.trainable().items():
        assert torch.equal(again.trainable()[name], weight)
    clear_checkpoints(tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.pt"))


def test_a_frozen_language_model_keeps_every_bit(make_model, make_split, tmp_path):
    before = {name: weight.clone() for name, weight in make_model(tuning="frozen").language_model.state_dict().items()}
    model, _ = run(make_model, make_split, tmp_path / "run", tuning="frozen")
    for name, weight in model.language_model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert all(weight.grad is None and not weight.requires_grad for weight in model.language_model.parameters())


def test_dev_loss_is_the_mean_over_all_real_tokens(make_model, make_split):
    model = make_model().eval()
    split = make_split(model)
    losses = [
        model.loss(split.features.tensor([image]), pack([[split.tokens.caption(number)]], 3), reduction="none")
        for image in split.images
        for number in split.tokens.captions_of[image]
    ]
    assert dev_loss(model, split, images_per_step=5) == pytest.approx(torch.cat(losses).mean().item(), abs=1e-5)


def test_the_best_weights_are_kept_and_training_stops_early(make_model, make_split, tmp_path):
    model = make_model()
    split, dev = make_split(model), make_split(model, images=5, seed=1)
    settings = SETTINGS.model_copy(
        update={"steps": 300, "learning_rate": 0.03, "language_model_learning_rate": 0.03, "patience": 2}
    )
    progress = train(model, split, dev, settings, 0, tmp_path)
    assert progress.stopped_early
    assert progress.step < 300
    assert dev_loss(model, dev) == pytest.approx(progress.best_loss, abs=1e-5)


def test_as_published_the_last_weights_are_kept_and_padding_flatters_the_loss(make_model, make_split, tmp_path):
    model = make_model()
    split = make_split(model)
    settings = SETTINGS.model_copy(update={"keep": "last", "padding_in_loss": True, "patience": 1})
    progress = train(model, split, split, settings, 0, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    last = history[(history["step"] == settings.steps) & (history["split"] == "dev")].set_index("metric")["value"]
    assert progress.step == progress.best_step == settings.steps
    assert progress.best_loss == last["loss"] == pytest.approx(dev_loss(model.eval(), split))
    padding = Padding(model.tokenizer.pad_token_id, split.tokens.max_tokens)
    assert last["padded_loss"] == pytest.approx(dev_loss(model, split, padding=padding))
    assert last["padded_loss"] < last["loss"]


def test_a_loss_that_is_not_a_number_stops_training(make_model, make_split, tmp_path):
    model = make_model()
    split = make_split(model)
    with torch.no_grad():
        next(iter(model.mapper.parameters())).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(model, split, split, SETTINGS, 0, tmp_path)


def test_gradients_are_clipped_at_the_norm_of_all(make_model, make_split, tmp_path):
    most = 0.05
    settings = SETTINGS.model_copy(
        update={"steps": 4, "evaluate_every": 4, "warmup_steps": 0, "keep": "last", "clip_gradients": most}
    )
    model, naive = make_model(tuning="frozen"), make_model(tuning="frozen").train()
    split, weights = make_split(model), naive.trainable()
    train(model, split, split, settings, 0, tmp_path)
    optimizer, norms = torch.optim.AdamW(weights.values(), weight_decay=0.0), []
    for step, (images, captions) in zip(range(4), batches(split, settings, 0, 0), strict=False):
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (4 - step) / 4
        optimizer.zero_grad()
        naive.loss(*split.batch(images, captions, naive.prefix_length)).backward()
        norms.append(sum(weight.grad.square().sum().item() for weight in weights.values()) ** 0.5)
        for weight in weights.values():
            weight.grad *= most / norms[-1]
        optimizer.step()
    assert min(norms) > most
    for name, weight in weights.items():
        torch.testing.assert_close(model.trainable()[name], weight, atol=1e-6, rtol=0, msg=name)
