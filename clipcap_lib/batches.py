"""Packs the captions of one image behind one shared prefix, so that prefix and mapper are computed once an image."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class CaptionTokens:
    """All captions as one array of token numbers: caption i is `ids[bounds[i]:bounds[i + 1]]`, end token included.

    `captions_of[j]` are the caption numbers of image j; `truncated` counts captions that had to be shortened.
    """

    ids: np.ndarray
    bounds: np.ndarray
    captions_of: list[np.ndarray]
    truncated: int

    def caption(self, number: int) -> np.ndarray:
        return self.ids[self.bounds[number] : self.bounds[number + 1]]


@dataclass(frozen=True)
class Packed:
    """B rows of one image each. L is the longest row without its prefix, N the number of caption tokens.

    `input_ids` [B, L]; `positions` [B, P + L]; `mask` [B, 1, P + L, P + L], true where attention is allowed;
    `rows`, `columns`, `labels` [N]: the hidden state at (row, column) predicts the label.
    """

    input_ids: Tensor
    positions: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Packed":
        return Packed(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a caption: `[SEP]` of a BertTokenizer, else the end-of-text token."""
    token = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ValueError(f"{type(tokenizer).__name__} has neither a sep_token nor an eos_token to end a caption with")
    return token


def tokenize_captions(
    captions: list[str], images: list[int], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> CaptionTokens:
    """Tokenise captions, each closed by the end token; `images[i]` is the image number of caption i.

    A caption longer than `max_tokens` loses words, never its end token.
    """
    texts = tokenizer(captions, add_special_tokens=False)["input_ids"]
    end = end_token(tokenizer)
    closed = [[*ids[: max_tokens - 1], end] for ids in texts]
    bounds = np.cumsum([0, *map(len, closed)])
    order = np.argsort(images, kind="stable")
    starts = np.searchsorted(np.asarray(images)[order], np.arange(max(images) + 2))
    captions_of = [order[a:b] for a, b in pairwise(starts)]
    flat = np.concatenate([np.asarray(ids, dtype=np.int32) for ids in closed])
    return CaptionTokens(flat, bounds, captions_of, sum(len(ids) >= max_tokens for ids in texts))


def pack(captions_per_image: list[list[np.ndarray]], prefix_length: int) -> Packed:
    """Lay the captions of each image side by side behind one prefix of P positions.

    A caption sees the prefix and its own past, not its neighbours, and its positions go on from P: loss and gradients
    are those of one caption a row. The end token is predicted but never read.
    """
    widths = [sum(len(caption) - 1 for caption in captions) for captions in captions_per_image]
    batch, length = len(captions_per_image), max(1, *widths)
    input_ids = torch.zeros(batch, length, dtype=torch.long)
    positions = torch.zeros(batch, prefix_length + length, dtype=torch.long)
    positions[:, :prefix_length] = torch.arange(prefix_length)
    segments = torch.full((batch, prefix_length + length), -1)  # −1 padding, 0 prefix, 1 … K the captions
    segments[:, :prefix_length] = 0
    targets: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for row, captions in enumerate(captions_per_image):
        column = prefix_length
        for number, caption in enumerate(captions, start=1):
            inputs = len(caption) - 1
            place = slice(column, column + inputs)
            input_ids[row, column - prefix_length : column - prefix_length + inputs] = torch.from_numpy(
                caption[:-1].astype(np.int64)
            )
            positions[row, place] = torch.arange(prefix_length, prefix_length + inputs)
            segments[row, place] = number
            predictors = np.concatenate([[prefix_length - 1], np.arange(column, column + inputs)])
            targets.append((np.full(len(caption), row), predictors, caption))
            column += inputs
    rows, columns, labels = (
        torch.from_numpy(np.concatenate(part).astype(np.int64)) for part in zip(*targets, strict=True)
    )
    return Packed(input_ids, positions, _block_causal(segments), rows, columns, labels)


def _block_causal(segments: Tensor) -> Tensor:
    query, key = segments[:, :, None], segments[:, None, :]
    past = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool).tril()
    visible = ((key == query) | (key == 0)) & past
    # Padding sees itself, or its softmax would be over nothing.
    return (visible | torch.eye(segments.shape[1], dtype=torch.bool))[:, None]
