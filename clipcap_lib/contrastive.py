"""Contrastive search (Su et al. 2022) and MAGIC (Su et al. 2022b), one forward a token for all candidates."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcap_lib.continuation import FIRST_ROOM, Continuation, Departure, additive_mask
from clipcap_lib.model import ClipCapModel
from clipcap_lib.rules import Caption, Rules, Transcript, log_probabilities
from clipcap_lib.strategies import Contrastive, Magic

Guide = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the images' numbers [rows], what is written [rows, t] and candidates [rows, k] to a bonus [rows, k]."""


def contrastive_search(
    model: ClipCapModel, prefix: Tensor, rules: Rules, strategy: Contrastive | Magic, guide: Guide | None = None
) -> list[Caption]:
    """Continue prefixes [B, P, n], each by the candidate that is likely and unlike its history.

    All k candidates of a row are read side by side in one forward, each blind to the others; the chosen one's keys and
    values stay, and its hidden state gives the next logits.
    """
    k = strategy.k
    lm = Continuation(model.language_model, prefix, rules.limit + k)
    past = _History(lm.prefix_hidden, rules.limit, strategy.history)
    hidden = lm.prefix_hidden[:, -1]
    script, mask = Transcript(len(hidden), rules.limit, hidden.device), _side_by_side(lm, k)
    while True:
        logits = lm.logits(hidden)
        own = log_probabilities(logits)
        probabilities, candidates = _likeliest(rules.apply(logits, script.written), k)
        states = lm.step(candidates, mask[..., -(lm.length + k) :])
        unit = F.normalize(states.float(), dim=-1)
        scores = (1 - strategy.alpha) * probabilities - strategy.alpha * past.similarity(unit)
        if guide:
            scores += guide(script.rows, script.written(), candidates)
        if rules.processors:  # they may leave fewer than k tokens
            scores.masked_fill_(probabilities == 0, float("-inf"))
        best = scores.argmax(-1)
        chosen = torch.arange(len(best), device=best.device), best
        tokens, hidden = candidates[chosen], states[chosen]
        stopping = rules.stop(tokens)
        some_end = script.add(tokens, own.gather(1, tokens[:, None])[:, 0], stopping)
        if script.step == rules.limit or (some_end and stopping.all()):
            return script.captions()
        lm.keep(lm.length - k, best[:, None])
        past.add(unit[chosen])
        if some_end:
            departure = Departure.of(stopping)
            lm.leave(departure)
            past.leave(departure)
            hidden, script.rows = departure.apply(hidden), departure.apply(script.rows)


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

    def leave(self, departure: Departure) -> None:
        self.states = departure.apply(self.states)


def _likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Probabilities within the whole vocabulary and ids [rows, k]."""
    scores, ids = logits.log_softmax(-1).topk(k)
    return scores.exp(), ids


def _side_by_side(lm: Continuation, k: int) -> Tensor:
    """An additive mask [1, 1, k, capacity + k]; its last columns are that of a step: all the past, and only oneself."""
    past = torch.ones(k, lm.capacity, dtype=torch.bool, device=lm.prefix_hidden.device)
    oneself = torch.eye(k, dtype=torch.bool, device=past.device)
    return additive_mask(torch.cat([past, oneself], dim=1), lm.dtype)[None, None]
