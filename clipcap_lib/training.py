"""The training loop: packed batches, evaluation, best checkpoint, early stop, exact resume, history."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from clipcap_lib.checkpointing import Checkpoints, clear_checkpoints, training_stamp
from clipcap_lib.dataset import Split, batches
from clipcap_lib.files import claimed
from clipcap_lib.history import History
from clipcap_lib.model import ClipCapModel
from clipcap_lib.packing import Padding
from clipcap_lib.settings import TrainingSettings
from clipcap_lib.system import autocast
from clipcap_lib.wording import say

KERNEL_ENDS = 10.0  # seconds: a kernel whose parent was killed notices it within one or two


@dataclass
class Progress:
    """Where training stands; with the weights and the optimiser, all that a resume needs."""

    step: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_step: int = 0
    stale: int = 0
    stopped_early: bool = False


@dataclass
class Trainer:
    """Trains a captioner in place; see `train`."""

    model: ClipCapModel
    train_split: Split
    dev_split: Split
    settings: TrainingSettings
    seed: int
    folder: Path
    on_progress: Callable[[str], None] = lambda line: None
    progress: Progress = field(default_factory=Progress, init=False)
    checkpoints_of, history_of = Checkpoints, History  # not fields: where several processes train, one writes

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.optimizer, self.schedule = _optimizer(self.model, self.settings)
        self.padding = (
            Padding.of(self.model.tokenizer, self.train_split.tokens) if self.settings.padding_in_loss else None
        )
        stamp = training_stamp(self.model.config, (self.train_split, self.dev_split), self.settings, self.seed)
        self.checkpoints = self.checkpoints_of(self.folder, stamp)

    def fit(self) -> Progress:
        """Train to the end and load the weights that `settings.keep` names."""
        if state := self.checkpoints.load():
            self.resume(state)
        else:
            self.start()
        while self.progress.step < self.settings.steps and not self.progress.stopped_early:
            self.train_until_evaluation()
            self.evaluate()
            self.save()
            self.on_progress(self._line())
        self.model.load_trainable(self.checkpoints.best(self.progress.best_step), "the best checkpoint")
        self.history.board.close()
        return self.progress

    def start(self) -> None:
        """Begin at step 0 with its dev loss; what another training left in the folder is removed."""
        clear_checkpoints(self.folder)
        self.history = self.history_of(self.folder)
        self.evaluate()
        self.save()

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint as if nothing had happened since."""
        vars(self.progress).update(state["progress"])
        self.history = self.history_of(self.folder, state["history"], self.progress.step)
        self.model.load_trainable(state["weights"], f"the checkpoint of step {self.progress.step}")
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["gpu_random"])

    def save(self) -> None:
        """Write everything that `resume` needs."""
        state = {
            "progress": vars(self.progress), "history": self.history.text(), "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()["last_epoch"],
            "random": torch.get_rng_state(), "gpu_random": torch.cuda.get_rng_state_all(),
        }  # fmt: skip
        self.checkpoints.save(self.progress.step, self.progress.best_step, state)

    def train_until_evaluation(self) -> None:
        """Train up to the next multiple of `evaluate_every`, or to the end."""
        self.model.train()
        every = self.settings.evaluate_every
        end = min(self.settings.steps, (self.progress.step // every + 1) * every)
        for images, captions in batches(self.train_split, self.settings, self.seed, self.progress.step):
            started = time.perf_counter()
            value = self._step(images, captions)
            self.progress.seconds += time.perf_counter() - started
            self._record("train", "loss", value)
            if self.progress.step == end:
                return

    def _step(self, images: np.ndarray, captions: list[np.ndarray]) -> float:
        """Take one optimiser step and return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        value = self._backward(images, captions).item()
        if not np.isfinite(value):
            raise FloatingPointError(f"the training loss is {value} at step {self.progress.step}; lower learning_rate")
        if self.settings.clip_gradients:
            clip_grad_norm_(self.model.trainable().values(), self.settings.clip_gradients)
        self.optimizer.step()
        self.schedule.step()
        self.progress.step += 1
        return value

    def _backward(self, images: np.ndarray, captions: list[np.ndarray], weight: float = 1.0) -> Tensor:
        """Add the gradients of the mean loss over these captions, times `weight`, and return that loss []."""
        features, packed = self.train_split.batch(images, captions, self.model.prefix_length, self.padding)
        with autocast(self.model.device, self.settings.precision):
            loss = self.model.loss(features, packed) * weight
        loss.backward()
        return loss.detach()

    def evaluate(self) -> None:
        """Record the dev loss, keep the weights if they are the best, and stop when patience is at its end."""
        progress, settings = self.progress, self.settings
        loss = self._dev_loss()
        if not np.isfinite(loss):
            raise FloatingPointError(f"the dev loss is {loss} at step {progress.step}; lower learning_rate")
        self._record("dev", "loss", loss)
        if self.padding:
            self._record("dev", "padded_loss", self._dev_loss(self.padding))
        if loss < progress.best_loss or settings.keep == "last":
            progress.best_loss, progress.best_step, progress.stale = loss, progress.step, 0
            self.checkpoints.save_best(progress.step, self._weights())
        else:
            progress.stale += 1
            progress.stopped_early = progress.stale >= settings.patience

    def _dev_loss(self, padding: Padding | None = None) -> float:
        return dev_loss(self.model, self.dev_split, self.settings.precision, padding=padding)

    def _record(self, split: str, metric: str, value: float) -> None:
        images = self.progress.step * self.settings.images_per_step
        self.history.add(self.progress.step, images, self.progress.seconds, split, metric, value)

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach() for name, weight in self.model.trainable().items()}

    def _line(self) -> str:
        progress = self.progress
        return say(
            "step {step:,} of {steps:,}, best dev loss {best:.3f}, {seconds:.0f} s",
            step=progress.step, steps=self.settings.steps, best=progress.best_loss, seconds=progress.seconds,
        )  # fmt: skip


def train(
    model: ClipCapModel, train_split: Split, dev_split: Split, settings: TrainingSettings, seed: int, folder: Path,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Progress:  # fmt: skip
    """Train a captioner in place and leave it with the weights of the best dev loss (or the last: `settings.keep`).

    Losses are nats a real token; only with `padding_in_loss` the train loss and a dev `padded_loss` count padding. A
    run that was killed, whenever that was, is resumed from its last evaluation, to the same history, when it is called
    again for the same folder, captioner, data, settings and seed; where one of them differs, training starts afresh.
    Raises `FloatingPointError` where a loss is no number, and `InUseError` where another process trains here.
    """
    if settings.parts > 1:
        raise ValueError("processes and accumulate are of clipcap_lib.train: this one takes each step whole")
    with claimed(folder, wait=KERNEL_ENDS):
        return Trainer(model, train_split, dev_split, settings, seed, folder, on_progress).fit()


def dev_loss(
    model: ClipCapModel, split: Split, precision: str = "float32", images_per_step: int = 64,
    padding: Padding | None = None,
) -> float:  # fmt: skip
    """The mean loss, in nats a token, over every caption of a split: each token counts once, padding only if given."""
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode(), autocast(model.device, precision):
        for start in range(0, len(split.images), images_per_step):
            images = split.images[start : start + images_per_step]
            features, packed = split.batch(
                images, [split.tokens.captions_of[i] for i in images], model.prefix_length, padding
            )
            total += model.loss(features, packed, reduction="sum").item()
            tokens += len(packed.labels)
    model.train(was_training)
    return total / tokens


def _optimizer(model: ClipCapModel, settings: TrainingSettings):
    weights = model.trainable()
    language = [weight for name, weight in weights.items() if name.startswith("language_model.")]
    image = [weight for name, weight in weights.items() if not name.startswith("language_model.")]
    groups = [{"params": image, "lr": settings.learning_rate}]
    if language:
        groups.append({"params": language, "lr": settings.language_model_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)

    def linear(step: int) -> float:
        rising = (step + 1) / max(1, settings.warmup_steps)
        falling = (settings.steps - step) / max(1, settings.steps - settings.warmup_steps)
        return min(rising, falling, 1.0)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, linear)
