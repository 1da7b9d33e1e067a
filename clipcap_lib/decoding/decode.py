"""From image embeddings to captions: every strategy behind one `decode`."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce

import torch
from tokenizers.models import WordPiece
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clipcap_lib.decoding.beam import beam_search
from clipcap_lib.decoding.constraints import Caption, ResolvedConstraints
from clipcap_lib.decoding.contrastive import contrastive_search
from clipcap_lib.decoding.reranking import Utility, clip_scorer, rank_by_agreement, rank_by_clip
from clipcap_lib.decoding.sampling import generate, token_selector
from clipcap_lib.decoding.strategies import (
    Beam,
    BestOfN,
    Constraints,
    Contrastive,
    Magic,
    MinimumBayesRisk,
    Sample,
    Strategy,
)
from clipcap_lib.encoders import Encoder
from clipcap_lib.model import ClipCapModel
from clipcap_lib.settings import ClipCapConfig

__all__ = ["Caption", "Constraints", "decode", "to_text"]
STANDARD = Constraints()


@torch.inference_mode()
def decode(
    model: ClipCapModel, features: Tensor, strategy: Strategy, constraints: Constraints = STANDARD,
    keys: Sequence[str] | None = None, judge: Encoder | None = None, utility: Utility | None = None,
    batch_size: int = 128, judged: Tensor | None = None,
) -> list[list[Caption]]:  # fmt: skip
    """Caption images by their features [N, D] or [N, T, D]: of each its captions, the best first, or the search's own.

    `keys` identify the images to the sampler (default: their position), so that a caption does not depend on the batch.
    `judge` is the CLIP that made the features, for MAGIC and best-of-n, and `judged` [N, width] its embeddings of the
    images, if the features are not these; `utility` scores captions against one another, for minimum Bayes risk.
    `batch_size` images are read at once, however many captions are written of each: it changes
    nothing but rounding. Raises `ValueError`, before any forward pass, on options that cannot be met.
    """
    rules = resolve_constraints(model, strategy, constraints, judge, utility)
    features = _checked(model, features)
    judged = features if judged is None else judged.to(features.device)
    if isinstance(strategy, Magic | BestOfN) and judged.ndim != 2:
        raise ValueError(f"{strategy.name} compares texts with one embedding an image, not with a grid: give judged=")
    keys = list(keys) if keys is not None else [str(i) for i in range(len(features))]
    if len(keys) != len(features):
        raise ValueError(f"{len(features)} images but {len(keys)} keys")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    found: list[list[Caption]] = []
    with _evaluating(model):
        for start in range(0, len(features), batch_size):
            part = slice(start, start + batch_size)
            found += _decode(model, features[part], strategy, rules, keys[part], judge, judged[part], utility)
    return found


def resolve_constraints(
    model: ClipCapModel, strategy: Strategy, constraints: Constraints = STANDARD,
    judge: Encoder | None = None, utility: Utility | None = None,
) -> ResolvedConstraints:  # fmt: skip
    """The constraints resolved for a model; raises `ValueError` for what `decode` could not do, whatever the images."""
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy is {strategy!r}; build one, such as Greedy() or parse_strategy('beam width:5')")
    if isinstance(strategy, MinimumBayesRisk) and utility is None:
        raise ValueError("mbr needs utility=, such as metrics.training_agreement(...)")
    if isinstance(strategy, Magic | BestOfN):
        _check_judge(strategy.name, model.config, judge)
    return ResolvedConstraints(model, constraints, strategy)


def _check_judge(name: str, config: ClipCapConfig, judge: Encoder | None) -> None:
    if judge is None or judge.encode_texts is None:
        raise ValueError(f"{name} needs an encoder that reads the captions (judge=): for English clip:ViT-B/32, say")
    if config.features == "pooled" and judge.width != config.clip_size:
        raise ValueError(
            f"{name}: {judge.name} has width {judge.width}, not the {config.clip_size} of the features; "
            "judge by the encoder that made them"
        )


def _checked(model: ClipCapModel, features: Tensor) -> Tensor:
    """Features [N, D] or [N, T, D] on the model's device and in its dtype."""
    expected, shape = model.config.feature_shape, list(features.shape)
    if tuple(shape[1:]) != expected:
        needed = ", ".join(map(str, expected))
        raise ValueError(f"features must be [images, {needed}], as {model.config.encoder} makes them, not {shape}")
    if not (fine := features.isfinite().flatten(1).all(-1)).all():
        raise ValueError(f"the features of image {int(fine.int().argmin())} are not finite numbers; extract them again")
    weight = model.language_model.get_input_embeddings().weight
    return features.to(weight.device, weight.dtype)


@contextmanager
def _evaluating(model: ClipCapModel) -> Iterator[None]:
    was_training = model.training
    # Visiting every module takes a tenth of a tiny model's greedy captions.
    if not (was_training or model.language_model.training):
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _decode(
    model: ClipCapModel, features: Tensor, strategy: Strategy, rules: ResolvedConstraints, keys: list[str],
    judge: Encoder | None, judged: Tensor, utility: Utility | None,
) -> list[list[Caption]]:  # fmt: skip
    prompt, text = model.prompt(features), partial(to_text, model.tokenizer)
    match strategy:
        case Beam():
            captions = beam_search(model, prompt, rules, strategy)
        case Contrastive():
            captions = contrastive_search(model, prompt, rules, strategy)
        case Magic():
            scorer = clip_scorer(judged.repeat_interleave(strategy.n, 0), judge, strategy.beta, text)
            captions = contrastive_search(model, prompt, rules, strategy, scorer)
        case _:
            select = token_selector(strategy, keys, rules.limit, model.device)
            captions = generate(model, prompt, rules, select, strategy.n)
    for row in captions:
        for caption in row:
            caption.text = text(caption.tokens)
    match strategy:
        case BestOfN():
            return rank_by_clip(captions, judged, judge)
        case MinimumBayesRisk():
            return rank_by_agreement(captions, utility)
        case Sample():
            return [sorted(row, key=lambda caption: -caption.score) for row in captions]
    return captions


def to_text(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    """Tokens as a person writes them: Chinese without spaces, other words apart, no special tokens."""
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    # WordPiece alone puts a space between all its tokens; the text of others has its own.
    if not isinstance(getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None), WordPiece):
        return text.strip()
    return reduce(_join, text.split(), "")


def _join(written: str, word: str) -> str:
    """With a space where people leave one: between words, and behind a stop or comma that is not inside a number."""
    last, first = written[-1:], word[0]
    number = written[-2:-1].isdigit() and first.isdigit()
    apart = _is_spaced(first) and (_is_spaced(last) or (last in tuple(",;:.!?") and not number))
    return f"{written} {word}" if apart else written + word


def _is_spaced(character: str) -> bool:
    """Whether words of it stand apart: letters and digits, but of the wide ones, which Chinese is, only Korean."""
    wide = unicodedata.east_asian_width(character or " ") in "WF"
    return character.isalnum() and (not wide or unicodedata.name(character).startswith("HANGUL"))
