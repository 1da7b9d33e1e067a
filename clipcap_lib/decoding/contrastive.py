"""Contrastive search (Su et al. 2022) and MAGIC (Su et al. 2022b), one forward a token for all candidates."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding.constraints import Caption, GenerationState, ResolvedConstraints, log_probabilities
from clipcap_lib.decoding.kv_cache import FIRST_ROOM, FinishedRows, PrefixDecoder
from clipcap_lib.decoding.strategies import Contrastive, Magic
from clipcap_lib.model import ClipCapModel
from clipcap_lib.packing import additive_mask

CandidateScorer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the images' numbers [rows], what is written [rows, t] and candidates [rows, k] to a bonus [rows, k]."""


def contrastive_search(
    model: ClipCapModel, prompt: Prompt, rules: ResolvedConstraints, strategy: Contrastive | Magic,
    scorer: CandidateScorer | None = None,
) -> list[list[Caption]]:  # fmt: skip
    """Continue prompts of B images, each by the one of candidates [rows, k] that is likely and unlike its history.

    All k candidates of a row are read side by side in one forward, each blind to the others; the chosen one's keys and
    values stay, and its hidden state gives the next logits.
    """
    k, most = strategy.k, max(strategy.k, strategy.n)
    lm = PrefixDecoder(model.language_model, prompt, rules.limit + most)
    lm.expand(strategy.n)
    before = lm.prefix_hidden.repeat_interleave(strategy.n, 0)
    past, mask = _History(before, rules.limit, strategy.history), _side_by_side(lm, most)
    state = GenerationState(len(prompt), strategy.n, rules.limit, before.device)
    # Of one row, for all its copies must have the same candidates to begin with.
    logits = lm.logits(lm.prefix_hidden[:, -1]).repeat_interleave(strategy.n, 0)
    while True:
        own = log_probabilities(logits)
        read = k if state.step else most
        likeliest, candidates = rules.apply(logits, state.written).log_softmax(-1).topk(read)
        states = lm.step(candidates, mask[..., :read, lm.capacity - lm.length : lm.capacity + read])
        unit = F.normalize(states.float(), dim=-1)
        scores = (1 - strategy.alpha) * likeliest.exp() - strategy.alpha * past.similarity(unit)
        if scorer:
            scores[:, :k] += scorer(state.rows, state.written(), candidates[:, :k])
        if rules.processors:  # they may leave fewer than k tokens
            scores.masked_fill_(likeliest == float("-inf"), float("-inf"))
        best = scores.argmax(-1) if state.step else _beginnings(scores, k, strategy.n)
        chosen = torch.arange(len(best), device=best.device), best
        tokens, hidden = candidates[chosen], states[chosen]
        stopping = rules.stop(tokens)
        some_end = state.add(tokens, own.gather(1, tokens[:, None])[:, 0], stopping)
        if state.step == rules.limit or (some_end and stopping.all()):
            return state.captions()
        lm.keep(lm.length - read, best[:, None])
        past.add(unit[chosen])
        if some_end:
            finished = FinishedRows.of(stopping)
            lm.drop_finished(finished)
            past.drop_finished(finished)
            hidden, state.rows = finished.apply(hidden), finished.apply(state.rows)
        logits = lm.logits(hidden)


class _History:
    """Unit hidden states [rows, t, n] of what a candidate must not resemble."""

    def __init__(self, prefix_hidden: Tensor, limit: int, history: str) -> None:
        rows, prefix_length, width = prefix_hidden.shape
        self.length = prefix_length if history == "all" else 0
        self.states = prefix_hidden.new_empty(rows, self.length + min(limit, FIRST_ROOM), width, dtype=torch.float32)
        self.states[:, : self.length] = F.normalize(prefix_hidden[:, : self.length].float(), dim=-1)

    def similarity(self, unit: Tensor) -> Tensor:
        """Of unit states [rows, k, n], the greatest cosine with the history [rows, k]; 0 where there is none."""
        if not self.length:
            return unit.new_zeros(unit.shape[:2])
        return (unit @ self.states[:, : self.length].transpose(1, 2)).amax(-1)

    def add(self, unit: Tensor) -> None:
        if self.length == self.states.shape[1]:
            self.states = torch.cat([self.states, torch.empty_like(self.states)], dim=1)
        self.states[:, self.length] = unit
        self.length += 1

    def drop_finished(self, finished: FinishedRows) -> None:
        self.states = finished.apply(self.states)


def _beginnings(scores: Tensor, k: int, copies: int) -> Tensor:
    """Places [rows] to begin at: of an image's copies the first at the best of k, the others at the likeliest left."""
    best = scores[::copies, :k].argmax(-1, keepdim=True)
    order = torch.arange(scores.shape[1], device=scores.device).repeat(len(best), 1)
    return order.scatter_(1, best, -1).argsort(-1)[:, :copies].flatten()


def _side_by_side(lm: PrefixDecoder, k: int) -> Tensor:
    """An additive mask [1, 1, k, capacity + k]: candidates see all the past and only themselves.

    A step with so many positions behind it and so many candidates takes the part around column `capacity`.
    """
    past = torch.ones(k, lm.capacity, dtype=torch.bool, device=lm.prefix_hidden.device)
    oneself = torch.eye(k, dtype=torch.bool, device=past.device)
    return additive_mask(torch.cat([past, oneself], dim=1), lm.dtype)[None, None]
