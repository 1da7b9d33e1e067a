"""A split of a corpus as training reads it: images, their captions, and the batches of each step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from clipcap_lib.features import Features
from clipcap_lib.packing import CaptionTokens, Packed, Padding, pack
from clipcap_lib.settings import TrainingSettings


@dataclass(frozen=True)
class Split:
    """The images of a split, as positions in `features`, with the captions of each."""

    features: Features
    tokens: CaptionTokens
    images: np.ndarray

    def batch(
        self, images: np.ndarray, captions: list[np.ndarray], prefix_length: int, padding: Padding | None = None
    ) -> tuple[Tensor, Packed]:
        """Features [B, D] of images [B], and the captions of these numbers [K] of each, packed."""
        packed = pack([[self.tokens.caption(number) for number in row] for row in captions], prefix_length, padding)
        return self.features.tensor(images), packed


def batches(
    split: Split, settings: TrainingSettings, seed: int, first_step: int
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Image positions [B] and the numbers [K] of captions drawn for each; the seed alone decides what step n holds."""
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
