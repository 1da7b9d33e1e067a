"""The training loop: packed batches, evaluation, best checkpoint, early stop, exact resume, history."""

import csv
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from clipcap_lib.batches import CaptionTokens, Packed, Padding, pack
from clipcap_lib.experiment import TrainingSettings
from clipcap_lib.features import Features
from clipcap_lib.model import ClipCapConfig, ClipCapModel

HISTORY_COLUMNS = ["step", "images", "seconds", "split", "metric", "value"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Split:
    """The images of a split, as positions in `features`, with the captions of each."""

    features: Features
    tokens: CaptionTokens
    images: np.ndarray

    def batch(
        self, images: np.ndarray, captions: list[np.ndarray], prefix_length: int, padding: Padding | None = None
    ) -> tuple[Tensor, Packed]:
        """Features [B, D] of these images and their captions, packed."""
        packed = pack([[self.tokens.caption(number) for number in row] for row in captions], prefix_length, padding)
        return self.features.tensor(images), packed


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
class History:
    """`history.csv`: appended and flushed as training goes, mirrored to TensorBoard."""

    folder: Path
    board: SummaryWriter = field(init=False)

    def __post_init__(self) -> None:
        self.board = SummaryWriter(str(self.folder / "tensorboard"))

    @property
    def path(self) -> Path:
        return self.folder / "history.csv"

    def restart(self, step: int) -> None:
        """Forget what was written after `step`: the resumed run writes it again."""
        rows = pd.read_csv(self.path) if self.path.exists() else pd.DataFrame(columns=HISTORY_COLUMNS)
        temporary = self.path.with_suffix(".tmp")
        rows[rows["step"] <= step].to_csv(temporary, index=False)
        os.replace(temporary, self.path)

    def add(self, step: int, images: int, seconds: float, split: str, metric: str, value: float) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(
                [step, images, round(seconds, 3), split, metric, repr(value)]
            )
        self.board.add_scalar(f"{split}/{metric}", value, step)


def train(
    model: ClipCapModel, train_split: Split, dev_split: Split, settings: TrainingSettings, seed: int, folder: Path,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Progress:  # fmt: skip
    """Train a captioner in place and leave it with the weights of the best dev loss (or the last: `settings.keep`).

    Losses are nats a real token; only with `padding_in_loss` the train loss and a dev `padded_loss` count padding. A
    run that was killed is resumed from the last evaluation, to the same history, when it is called again for the same
    folder, captioner, data, settings and seed; where one of them differs, training starts afresh.
    """
    torch.manual_seed(seed)
    optimizer, schedule = _optimizer(model, settings)
    progress, checkpoint = Progress(), folder / "checkpoint.pt"
    stamp = _stamp(model.config, (train_split, dev_split), settings, seed)
    if checkpoint.exists() and (state := _load(checkpoint)).get("stamp") == stamp:
        _resume(state, str(checkpoint), model, optimizer, schedule, progress)
    else:
        _forget(folder)
    history = History(folder)
    history.restart(progress.step)
    if progress.step == 0:
        _evaluate_and_keep(model, dev_split, settings, progress, history, folder)
        _save(checkpoint, stamp, model, optimizer, schedule, progress)
    while progress.step < settings.steps and not progress.stopped_early:
        _train_until_evaluation(model, train_split, settings, seed, optimizer, schedule, progress, history)
        _evaluate_and_keep(model, dev_split, settings, progress, history, folder)
        _save(checkpoint, stamp, model, optimizer, schedule, progress)
        best = f"best dev loss {progress.best_loss:.3f}"
        on_progress(f"step {progress.step:,} of {settings.steps:,}, {best}, {progress.seconds:.0f} s")
    model.load_trainable(_load(folder / "best.pt"), str(folder / "best.pt"))
    history.board.close()
    return progress


def clear_checkpoints(folder: Path) -> None:
    """Remove what only a resume needs; call it when everything made from the trained model has been written."""
    for name in ("checkpoint.pt", "best.pt"):
        (folder / name).unlink(missing_ok=True)


def chosen_precision(device: torch.device, precision: str) -> Precision:
    """What `auto` comes to on a device: bf16 where its hardware has bfloat16 matrix products."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of a forward pass: matrix products in the chosen precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=chosen_precision(device, precision) == "bf16")


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
                images, [split.tokens.captions_of[i] for i in images], model.config.prefix_length, padding
            )
            total += model.loss(features, packed, reduction="sum").item()
            tokens += len(packed.labels)
    model.train(was_training)
    return total / tokens


def _optimizer(model: ClipCapModel, settings: TrainingSettings):
    weights = model.trainable()
    mapper = [weight for name, weight in weights.items() if name.startswith("mapper.")]
    language = [weight for name, weight in weights.items() if not name.startswith("mapper.")]
    groups = [{"params": mapper, "lr": settings.learning_rate}]
    if language:
        groups.append({"params": language, "lr": settings.language_model_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)

    def linear(step: int) -> float:
        rising = (step + 1) / max(1, settings.warmup_steps)
        falling = (settings.steps - step) / max(1, settings.steps - settings.warmup_steps)
        return min(rising, falling, 1.0)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, linear)


def batches(
    split: Split, settings: TrainingSettings, seed: int, first_step: int
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Image positions and the captions drawn for each; what step n holds depends on the seed alone."""
    per_epoch = max(1, len(split.images) // settings.images_per_step)
    step = first_step
    while True:
        epoch, within = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(split.images)
        for at in range(within, per_epoch):
            draw = np.random.default_rng([seed, 1, step])
            images = order[at * settings.images_per_step : (at + 1) * settings.images_per_step]
            available = [split.tokens.captions_of[image] for image in images]
            yield images, [draw.permutation(captions)[: settings.captions_per_image] for captions in available]
            step += 1


def _train_until_evaluation(
    model: ClipCapModel, split: Split, settings: TrainingSettings, seed: int,
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR, progress: Progress, history: History,
) -> None:  # fmt: skip
    model.train()
    padding = _padding(model, split, settings)
    end = min(settings.steps, (progress.step // settings.evaluate_every + 1) * settings.evaluate_every)
    for images, captions in batches(split, settings, seed, progress.step):
        started = time.perf_counter()
        features, packed = split.batch(images, captions, model.config.prefix_length, padding)
        with autocast(model.device, settings.precision):
            loss = model.loss(features, packed)
        value = loss.item()
        if not np.isfinite(value):
            raise FloatingPointError(f"the training loss is {value} at step {progress.step}; lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.step += 1
        progress.seconds += time.perf_counter() - started
        history.add(progress.step, progress.step * settings.images_per_step, progress.seconds, "train", "loss", value)
        if progress.step == end:
            return


def _padding(model: ClipCapModel, split: Split, settings: TrainingSettings) -> Padding | None:
    return Padding.of(model.tokenizer, split.tokens) if settings.padding_in_loss else None


def _evaluate_and_keep(
    model: ClipCapModel, split: Split, settings: TrainingSettings, progress: Progress, history: History, folder: Path
) -> None:
    loss, images = dev_loss(model, split, settings.precision), progress.step * settings.images_per_step
    history.add(progress.step, images, progress.seconds, "dev", "loss", loss)
    if padding := _padding(model, split, settings):
        padded = dev_loss(model, split, settings.precision, padding=padding)
        history.add(progress.step, images, progress.seconds, "dev", "padded_loss", padded)
    if loss < progress.best_loss or settings.keep == "last":
        progress.best_loss, progress.best_step, progress.stale = loss, progress.step, 0
        _atomic_save({name: weight.detach() for name, weight in model.trainable().items()}, folder / "best.pt")
    else:
        progress.stale += 1
        progress.stopped_early = progress.stale >= settings.patience


def _stamp(config: ClipCapConfig, splits: tuple[Split, ...], settings: TrainingSettings, seed: int) -> str:
    """A hash of what a history depends on besides the library and the language model's own weights."""
    digest = hashlib.sha256(repr((config, settings, seed)).encode())
    for split in splits:
        vectors = split.features.vectors[split.features.rows[split.images]]  # the store may hold other splits too
        for array in (vectors, split.images, split.tokens.ids, split.tokens.bounds):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _forget(folder: Path) -> None:
    """Remove the history of another training, which would run into this one's."""
    (folder / "history.csv").unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _save(
    path: Path, stamp: str, model: ClipCapModel, optimizer: torch.optim.Optimizer, schedule, progress: Progress
) -> None:
    weights = {name: weight.detach() for name, weight in model.trainable().items()}
    state = {"stamp": stamp, "weights": weights, "optimizer": optimizer.state_dict(),
             "schedule": schedule.state_dict()["last_epoch"], "progress": vars(progress),
             "random": torch.get_rng_state(), "gpu_random": torch.cuda.get_rng_state_all()}  # fmt: skip
    _atomic_save(state, path)


def _resume(
    state: dict, name: str, model: ClipCapModel, optimizer: torch.optim.Optimizer, schedule, progress: Progress
) -> None:
    model.load_trainable(state["weights"], name)
    optimizer.load_state_dict(state["optimizer"])
    schedule.last_epoch = state["schedule"]
    vars(progress).update(state["progress"])
    torch.set_rng_state(state["random"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["gpu_random"])


def _load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def _atomic_save(state: dict, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)
