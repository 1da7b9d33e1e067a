"""Beam search over prefixes: the beams of an image share one row of the cache, and parents are not copied."""

import torch
from torch import Tensor

from clipcap_lib.bridges import Prompt
from clipcap_lib.decoding.constraints import Caption, ResolvedConstraints, log_probabilities
from clipcap_lib.decoding.kv_cache import FinishedRows, PrefixDecoder
from clipcap_lib.decoding.sampling import generate, most_probable
from clipcap_lib.decoding.strategies import Beam
from clipcap_lib.model import ClipCapModel
from clipcap_lib.packing import additive_mask

NEVER = float("-inf")  # the score of a hypothesis that does not count
TIDY = 10  # steps between which cache columns that no beam uses stay: in long captions most of the cache


def beam_search(model: ClipCapModel, prompt: Prompt, rules: ResolvedConstraints, strategy: Beam) -> list[list[Caption]]:
    """Continue prompts of B images by the hypotheses of the highest score, the `n` best of each image first.

    The same hypotheses and scores as transformers' `generate(num_beams=…, early_stopping=False)`. All beams of an image
    are written into one row; a mask tells which positions are a beam's own past, so choosing parents moves no keys.
    Cache columns that no beam uses are dropped every few steps.
    """
    if strategy.width == 1:
        return _one_beam(model, prompt, rules, strategy)
    lm = PrefixDecoder(model.language_model, prompt, strategy.width * rules.limit, end_only=True)
    found: list[list[Caption]] = [[] for _ in prompt.prefix]
    beams = _Beams(lm, rules, strategy)
    hidden = lm.prefix_hidden
    while True:
        logits = lm.logits(hidden.flatten(0, 1))
        own = log_probabilities(logits)
        # A penalty steers the search; a caption reports what the model itself thought of its tokens.
        allowed = rules.apply(own.clone() if rules.processors else own, beams.written, alternatives=hidden.shape[1])
        totals = torch.add(allowed, beams.scores.reshape(-1, 1), out=logits)  # their memory is free now
        done = beams.advance(own.view(len(hidden), -1), totals.view(len(hidden), -1))
        if done is not None and done.any():
            for image, captions in beams.best(done):
                found[image] = captions
            if done.all():
                return found
            finished = FinishedRows.of(done)
            lm.drop_finished(finished)
            beams.drop_finished(finished)
        if beams.step % TIDY == 0:
            lm.keep(model.prefix_length, beams.tidy())
        hidden = lm.step(beams.latest, beams.mask)


def _one_beam(model: ClipCapModel, prompt: Prompt, rules: ResolvedConstraints, strategy: Beam) -> list[list[Caption]]:
    """Greedy decoding, as in `generate`: it ends with the first stop token, and a penalty acts on the logits."""
    captions = generate(model, prompt, rules, most_probable)
    for (caption,) in captions:
        steps = caption.log_probabilities
        caption.score = sum(steps) / len(steps) ** strategy.length_penalty
    return captions


