"""Beam search over prefixes: the beams of an image share one row of the cache, and none of it is ever copied."""

from functools import partial

import torch
from torch import Tensor

from clipcap_lib.continuation import Continuation, Departure
from clipcap_lib.model import ClipCapModel
from clipcap_lib.rules import Caption, Rules, log_probabilities
from clipcap_lib.strategies import Beam

NEVER = -1e9  # the score of a hypothesis that does not count; finite, so that sums stay comparable


def beam_search(model: ClipCapModel, prefix: Tensor, rules: Rules, strategy: Beam) -> list[list[Caption]]:
    """Continue prefixes [B, P, n] by the hypotheses of the highest score, the `n` best of each image first.

    The same hypotheses and scores as transformers' `generate(num_beams=…, early_stopping=False)`. All beams of an image
    are written into one row; which positions are a beam's own past is a mask, so choosing parents moves no keys.
    """
    lm = Continuation(model.language_model, prefix, strategy.width * rules.limit)
    found: list[list[Caption]] = [[] for _ in prefix]
    beams = _Beams(prefix, rules, strategy)
    hidden = lm.prefix_hidden[:, -1:]
    while True:
        own = log_probabilities(lm.logits(hidden.flatten(0, 1)))
        allowed = rules.apply(own, partial(beams.written, hidden.shape[1]))
        done = beams.advance(allowed.unflatten(0, hidden.shape[:2]))
        for image, row in zip(beams.images[done].tolist(), done.nonzero()[:, 0].tolist(), strict=True):
            found[image] = beams.best(row)
        if done.all():
            return found
        if done.any():
            departure = Departure.of(done)
            lm.leave(departure)
            beams.leave(departure)
        hidden = lm.step(beams.tokens[:, :, beams.step - 1], beams.mask(lm))


class _Beams:
    """The running and the finished hypotheses of every image: B images, W beams, up to `limit` tokens each."""

    def __init__(self, prefix: Tensor, rules: Rules, strategy: Beam) -> None:
        images, self.prefix_length, _ = prefix.shape
        shape, device = (images, strategy.width, rules.limit), prefix.device
        self.rules, self.strategy, self.step = rules, strategy, 0
        self.images = torch.arange(images, device=device)
        self.tokens = torch.zeros(shape, dtype=torch.long, device=device)
        self.steps = torch.zeros(shape, device=device)  # log-probability of each token
        self.scores = torch.zeros(images, 1, device=device)  # one beam until the first token is out
        self.past = torch.zeros(images, strategy.width, 0, dtype=torch.bool, device=device)
        self.finished_tokens, self.finished_steps = self.tokens.clone(), self.steps.clone()
        self.finished_lengths = torch.zeros(images, strategy.width, dtype=torch.long, device=device)
        self.finished_scores = torch.full((images, strategy.width), NEVER, device=device)

    def advance(self, log_probabilities: Tensor) -> Tensor:
        """Take one more token from [B, beams, V]; true [B] where no running beam can still win."""
        scores, parents, tokens, own = self._continuations(log_probabilities)
        ends = self.rules.stop(tokens) | (self.step + 1 == self.rules.limit)
        if ends.any():
            self._finish(scores, *self._extended(parents, tokens, own), ends)
        self.scores, kept = (scores + ends * NEVER).topk(self.strategy.width)
        parents, tokens, own = (values.gather(1, kept) for values in (parents, tokens, own))
        self.tokens, self.steps = self._extended(parents, tokens, own)
        self._branch(parents)
        self.step += 1
        reachable = self.scores[:, :1] / self.step**self.strategy.length_penalty
        worst = self.finished_scores.amin(-1, keepdim=True)
        unfinished = (self.finished_scores <= NEVER / 2).any(-1, keepdim=True)
        return (~(unfinished | (reachable > worst)) | ends.all(-1, keepdim=True))[:, 0]

    def _continuations(self, log_probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best 2·W of all one-token continuations: total score, parent beam, token, its own log-probability."""
        keep = max(2, 1 + len(self.rules.stops)) * self.strategy.width
        own, tokens = log_probabilities.topk(min(keep, log_probabilities.shape[-1]))
        totals = (own + self.scores[:, :, None]).flatten(1)
        scores, places = totals.topk(min(keep, totals.shape[1]))
        return scores, places // own.shape[-1], tokens.flatten(1).gather(1, places), own.flatten(1).gather(1, places)

    def _extended(self, parents: Tensor, tokens: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and their log-probabilities [B, K, limit] of what parents [B, K] wrote and what comes behind it."""
        written, steps = _gather(self.tokens, parents), _gather(self.steps, parents)
        written[:, :, self.step], steps[:, :, self.step] = tokens, own
        return written, steps

    def _finish(self, scores: Tensor, written: Tensor, steps: Tensor, ends: Tensor) -> None:
        """Let the hypotheses that end here compete with the finished ones; only the first W may."""
        first = torch.arange(scores.shape[1], device=scores.device) < self.strategy.width
        length = self.step + 1
        scores = scores / length**self.strategy.length_penalty + ~(ends & first) * NEVER
        lengths = torch.full_like(scores, length, dtype=torch.long)
        merged, best = torch.cat([self.finished_scores, scores], 1).topk(self.strategy.width)
        self.finished_scores = merged
        self.finished_tokens = _gather(torch.cat([self.finished_tokens, written], 1), best)
        self.finished_steps = _gather(torch.cat([self.finished_steps, steps], 1), best)
        self.finished_lengths = torch.cat([self.finished_lengths, lengths], 1).gather(1, best)

    def _branch(self, parents: Tensor) -> None:
        """Each beam inherits its parent's past and adds the position its own token is about to take."""
        own = torch.eye(parents.shape[1], dtype=torch.bool, device=parents.device).expand(len(parents), -1, -1)
        self.past = torch.cat([_gather(self.past, parents), own], dim=-1)

    def written(self, beams: int) -> Tensor:
        """Tokens [B · beams, step] of the running beams."""
        return self.tokens[:, :beams, : self.step].flatten(0, 1)

    def mask(self, lm: Continuation) -> Tensor:
        """Additive [B, 1, W, P + past]: the prefix and a beam's own past are seen."""
        dtype = lm.nothing_hidden.dtype
        shape = *self.past.shape[:2], self.prefix_length + self.past.shape[2]
        mask = torch.zeros(shape, dtype=dtype, device=self.past.device)
        mask[:, :, self.prefix_length :].masked_fill_(~self.past, torch.finfo(dtype).min)
        return mask[:, None]

    def leave(self, departure: Departure) -> None:
        """Take images out."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, departure.apply(value))

    def best(self, row: int) -> list[Caption]:
        """The `n` best finished hypotheses of a row, without their text."""
        return [self._caption(row, rank) for rank in range(self.strategy.n)]

    def _caption(self, row: int, rank: int) -> Caption:
        length = int(self.finished_lengths[row, rank])
        tokens = self.finished_tokens[row, rank, :length]
        ended = length > 0 and bool(self.rules.stop(tokens[-1:]))
        return Caption(
            "", tokens[: length - ended].tolist(), self.finished_steps[row, rank, :length].tolist(),
            float(self.finished_scores[row, rank]), "end" if ended else "length",
        )  # fmt: skip


def _gather(values: Tensor, places: Tensor) -> Tensor:
    """Of values [B, M, …], those at places [B, K]."""
    index = places.view(*places.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)
