"""An encoder for tests of extraction: its features can be told from a picture's colour."""

import numpy as np
import torch
from PIL import Image

from clipcap_lib.encoders import Encoder

TOKENS = torch.arange(1, 7).reshape(3, 2)  # what it multiplies a colour by in each of its three tokens


def encoder(seen: list[int]) -> Encoder:
    """A stand-in whose embedding is the mean colour, four times, and whose tokens are multiples of it.

    `seen` counts the images it was given.
    """

    def preprocess(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 255

    def encode_images(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return pixels.mean((2, 3)).mean(1, keepdim=True).expand(-1, 4)

    def encode_grid(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return pixels.mean((1, 2, 3))[:, None, None] * TOKENS

    return Encoder("stand-in", 4, 8, "stamp", preprocess, encode_images, None, 1.0, encode_grid, (3, 2))
