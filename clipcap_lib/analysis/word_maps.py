"""What part of a picture each word rests on: gradient times input at the tokens of its grid."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.analysis.states import read_behind
from clipcap_lib.language_model import lm_head
from clipcap_lib.model import ClipCapModel
from clipcap_lib.wording import say


def no_places() -> str:
    """Why a run that reads no grid has no map."""
    return say(
        "this run reads one vector of the whole picture, which has no places; runs with features: grid have a map"
    )


def word_maps(model: ClipCapModel, feature: Tensor, tokens: list[int]) -> Tensor:
    """What each place of a grid [T, D] does for the log-probability of each written token: weights [tokens, T] ≥ 0.

    |Σ gradient · input| (Shrikumar et al. 2016): to first order, by how much the log-probability changes
    with a place's share in what the mapping network reads. It holds for every bridge. Raises `ValueError` where the
    model reads no grid.
    """
    if model.config.features != "grid":
        raise ValueError(no_places())
    # Behind a normalisation, the length of an input has no gradient: begin where the mapping network does.
    read = F.normalize(feature, dim=-1) if model.config.normalize else feature
    inputs = read.to(model.device).repeat(len(tokens), 1, 1).requires_grad_()  # a row for each token
    found = _log_probabilities(model, inputs, tokens)
    (gradient,) = torch.autograd.grad(found.sum(), inputs)
    return (gradient * inputs.detach()).sum(-1).abs()


def _log_probabilities(model: ClipCapModel, inputs: Tensor, tokens: list[int]) -> Tensor:
    """Of token i behind features i, and behind the tokens before it [tokens]; `inputs` [tokens, T, D]."""
    prompt, rows = model.bridge(model.mapper(inputs)), torch.arange(len(tokens))
    states = read_behind(model, prompt, tokens[:-1])[rows, model.prefix_length - 1 + rows]
    scores = lm_head(model.language_model)(states).float().log_softmax(-1)
    return scores[rows, torch.tensor(tokens)]


def in_places(weights: Tensor) -> Tensor:
    """Weights [tokens, T] as a square of places, [tokens, side, side]; a class token, which comes first, has none.

    Raises `ValueError` where the tokens are no square.
    """
    count = weights.shape[-1]
    for places in (count, count - 1):
        if places > 0 and (side := math.isqrt(places)) ** 2 == places:
            return weights[:, count - places :].unflatten(-1, (side, side))
    raise ValueError(say("a grid of {count} tokens is no square of places, with or without a class token", count=count))
