"""What each word of a caption rests on, drawn over the picture as the encoder sees it."""

import html

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipcap_lib.analysis.prefixes import readable
from clipcap_lib.analysis.word_maps import in_places, word_maps
from clipcap_lib.decoding.decode import Caption
from clipcap_lib.encoders import Encoder
from clipcap_lib.model import ClipCapModel
from clipcap_lib.reporting.cards import picture_strip
from clipcap_lib.wording import say

COLOUR = (217, 72, 15)  # of a place on which a word rests


def where_strip(model: ClipCapModel, encoder: Encoder, picture: Image.Image, feature: Tensor, caption: Caption) -> str:
    """For each word of a caption the picture with the places it rests on, as HTML; `feature` is its grid [T, D].

    Raises `ValueError` where the model reads no grid, or one that is no square.
    """
    if not caption.tokens:
        return ""
    maps, seen = in_places(word_maps(model, feature, caption.tokens)), as_seen(encoder, picture)
    words = [readable(model, token) for token in caption.tokens]
    shown = [
        (_coloured(seen, weights), say("what {word} rests on", word=word), html.escape(word))
        for word, weights in zip(words, maps, strict=True)
    ]
    return f'<p style="max-width:70ch;margin:4px 0 8px">{_how_to_read()}</p>{picture_strip(shown, 96)}'


def _how_to_read() -> str:
    return say(
        "The stronger the colour, the more the log-probability of the word rests on what the encoder says of that "
        "place (gradient · input). A place has seen its surroundings, too, and colours of two words cannot be compared."
    )


def as_seen(encoder: Encoder, picture: Image.Image) -> Image.Image:
    """The part of a picture that the encoder reads, at the size it reads it; its contrast is stretched."""
    pixels = encoder.preprocess(picture)
    spread = (pixels - pixels.min()) / (pixels.max() - pixels.min()).clamp(min=1e-6)
    return Image.fromarray((255 * spread).byte().movedim(0, -1).cpu().numpy())


def _coloured(seen: Image.Image, weights: Tensor) -> Image.Image:
    """A picture with its places coloured by weights [side, side], the greatest at most."""
    share = (weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)).cpu().numpy()
    mask = Image.fromarray((180 * share).astype(np.uint8)).resize(seen.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", seen.size, COLOUR), seen, mask)
