"""The training loop as each of several processes runs it: a share of every batch, sums over all, one writes."""

import io
import json
import os
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from clipcap_lib.checkpointing import Checkpoints
from clipcap_lib.dataset import Split
from clipcap_lib.distributed.handover import take_over
from clipcap_lib.distributed.parts import PartTrainer, predicted
from clipcap_lib.history import History
from clipcap_lib.packing import Padding
from clipcap_lib.training import dev_loss
from clipcap_lib.wording import speak

MARK = "clipcap-rank: "  # begins what the first process tells on its output


def work(place: Path) -> None:
    """Train what lies in a folder together with the other processes; the first tells how it goes on its output."""
    model, task = take_over(place)
    speak(task.language)
    gpu = torch.device("cuda:0") if task.device == "cuda" else None
    dist.init_process_group("nccl" if gpu else "gloo", device_id=gpu)
    tell = _tell if dist.get_rank() == 0 else lambda kind, content: None
    warnings.showwarning = lambda message, *_, **__: tell("warning", str(message))
    splits = task.train_split, task.dev_split
    trainer = RankTrainer(model, *splits, task.settings, task.seed, task.folder, lambda line: tell("line", line))
    tell("progress", vars(trainer.fit()))
    dist.destroy_process_group()


def _tell(kind: str, content: Any) -> None:
    # In one piece and on a line of its own, whatever else libraries print.
    os.write(1, f"\n{MARK}{json.dumps([kind, content])}\n".encode())


class RankCheckpoints(Checkpoints):
    """Read by all processes, written by the first; none reads while it writes."""

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Write the best weights so far, each [...] of its own shape."""
        if dist.get_rank() == 0:
            super().save_best(step, weights)

    def save(self, step: int, best_step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint."""
        if dist.get_rank() == 0:
            super().save(step, best_step, state)

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, the same for all."""
        state = super().load()
        dist.barrier()
        return state

    def best(self, step: int) -> dict[str, Tensor]:
        """The weights of the best evaluation, each in its own shape [...]."""
        dist.barrier()
        return super().best(step)


class NoHistory(History):
    """What a process that is not the first writes: nothing."""

    def __init__(self, folder: Path, text: str = "", step: int = 0) -> None:
        self.board = io.StringIO()  # whoever ends the training closes it

    def add(self, step: int, images: int, seconds: float, split: str, metric: str, value: float) -> None:
        """Write nothing."""

    def text(self) -> str:
        """Return nothing."""
        return ""


def history_of(folder: Path, text: str = "", step: int = 0) -> History:
    """The history of a training: written by the first process only."""
    return (History if dist.get_rank() == 0 else NoHistory)(folder, text, step)


@dataclass
class RankTrainer(PartTrainer):
    """Trains on this process's share of every batch; losses and gradients are sums over all processes.

    All of them hold the same weights and random numbers, and come to the same losses: what follows from these, such as
    an early stop, needs no agreement.
    """

    checkpoints_of, history_of = RankCheckpoints, staticmethod(history_of)

    def _parts(self, images: int) -> list[slice]:
        return self._own_parts(images) or [slice(0, 1)]

    def _own_parts(self, images: int) -> list[slice]:
        rank, each = dist.get_rank(), self.settings.accumulate
        return super()._parts(images)[rank * each : (rank + 1) * each]

    def _backward(self, images: np.ndarray, captions: list[np.ndarray], weight: float = 1.0) -> Tensor:
        # Of fewer images than processes a process may have none: it goes through one that weighs nothing, so that all
        # of them have gradients of the same parameters to sum.
        loss = super()._backward(images, captions, weight if self._own_parts(len(images)) else 0.0)
        self._sum_gradients(loss)
        return loss

    def _sum_gradients(self, loss: Tensor) -> None:
        """Add up gradients and loss, in one message: hundreds of small ones would take longer."""
        summed = [loss, *(weight.grad for weight in self.model.trainable().values() if weight.grad is not None)]
        flat = torch.cat([tensor.float().flatten() for tensor in summed])
        dist.all_reduce(flat)
        for tensor, total in zip(summed, flat.split([tensor.numel() for tensor in summed]), strict=True):
            tensor.copy_(total.view_as(tensor))

    @cached_property
    def _own_dev_split(self) -> Split:
        own = np.array_split(self.dev_split.images, dist.get_world_size())[dist.get_rank()]
        return replace(self.dev_split, images=own)

    def _dev_loss(self, padding: Padding | None = None) -> float:
        own = self._own_dev_split
        tokens = predicted(own, [own.tokens.captions_of[image] for image in own.images], padding)
        loss = dev_loss(self.model, own, self.settings.precision, padding=padding) if tokens else 0.0
        sums = torch.tensor([loss * tokens, tokens], dtype=torch.float64, device=self.model.device)
        dist.all_reduce(sums)
        total, count = sums.tolist()
        return total / count