class _Beams:
    """The running and the finished hypotheses of every image: B images, W beams, up to `limit` tokens each.

    Each step adds W columns, one for the token that each beam reads. The additive `mask` [B, 1, W, P + columns] shows a
    beam the prefix and the columns of its own past, one a step: tokens and their log-probabilities [B, W · limit] stay
    where they were written until `tidy` moves them up, and only the mask follows the parents.
    """

    def __init__(self, lm: PrefixDecoder, rules: ResolvedConstraints, strategy: Beam) -> None:
        images, self.prefix_length = len(lm.prefix_hidden), lm.length
        self.rules, self.strategy, self.step, self.columns = rules, strategy, 0, 0
        width, device = strategy.width, lm.prefix_hidden.device
        columns, finished = (images, width * rules.limit), (images, width, rules.limit)
        self.images = torch.arange(images, device=device)
        self.tokens = torch.zeros(columns, dtype=torch.long, device=device)
        self.steps = torch.zeros(columns, device=device)  # log-probability of each token
        self.mask = torch.zeros(images, 1, width, self.prefix_length, dtype=lm.dtype, device=device)
        self.scores = torch.zeros(images, 1, device=device)  # one beam until the first token is out
        self.finished_tokens = torch.zeros(finished, dtype=torch.long, device=device)
        self.finished_steps = torch.zeros(finished, device=device)
        self.finished_lengths = torch.zeros(images, width, dtype=torch.long, device=device)
        self.finished_scores = torch.full((images, width), NEVER, device=device)
        self.some_finished = False
        oneself = torch.eye(width, dtype=torch.bool, device=device).repeat(images, 1, 1, 1)
        self.own_column = additive_mask(oneself, lm.dtype)

    @property
    def latest(self) -> Tensor:
        """The tokens [B, W] that the beams have chosen and not read."""
        return self.tokens[:, self.columns - self.strategy.width : self.columns]

    def advance(self, own: Tensor, totals: Tensor) -> Tensor | None:
        """Take one more token; true [B] where no running beam can still win, `None` where none has finished anywhere.

        Of all one-token continuations [B, beams · V], `own` is the token's log-probability by the model itself and
        `totals` the score of the whole hypothesis that the search is to go by.
        """
        width = self.strategy.width
        scores, *chosen = self._continuations(own, totals)
        ends = self.rules.stop(chosen[1]) | (self.step + 1 == self.rules.limit)
        if ends.any():
            self._finish(scores[:, :width], *(values[:, :width] for values in (*chosen, ends)))
            scores, kept = scores.masked_fill(ends, NEVER).topk(width)
            chosen = [values.gather(1, kept) for values in chosen]
        self._branch(*(values[:, :width] for values in (scores, *chosen)))
        return self._decided() | ends.all(-1) if self.some_finished else None

    def _continuations(self, own: Tensor, totals: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best continuations, best first: total score, parent beam, token, log-probability.

        So many that W of them go on, whichever stop.
        """
        keep = max(2, 1 + len(self.rules.stops)) * self.strategy.width
        vocabulary = totals.shape[1] // self.scores.shape[1]
        scores, places = totals.topk(min(keep, totals.shape[1]))
        return scores, places // vocabulary, places % vocabulary, own.gather(1, places)

    def _finish(self, scores: Tensor, parents: Tensor, tokens: Tensor, own: Tensor, ends: Tensor) -> None:
        """Let those of the best W continuations [B, W] that end here compete with the finished hypotheses."""
        self.some_finished = True
        length = self.step + 1
        scores = (scores / length**self.strategy.length_penalty).masked_fill(~ends, NEVER)
        self.finished_scores, best = torch.cat([self.finished_scores, scores], 1).topk(self.strategy.width)
        columns = _gather(self._past(), parents)
        for finished, values, last in (
            (self.finished_tokens, self.tokens, tokens),
            (self.finished_steps, self.steps, own),
        ):
            ended = torch.cat([values.gather(1, columns.flatten(1)).view_as(columns), last[:, :, None]], -1)
            finished[:, :, :length] = _gather(torch.cat([finished[:, :, :length], ended], 1), best)
        lengths = torch.full_like(self.finished_lengths, length)
        self.finished_lengths = torch.cat([self.finished_lengths, lengths], 1).gather(1, best)

    def _branch(self, scores: Tensor, parents: Tensor, tokens: Tensor, own: Tensor) -> None:
        """Each beam inherits its parent's past and adds the column its own token [B, W] is about to take."""
        images, width = parents.shape
        first = torch.arange(0, images * width, width, device=parents.device)
        rows = (parents + first[:, None]).flatten()
        inherited = self.mask.flatten(0, 2).index_select(0, rows).view(self.mask.shape)
        self.mask = torch.cat([inherited, self.own_column], dim=-1)
        here = slice(self.columns, self.columns + width)
        self.tokens[:, here], self.steps[:, here] = tokens, own
        self.scores = scores
        self.step, self.columns = self.step + 1, here.stop

    def tidy(self) -> Tensor:
        """Drop columns of no beam's past; of those that have been read, the ones that stay [B, columns - W]."""
        seen = (self.mask[:, 0, :, self.prefix_length :] == 0).any(1)
        self.columns = int(seen.sum(1).max())  # an image with fewer keeps some of its unseen ones, in front
        stay = seen.to(torch.uint8).argsort(dim=1, stable=True)[:, -self.columns :]
        for values in (self.tokens, self.steps):
            values[:, : self.columns] = values.gather(1, stay)
        prefix, past = self.mask.tensor_split((self.prefix_length,), dim=-1)
        self.mask = torch.cat([prefix, past.gather(-1, stay[:, None, None].expand(*past.shape[:3], -1))], dim=-1)
        return stay[:, : -self.strategy.width]

    def _decided(self) -> Tensor:
        """True [B] where W hypotheses have finished and none that runs can be better than the worst of them."""
        reachable = self.scores[:, 0] / self.step**self.strategy.length_penalty
        worst = self.finished_scores.amin(-1)
        return (worst > NEVER) & (reachable <= worst)

    def _past(self) -> Tensor:
        """The columns [B, W, step] of each beam's past, in order."""
        seen = self.mask[:, 0, :, self.prefix_length :] == 0
        return seen.nonzero()[:, 2].view(*seen.shape[:2], self.step)

    def written(self) -> Tensor:
        """Tokens [B · beams, step] of the running beams."""
        columns = self._past()[:, : self.scores.shape[1]]
        return self.tokens.gather(1, columns.flatten(1)).view(columns.shape).flatten(0, 1)

    def drop_finished(self, finished: FinishedRows) -> None:
        """Take images out."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, finished.apply(value))

    def best(self, done: Tensor) -> list[tuple[int, list[Caption]]]:
        """Of the images where `done` [B], their number and their `n` best hypotheses, without text."""
        lengths, ends = self.finished_lengths[done], self.rules.stop(self.finished_tokens[done])
        columns = (self.finished_tokens[done], self.finished_steps[done], self.finished_scores[done], lengths, ends)
        hypotheses = zip(*(values.tolist() for values in columns), strict=True)
        return [
            (image, [_caption(*one) for one in zip(*ranked, strict=True)][: self.strategy.n])
            for image, ranked in zip(self.images[done].tolist(), hypotheses, strict=True)
        ]


def _caption(tokens: list[int], steps: list[float], score: float, length: int, ends: list[bool]) -> Caption:
    ended = length > 0 and ends[length - 1]
    return Caption("", tokens[: length - ended], steps[:length], score, "end" if ended else "length")


def _gather(values: Tensor, places: Tensor) -> Tensor:
    """Of values [B, M, n], those at places [B, K]."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
