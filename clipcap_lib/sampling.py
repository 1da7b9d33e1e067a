"""Greedy decoding and sampling: one token a row and step, rows leave when they are done."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from clipcap_lib.continuation import Continuation, Departure
from clipcap_lib.model import ClipCapModel
from clipcap_lib.rules import Caption, Rules, Transcript, log_probabilities
from clipcap_lib.strategies import Greedy, _Sampling

Choose = Callable[[Tensor, Transcript], Tensor]
NUCLEI = (64, 1024)  # how many of the likeliest tokens are sorted before all are
UNSURE = 1e-5  # a cumulative probability this near to top_p: let the library's warper decide


def write(model: ClipCapModel, prefix: Tensor, rules: Rules, choose: Choose, copies: int = 1) -> list[Caption]:
    """Continue prefixes [B, P, n], `copies` times each, by the token that `choose` picks from the allowed logits."""
    lm = Continuation(model.language_model, prefix, rules.limit)
    lm.expand(copies)
    hidden = lm.prefix_hidden[:, -1].repeat_interleave(copies, 0)
    script = Transcript(len(hidden), rules.limit, hidden.device)
    while True:
        logits = lm.logits(hidden)
        own = log_probabilities(logits)
        tokens = choose(rules.apply(logits, script.written), script)
        stopping = rules.stop(tokens)
        script.add(tokens, own.gather(1, tokens[:, None])[:, 0], stopping)
        if script.step == rules.limit or stopping.all():
            return script.captions()
        if stopping.any():
            departure = Departure.of(stopping)
            lm.leave(departure)
            tokens, script.rows = departure.apply(tokens), departure.apply(script.rows)
        hidden = lm.step(tokens[:, None])[:, 0]


def chooser(strategy: Greedy | _Sampling, keys: list[str], limit: int, device: torch.device) -> Choose:
    """How a strategy picks a token a row; the rows are the captions of the first key, then of the second, …"""
    if isinstance(strategy, Greedy):
        return most_probable
    names = [f"{strategy.seed} {key} {number}" for key in keys for number in range(strategy.n)]
    uniform = torch.stack([_uniform(name, limit) for name in names]).to(device)
    return lambda logits, script: draw(logits, strategy, uniform[script.rows, script.step])


def most_probable(logits: Tensor, script: Transcript) -> Tensor:
    """The greedy choice: a token a row."""
    return logits.argmax(-1)


def _uniform(name: str, count: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: Tensor, strategy: _Sampling, uniform: Tensor) -> Tensor:
    """Token ids [rows] by the inverse of the filtered cumulative distribution at `uniform` [rows] in [0, 1)."""
    scores, ids = filtered(logits, strategy)
    cumulative = scores.double().softmax(-1).cumsum(-1)
    place = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    return place[:, 0] if ids is None else ids.gather(1, place)[:, 0]


def filtered(logits: Tensor, strategy: _Sampling) -> tuple[Tensor, Tensor | None]:
    """What may be drawn, as scores with the rest at −∞, and the token ids of the columns; `None`: the whole vocabulary.

    The same distribution as that of transformers' warpers, but only the likeliest tokens are sorted where they decide;
    a GPU sorts them all in the time it takes to ask whether it must.
    """
    if strategy.temperature != 1:
        logits = TemperatureLogitsWarper(strategy.temperature)(None, logits)
    rest = _warpers(strategy)
    if strategy.top_k and strategy.top_k < logits.shape[-1]:
        scores, ids = logits.topk(strategy.top_k + 1)
        # A tie at the edge would let more than k in; one before it is broken by the warpers that sort, as they find it.
        edge = scores if rest else scores[:, -2:]
        if (edge[:, :-1] > edge[:, 1:]).all():
            return _in_order(rest(None, scores[:, :-1]) if rest else scores[:, :-1], ids[:, :-1])
        logits = TopKLogitsWarper(strategy.top_k)(None, logits)
    elif logits.device.type == "cpu" and strategy.top_p < 1 and not (strategy.min_p or strategy.typical_p < 1):
        for size in NUCLEI:
            if size < logits.shape[-1] and (nucleus := _nucleus(logits, strategy.top_p, size)):
                return nucleus
    return (rest(None, logits) if rest else logits), None


def _nucleus(logits: Tensor, top_p: float, size: int) -> tuple[Tensor, Tensor] | None:
    """The top-p filter from the `size` likeliest tokens alone; `None` where they cannot settle it."""
    scores, ids = logits.topk(size)
    cumulative = (scores - logits.logsumexp(-1, keepdim=True)).exp().cumsum(-1)
    beyond = cumulative[:, :-1] >= top_p  # the token that crosses top_p is still in
    first_out = (size - beyond.sum(-1, keepdim=True)).clamp(max=size - 1)
    tied = (scores.gather(1, first_out) == scores.gather(1, first_out - 1))[:, 0]
    unsure = (cumulative[:, -1] < top_p + UNSURE) | ((cumulative - top_p).abs() < UNSURE).any(-1) | tied
    if unsure.any():
        return None
    scores[:, 1:].masked_fill_(beyond, float("-inf"))
    return _in_order(scores, ids)


def _in_order(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Columns by token id: a draw must not depend on whether other rows made the whole vocabulary necessary."""
    ids, order = ids.sort(-1)
    return scores.gather(1, order), ids


def _warpers(strategy: _Sampling) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if strategy.top_p < 1:
        warpers.append(TopPLogitsWarper(strategy.top_p))
    if strategy.min_p:
        warpers.append(MinPLogitsWarper(strategy.min_p))
    if strategy.typical_p < 1:
        warpers.append(TypicalLogitsWarper(strategy.typical_p))
    return warpers
