"""Greedy decoding and sampling: one token a row and step; finished rows are dropped."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

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

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding.constraints import Caption, GenerationState, ResolvedConstraints, log_probabilities
from clipcap_lib.decoding.kv_cache import FinishedRows, PrefixDecoder
from clipcap_lib.decoding.strategies import Greedy, Sampling
from clipcap_lib.model import ClipCapModel

TokenSelector = Callable[[Tensor, GenerationState], Tensor]
NUCLEI = (24, 128, 1024)  # so many of the likeliest tokens are sorted before all are
UNSURE = 1e-5  # a cumulative probability this near to top_p: let the library's warper decide


def generate(
    model: ClipCapModel, prompt: Prompt, rules: ResolvedConstraints, choose: TokenSelector, copies: int = 1
) -> list[list[Caption]]:
    """Continue prompts of B images, `copies` times each, by the token `choose` picks from allowed logits [rows, V]."""
    lm = PrefixDecoder(model.language_model, prompt, rules.limit, end_only=True)
    lm.expand(copies)
    logits = lm.logits(lm.prefix_hidden[:, -1]).repeat_interleave(copies, 0)
    state = GenerationState(len(prompt), copies, rules.limit, logits.device)
    while True:
        own = log_probabilities(logits)
        tokens = choose(rules.apply(logits, state.written), state)
        stopping = rules.stop(tokens)
        some_end = state.add(tokens, own.gather(1, tokens[:, None])[:, 0], stopping)
        if state.step == rules.limit or (some_end and stopping.all()):
            return state.captions()
        if some_end:
            finished = FinishedRows.of(stopping)
            lm.drop_finished(finished)
            tokens, state.rows = finished.apply(tokens), finished.apply(state.rows)
        logits = lm.logits(lm.step(tokens[:, None])[:, 0])


def token_selector(strategy: Greedy | Sampling, keys: list[str], limit: int, device: torch.device) -> TokenSelector:
    """How a strategy picks tokens [rows] from logits [rows, V]; rows are captions of the first key, of the second, …"""
    if isinstance(strategy, Greedy):
        return partial(most_probable, copies=strategy.n)
    names = [f"{strategy.seed} {key} {number}" for key in keys for number in range(strategy.n)]
    uniform = torch.stack([_uniform(name, limit) for name in names]).to(device)
    return lambda logits, state: draw(logits, strategy, uniform[state.rows, state.step])


def most_probable(logits: Tensor, state: GenerationState, copies: int = 1) -> Tensor:
    """The greedy choice [rows] from logits [rows, V]: each of an image's copies begins with another likely token."""
    if copies > 1 and state.step == 0:
        return logits[::copies].topk(copies).indices.flatten()
    return logits.argmax(-1)


def _uniform(name: str, count: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: Tensor, strategy: Sampling, uniform: Tensor) -> Tensor:
    """Token ids [rows] of logits [rows, V], where the filtered probabilities add up to `uniform` [rows] in [0, 1)."""
    tokens = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    for rows, scores, ids in filtered(logits, strategy):
        cumulative = scores.double().softmax(-1).cumsum(-1)
        place = torch.searchsorted(cumulative, uniform[rows, None] * cumulative[:, -1:], right=True)
        tokens[rows] = (place if ids is None else ids.gather(1, place))[:, 0]
    return tokens


def filtered(logits: Tensor, strategy: Sampling) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """What may be drawn of logits [rows, V]: for some rows [r] at a time scores [r, m], the rest at −∞, and ids [r, m].

    The same distribution as that of transformers' warpers, but only the likeliest tokens are sorted where they decide.
    A row that they leave open goes on alone; without token ids, the m columns are the vocabulary.
    """
    if strategy.temperature != 1:
        logits = TemperatureLogitsWarper(strategy.temperature)(None, logits)
    rows = torch.arange(len(logits), device=logits.device)
    for likeliest in _shortcuts(strategy, logits):
        scores, ids, sure = likeliest(logits)
        if sure.all():
            yield rows, *_in_order(scores, ids)
            return
        yield rows[sure], *_in_order(scores[sure], ids[sure])
        rows, logits = rows[~sure], logits[~sure]
    yield rows, _warpers(strategy)(None, logits), None


def _shortcuts(strategy: Sampling, logits: Tensor) -> list[Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]:
    """From logits to the scores and ids of the likeliest tokens, filtered, and whether they settle a row [rows]."""
    vocabulary = logits.shape[-1]
    if strategy.top_k:
        return [partial(_top_k, strategy)] if strategy.top_k < vocabulary else []
    # A GPU sorts all tokens in the time it takes to ask whether it must.
    nucleus_alone = strategy.top_p < 1 and not (strategy.min_p or strategy.typical_p < 1)
    sizes = NUCLEI if nucleus_alone and logits.device.type == "cpu" else ()
    return [partial(_top_p, strategy.top_p, size) for size in sizes if size < vocabulary]


def _top_k(strategy: Sampling, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scores, ids = logits.topk(strategy.top_k + 1)
    rest = LogitsProcessorList(_warpers(strategy)[1:])
    # A tie at the edge would let more than k in; one before it is broken by the warpers that sort, as they find it.
    edge = scores if rest else scores[:, -2:]
    scores, ids = scores[:, :-1], ids[:, :-1]
    return (rest(None, scores) if rest else scores), ids, (edge[:, :-1] > edge[:, 1:]).all(-1)


def _top_p(top_p: float, size: int, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scores, ids = logits.topk(size)
    cumulative = logits.softmax(-1).gather(1, ids).cumsum(-1)
    beyond = cumulative[:, :-1] >= top_p  # the token that crosses top_p is still in
    first_out = (size - beyond.sum(-1, keepdim=True)).clamp(max=size - 1)
    tied = (scores.gather(1, first_out) == scores.gather(1, first_out - 1))[:, 0]
    unsure = (cumulative[:, -1] < top_p + UNSURE) | ((cumulative - top_p).abs() < UNSURE).any(-1) | tied
    scores[:, 1:].masked_fill_(beyond, float("-inf"))
    return scores, ids, ~unsure


def _in_order(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Columns by token id, not by score: rounding may swap two scores, and a draw must not change for it."""
    ids, order = ids.sort(-1)
    return scores.gather(1, order), ids


def _warpers(strategy: Sampling) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if strategy.top_k:
        warpers.append(TopKLogitsWarper(strategy.top_k))
    if strategy.top_p < 1:
        warpers.append(TopPLogitsWarper(strategy.top_p))
    if strategy.min_p:
        warpers.append(MinPLogitsWarper(strategy.min_p))
    if strategy.typical_p < 1:
        warpers.append(TypicalLogitsWarper(strategy.typical_p))
    return warpers
