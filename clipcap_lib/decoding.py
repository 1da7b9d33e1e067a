"""From image embeddings to captions: one batched loop with a key-value cache behind `decode`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from clipcap_lib.model import ClipCapModel


class _Strategy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Greedy(_Strategy):
    """Always the most probable token."""

    name: Literal["greedy"] = "greedy"


class Sample(_Strategy):
    """Draw from the softmax, after temperature, top-k (0: off) and top-p (1: off; Holtzman et al. 2020).

    The draw depends on the seed and the image's key alone, never on the other images of the batch.
    """

    name: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(0.8, gt=0, le=1)
    seed: int = 0


Strategy = Greedy | Sample


@dataclass
class Caption:
    """One caption: text, tokens without the stop token, log-probability of each token, and why it stopped.

    Log-probabilities are in nats, of the model's own distribution with banned tokens removed, and include the stop
    token's when the caption was stopped by one.
    """

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    stopped: Literal["end", "length"] = "length"


@torch.inference_mode()
def decode(
    model: ClipCapModel, features: Tensor, strategy: Strategy, max_new_tokens: int = 60,
    keys: Sequence[str] | None = None, batch_size: int = 128,
) -> list[Caption]:  # fmt: skip
    """Caption image embeddings [N, D].

    `keys` identify the images to the sampler (default: their position). The prefix is computed once an image, only
    last-position logits are computed, and finished rows leave the batch. Raises `ValueError` on impossible options and
    on logits that are not numbers.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    keys = list(keys) if keys is not None else [str(i) for i in range(len(features))]
    if len(keys) != len(features):
        raise ValueError(f"{len(features)} images but {len(keys)} keys")
    was_training = model.training
    model.eval()
    parts = [slice(i, i + batch_size) for i in range(0, len(features), batch_size)]
    captions = [
        caption for part in parts for caption in _decode(model, features[part], strategy, max_new_tokens, keys[part])
    ]
    model.train(was_training)
    return captions


def _decode(model: ClipCapModel, features: Tensor, strategy: Strategy, limit: int, keys: list[str]) -> list[Caption]:
    captions = [Caption() for _ in keys]
    bans, warp = _bans(model), _warpers(strategy)
    pick = _picker(strategy, keys)
    alive = torch.arange(len(keys))
    cache, inputs, position = DynamicCache(), model.prefix(features.to(model.device)), 0
    for step in range(limit):
        logits = _last_logits(model, inputs, cache, position)
        position += inputs.shape[1]
        if not torch.isfinite(logits).all():
            raise ValueError("the language model gave logits that are not finite numbers; check its weights and dtype")
        logits = bans(None, logits)
        chosen = pick(warp(None, logits), alive, step)
        scores = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        going = _record(captions, alive.tolist(), chosen.tolist(), scores.tolist(), model.stop_tokens)
        if not going:
            break
        if len(going) < len(alive):  # finished rows cost nothing more
            kept = torch.tensor(going, device=logits.device)
            cache.batch_select_indices(kept)
            alive, chosen = alive[going], chosen[kept]
        inputs = model.language_model.get_input_embeddings()(chosen[:, None])
    for caption in captions:
        caption.text = to_text(model.tokenizer, caption.tokens)
    return captions


def _last_logits(model: ClipCapModel, inputs: Tensor, cache: DynamicCache, position: int) -> Tensor:
    positions = torch.arange(position, position + inputs.shape[1], device=inputs.device)[None]
    hidden = model.language_model.base_model(
        inputs_embeds=inputs, past_key_values=cache, position_ids=positions, use_cache=True
    ).last_hidden_state[:, -1]
    return model.language_model.get_output_embeddings()(hidden).float()


def _record(
    captions: list[Caption], alive: list[int], tokens: list[int], scores: list[float], stops: tuple[int, ...]
) -> list[int]:
    """Note what each row chose; return the rows of the batch that go on."""
    going = []
    for row, (number, token, score) in enumerate(zip(alive, tokens, scores, strict=True)):
        captions[number].log_probabilities.append(score)
        if token in stops:
            captions[number].stopped = "end"
        else:
            captions[number].tokens.append(token)
            going.append(row)
    return going


def _bans(model: ClipCapModel) -> LogitsProcessorList:
    # A caption never holds an unknown word, a mask or padding, however the language model was trained.
    tokenizer = model.tokenizer
    special = {tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id}
    banned = sorted(special - {None, *model.stop_tokens})
    return LogitsProcessorList([SuppressTokensLogitsProcessor(banned, device=model.device)] if banned else [])


def _warpers(strategy: Strategy) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if isinstance(strategy, Sample):
        if strategy.temperature != 1:
            warpers.append(TemperatureLogitsWarper(strategy.temperature))
        if strategy.top_k:
            warpers.append(TopKLogitsWarper(strategy.top_k))
        if strategy.top_p < 1:
            warpers.append(TopPLogitsWarper(strategy.top_p))
    return warpers


def _picker(strategy: Strategy, keys: list[str]):
    if isinstance(strategy, Greedy):
        return lambda logits, alive, step: logits.argmax(-1)
    seeds = [int.from_bytes(hashlib.sha256(f"{strategy.seed} {key}".encode()).digest()[:7]) for key in keys]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def pick(logits: Tensor, alive: Tensor, step: int) -> Tensor:
        # Inverse of the cumulative distribution, one uniform number a row and step.
        uniform = torch.stack([torch.rand(1, generator=generators[i], dtype=torch.float64) for i in alive.tolist()])
        cumulative = logits.double().softmax(-1).cumsum(-1)
        return torch.searchsorted(cumulative, uniform.to(logits.device) * cumulative[:, -1:], right=True)[:, 0]

    return pick


def to_text(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    """Tokens as a person writes them: Chinese without spaces, English words apart, no special tokens."""
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    if not _is_wordpiece(tokenizer):
        return text.strip()
    words = text.split(" ")
    joined = words[:1]
    for before, word in pairwise(words):
        apart = before[-1:].isascii() and word[:1].isascii() and before[-1:].isalnum() and word[:1].isalnum()
        joined.append(f" {word}" if apart else word)
    return "".join(joined).strip()


def _is_wordpiece(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.sep_token is not None
