"""A step whose images are gone through part by part, to the loss and the gradients of all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clipcap_lib.dataset import Split
from clipcap_lib.packing import Padding
from clipcap_lib.training import Trainer


@dataclass
class PartTrainer(Trainer):
    """Takes each step in parts, one after the other: the memory of one part, the step of all.

    A part weighs as much as it has tokens, so that the loss is the mean over those of the whole batch. Dropout inside
    the mapping network is drawn for the whole batch too; that of a language model which is tuned is each part's own,
    because other rows of packed captions make other masks.
    """

    def _parts(self, images: int) -> list[slice]:
        """The slices of a step's images that this process takes, one after the other."""
        return shares(images, self.settings.parts)

    def _backward(self, images: np.ndarray, captions: list[np.ndarray], weight: float = 1.0) -> Tensor:
        tokens = predicted(self.train_split, captions, self.padding)
        loss = torch.zeros((), device=self.model.device)
        begins = ends = RandomState.of(self.model.device)
        for part in self._parts(len(images)):
            begins.restore()
            with dropout_of_the_batch(self.model.mapper, part, len(images)) as mapped:
                own = predicted(self.train_split, captions[part], self.padding)
                loss += super()._backward(images[part], captions[part], weight * own / tokens)
            ends = mapped[0]
        ends.restore()
        return loss


def predicted(split: Split, captions: list[np.ndarray], padding: Padding | None = None) -> int:
    """How many tokens the loss is a mean over; `captions` are numbers [K] of captions for each image."""
    numbers, bounds = np.concatenate([np.empty(0, np.int64), *captions]), split.tokens.bounds
    return len(numbers) * padding.length if padding else int((bounds[numbers + 1] - bounds[numbers]).sum())


def shares(images: int, count: int) -> list[slice]:
    """So many images in contiguous shares of one size, give or take one; where there are too few, in fewer shares."""
    bounds = np.cumsum([0, *map(len, np.array_split(np.arange(images), count))])
    return [slice(start, end) for start, end in pairwise(bounds.tolist()) if start < end]


@dataclass(frozen=True)
class RandomState:
    """Where torch's random numbers stand, on the CPU and on the device of a model."""

    device: torch.device
    cpu: Tensor
    gpu: Tensor | None

    @classmethod
    def of(cls, device: torch.device) -> "RandomState":
        """The state now."""
        return cls(device, torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)

    def restore(self) -> None:
        """Go on from this state."""
        torch.set_rng_state(self.cpu)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)


@contextmanager
def dropout_of_the_batch(mapper: nn.Module, part: slice, images: int) -> Iterator[list[RandomState]]:
    """Let a mapping network that is given a part of a batch drop out what it would drop there, given all `images`.

    Yields a list that is then given the random state behind the mapping network. What comes after it in a pass draws
    numbers of its own for each part.
    """
    forward, states = mapper.forward, []

    def mapped(features: Tensor) -> Tensor:
        with _RowsOfTheBatch(part, images):
            tokens = forward(features)
        states.append(RandomState.of(features.device))
        torch.manual_seed(int(torch.randint(2**62, ()) + part.start))
        return tokens

    mapper.forward = mapped
    try:
        yield states
    finally:
        del mapper.forward


class _RowsOfTheBatch(TorchFunctionMode):
    """Draws each dropout for all images of a batch, and uses its rows for a part."""

    def __init__(self, part: slice, images: int) -> None:
        super().__init__()
        self.part, self.images = part, images

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = self._dropout if function is F.dropout else function
        return found(*args, **(kwargs or {}))

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or len(input) != self.part.stop - self.part.start:
            return F.dropout(input, p, training, inplace)
        # By torch's own dropout: a GPU's fused kernel draws other numbers than `bernoulli_`.
        kept = F.dropout(torch.ones(self.images, *input.shape[1:], dtype=input.dtype, device=input.device), p) > 0
        return input * kept[self.part] / (1 - p)
