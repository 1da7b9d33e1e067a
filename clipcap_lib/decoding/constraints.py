"""Decoding constraints, the state of generation, and the `Caption` that results."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from clipcap_lib.decoding.strategies import Beam, Constraints, Search, Strategy
from clipcap_lib.model import ClipCapModel


@dataclass
class Caption:
    """One caption: text, tokens without the stop token, their log-probabilities, its score, and why it stopped.

    Log-probabilities are in nats, of the model's own softmax before any constraint, filter or penalty; they include
    the stop token's where one ended the caption. `score` is their mean; for what ranks captions by something else,
    that: the sum under constraints with its length penalty (beam search), the cosine with the image (best-of-n), the
    expected CIDEr-D (mbr).
    """

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    score: float = float("nan")
    stopped: Literal["end", "length"] = "length"


class ResolvedConstraints:
    """Constraints resolved for one model: raises `ValueError` where they cannot be kept."""

    def __init__(self, model: ClipCapModel, constraints: Constraints, strategy: Strategy) -> None:
        vocabulary = model.language_model.get_output_embeddings().weight.shape[0]
        stops = model.stop_tokens if constraints.stop_tokens is None else constraints.stop_tokens
        self.limit = _limit(model, constraints, stops)
        given = constraints.banned_tokens
        banned = _special_tokens(model, stops, vocabulary) if given is None else given
        if both := sorted({*stops} & {*banned}):
            raise ValueError(f"token {both[0]} is banned and ends captions; take it out of one of the two")
        if outside := [token for token in (*stops, *banned) if not 0 <= token < vocabulary]:
            raise ValueError(f"token {outside[0]} is not in the vocabulary of {vocabulary:,}")
        _check_candidates(strategy, vocabulary - len(set(banned)), len(set(stops)) if constraints.min_new_tokens else 0)
        self.stops = torch.tensor(sorted(set(stops)), dtype=torch.long, device=model.device)
        self.ends = torch.zeros(vocabulary, dtype=torch.bool, device=model.device).index_fill_(0, self.stops, True)
        self.banned = torch.tensor(sorted(set(banned)), dtype=torch.long, device=model.device)
        self.processors = _processors(constraints, self.stops)

    def apply(self, logits: Tensor, written: Callable[[], Tensor], alternatives: int = 1) -> Tensor:
        """Logits [rows, V] with what is not allowed at −∞, changed in place; `written` gives the tokens [rows, t].

        So many `alternatives` in a row are beams of one image. Raises `ValueError` where the constraints leave an image
        no token.
        """
        if len(self.banned):
            logits.index_fill_(1, self.banned, float("-inf"))
        if not self.processors:
            return logits
        allowed = self.processors(written(), logits)
        if (allowed.amax(-1).view(-1, alternatives).amax(-1) == float("-inf")).any():
            raise ValueError("the constraints leave a caption no token to go on with; loosen one of them")
        return allowed

    def stop(self, tokens: Tensor) -> Tensor:
        """True where a token ends its caption; tokens [...], result [...]."""
        return self.ends[tokens]


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities [rows, V] of logits; raises `ValueError` for logits that are not numbers."""
    found = logits.log_softmax(-1)
    if found[:, 0].isnan().any():  # one NaN or +∞ in a row makes all of its log-probabilities NaN
        raise ValueError("the language model gave logits that are not finite numbers; check its weights and dtype")
    return found


class GenerationState:
    """The tokens generated so far, for every row; `rows` are the numbers of those still in the batch, in their order.

    An image has `copies` rows, one beside the other.
    """

    def __init__(self, images: int, copies: int, limit: int, device: torch.device) -> None:
        self.copies, rows = copies, images * copies
        self.tokens = torch.zeros(rows, limit, dtype=torch.long, device=device)
        self.log_probabilities = torch.zeros(rows, limit, device=device)
        self.ended = torch.zeros(rows, dtype=torch.long, device=device)  # how many tokens, stop token included
        self.rows = torch.arange(rows, device=device)
        self.step = 0

    def written(self) -> Tensor:
        """Tokens [rows in the batch, step]."""
        return self.tokens[self.rows, : self.step]

    def add(self, tokens: Tensor, log_probabilities: Tensor, stopping: Tensor) -> bool:
        """Note a step's tokens [rows in the batch], their scores and which of them end a caption; whether any does."""
        self.tokens[self.rows, self.step] = tokens
        self.log_probabilities[self.rows, self.step] = log_probabilities
        self.step += 1
        if some := bool(stopping.any()):
            self.ended[self.rows[stopping]] = self.step
        return some

    def captions(self) -> list[list[Caption]]:
        """Of each image its captions, one a row, without their text."""
        columns = (self.tokens.tolist(), self.log_probabilities.tolist(), self.ended.tolist())
        made = [_caption(tokens, scores, ended, self.step) for tokens, scores, ended in zip(*columns, strict=True)]
        return [made[at : at + self.copies] for at in range(0, len(made), self.copies)]


def _caption(tokens: list[int], log_probabilities: list[float], ended: int, step: int) -> Caption:
    read = ended or step
    scores = log_probabilities[:read]
    stopped = "end" if ended else "length"
    return Caption("", tokens[: ended - 1 if ended else step], scores, sum(scores) / read, stopped)


def positions_of(model: ClipCapModel) -> int | None:
    """How many positions the language model has, the prefix's included; `None` where it names no number."""
    config = model.language_model.config.get_text_config()
    # Within its window, where it has one, a model's attention sees everything, and ours does.
    named = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    return min(filter(None, named), default=None)


def _limit(model: ClipCapModel, constraints: Constraints, stops: tuple[int, ...]) -> int:
    positions = positions_of(model)
    room = positions - model.prefix_length if positions else None
    limit = constraints.max_new_tokens
    if room is not None and room < 1:
        raise ValueError(f"the prefix takes all {positions} positions of the language model; shorten prefix_length")
    if limit is None and not stops:
        raise ValueError("no stop token and no max_new_tokens: captions would never end; give one of them")
    if limit is None and room is None:
        raise ValueError("the language model names no number of positions; give max_new_tokens")
    if limit is not None and room is not None and limit > room:
        raise ValueError(f"max_new_tokens is {limit}, but {positions} positions less the prefix leave {room}")
    if constraints.min_new_tokens > (limit or room):
        raise ValueError(f"min_new_tokens is {constraints.min_new_tokens}, above the limit of {limit or room}")
    return limit or room


def _check_candidates(strategy: Strategy, allowed: int, waiting: int) -> None:
    """Of the allowed tokens, `waiting` are stop tokens that a shortest caption keeps back at first."""
    width = strategy.width if isinstance(strategy, Beam) else 1
    # Contrastive search makes do with fewer than k at a step; a beam that finds no token of its own is none.
    for candidates, left in ((getattr(strategy, "k", width), allowed), (width, allowed - waiting)):
        if candidates > left:
            raise ValueError(f"{candidates} candidates a step, but the vocabulary allows {left:,}")
    if isinstance(strategy, Search) and strategy.n > allowed - waiting:
        raise ValueError(f"n is {strategy.n}, but only {allowed - waiting:,} tokens may begin a caption")


def _special_tokens(model: ClipCapModel, stops: tuple[int, ...], vocabulary: int) -> tuple[int, ...]:
    # A caption never holds an unknown word, a mask or padding, however the language model was trained. Padding may
    # have been added to a tokenizer and not to its model.
    tokenizer = model.tokenizer
    special = {tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id}
    return tuple(token for token in special - {None, *model.stop_tokens, *stops} if token < vocabulary)


def _processors(constraints: Constraints, stops: Tensor) -> LogitsProcessorList:
    chosen = LogitsProcessorList()
    if constraints.repetition_penalty != 1:
        chosen.append(RepetitionPenaltyLogitsProcessor(constraints.repetition_penalty))
    if constraints.no_repeat_ngram:
        chosen.append(NoRepeatNGramLogitsProcessor(constraints.no_repeat_ngram))
    if constraints.min_new_tokens and len(stops):
        chosen.append(MinNewTokensLengthLogitsProcessor(0, constraints.min_new_tokens, stops, device=stops.device))
    return chosen
