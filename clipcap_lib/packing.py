"""Packs the captions of one image behind one shared prefix, so that prefix and mapper are computed once an image."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

ROW = 64  # positions a row has at least room for: short images share one, so that little of it is padding


@dataclass(frozen=True)
class CaptionTokens:
    """All captions as one array [N] of token numbers: caption i is `ids[bounds[i]:bounds[i + 1]]`, end token included.

    `captions_of[j]` are the caption numbers of image j; `truncated` counts captions cut to `max_tokens`.
    """

    ids: np.ndarray
    bounds: np.ndarray
    captions_of: list[np.ndarray]
    truncated: int
    max_tokens: int

    def caption(self, number: int) -> np.ndarray:
        """The token numbers [T] of one caption, int32."""
        return self.ids[self.bounds[number] : self.bounds[number + 1]]


@dataclass(frozen=True)
class Packed:
    """B images in R rows of L positions. P is the length of a prefix, N the number of caption tokens.

    `input_ids`, `positions` [R, L]; `mask` [R, 1, L, L], true where attention is allowed; `prefix_rows`,
    `prefix_columns` [B·P]: where the prefixes go; `rows`, `columns`, `labels` [N]: the hidden state at (row, column)
    predicts the label. `segments` [B, S]: each image's places among the R·L, filled up with R·L.
    """

    input_ids: Tensor
    positions: Tensor
    mask: Tensor
    prefix_rows: Tensor
    prefix_columns: Tensor
    rows: Tensor
    columns: Tensor
    labels: Tensor
    segments: Tensor

    def to(self, device: torch.device | str) -> "Packed":
        return Packed(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a caption: `[SEP]` of a BertTokenizer, else the end-of-text token."""
    token = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ValueError(f"{type(tokenizer).__name__} has neither a sep_token nor an eos_token to end a caption with")
    return token


def tokenize_captions(
    captions: list[str], images: list[int], tokenizer: PreTrainedTokenizerBase, max_tokens: int,
    append_end: bool = True,
) -> CaptionTokens:  # fmt: skip
    """Tokenise captions, each closed by the end token; `images[i]` is the image number of caption i.

    A caption longer than `max_tokens` loses words, never its end token. Without `append_end` its own full stop ends it.
    """
    texts = tokenizer(captions, add_special_tokens=False)["input_ids"]
    end = [end_token(tokenizer)] if append_end else []
    closed = [[*ids[: max_tokens - len(end)], *end] for ids in texts]
    bounds = np.cumsum([0, *map(len, closed)])
    order = np.argsort(images, kind="stable")
    starts = np.searchsorted(np.asarray(images)[order], np.arange(max(images) + 2))
    captions_of = [order[a:b] for a, b in pairwise(starts)]
    flat = np.concatenate([np.asarray(ids, dtype=np.int32) for ids in closed])
    truncated = sum(len(ids) + len(end) > max_tokens for ids in texts)
    return CaptionTokens(flat, bounds, captions_of, truncated, max_tokens)


@dataclass(frozen=True)
class Padding:
    """Fills captions up to a length with a token that is trained like a word: the published loss."""

    token: int
    length: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, tokens: CaptionTokens) -> "Padding":
        """Up to the longest caption allowed; raises ValueError where the tokenizer has no padding token."""
        if tokenizer.pad_token_id is None:
            raise ValueError(f"padding_in_loss needs a padding token, and {type(tokenizer).__name__} has none")
        return cls(tokenizer.pad_token_id, tokens.max_tokens)

    def fill(self, caption: np.ndarray) -> np.ndarray:
        """The caption [T], then padding up to [length]."""
        return np.pad(caption, (0, self.length - len(caption)), constant_values=self.token)


def pack(captions_per_image: list[list[np.ndarray]], prefix_length: int, padding: Padding | None = None) -> Packed:
    """Lay the captions [T] of each image side by side behind one prefix of P positions, and short images into one row.

    A caption sees its prefix and its own past, not its neighbours, and its positions go on from P: loss and gradients
    are those of one caption a row. The end token is predicted but never read. Padding is predicted and never seen.
    """
    lengths = [[len(caption) for caption in captions] for captions in captions_per_image]
    if padding:
        captions_per_image = [[padding.fill(caption) for caption in captions] for captions in captions_per_image]
    sizes = [prefix_length + sum(len(caption) - 1 for caption in captions) for captions in captions_per_image]
    places = _first_fit(sizes, max(ROW, *sizes))
    shape = max(row for row, _ in places) + 1, max(at + size for (_, at), size in zip(places, sizes, strict=True))
    # Written with numpy: thousands of small writes a second, which torch takes ten times as long for.
    input_ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    owners, numbers = np.full(shape, -1), np.zeros(shape, np.int64)  # image; 0 prefix, 1 … K its captions
    prefixes, targets, segments = [], [], np.full((len(sizes), max(sizes)), shape[0] * shape[1])
    for image, ((row, start), size) in enumerate(zip(places, sizes, strict=True)):
        owners[row, start : start + size] = image
        segments[image, :size] = row * shape[1] + start + np.arange(size)
        column = start + prefix_length
        positions[row, start:column] = np.arange(prefix_length)
        prefixes.append((np.full(prefix_length, row), np.arange(start, column)))
        for number, caption in enumerate(captions_per_image[image], start=1):
            end = column + len(caption) - 1
            input_ids[row, column:end] = caption[:-1]
            positions[row, column:end] = np.arange(prefix_length, prefix_length + end - column)
            numbers[row, column:end] = number
            numbers[row, column + lengths[image][number - 1] : end] = -number  # its padding, hidden from all
            predictors = np.concatenate([[start + prefix_length - 1], np.arange(column, end)])
            targets.append((np.full(len(caption), row), predictors, caption))
            column = end
    laid_out, mask = map(torch.from_numpy, (input_ids, positions)), _block_causal(owners, numbers)
    return Packed(*laid_out, mask, *_joined(prefixes), *_joined(targets), torch.from_numpy(segments))


def _first_fit(sizes: list[int], capacity: int) -> list[tuple[int, int]]:
    """Row and first column of each piece, long pieces placed first, each into the first row with room."""
    filled: list[int] = []
    places = [(0, 0)] * len(sizes)
    for piece in sorted(range(len(sizes)), key=lambda piece: -sizes[piece]):
        row = next((row for row, used in enumerate(filled) if used + sizes[piece] <= capacity), len(filled))
        if row == len(filled):
            filled.append(0)
        places[piece] = row, filled[row]
        filled[row] += sizes[piece]
    return places


def _joined(parts: list[tuple[np.ndarray, ...]]) -> list[Tensor]:
    return [torch.from_numpy(np.concatenate(column).astype(np.int64)) for column in zip(*parts, strict=True)]


def _block_causal(owners: np.ndarray, numbers: np.ndarray) -> Tensor:
    owners, numbers = torch.from_numpy(owners), torch.from_numpy(numbers)
    same_image = owners[:, :, None] == owners[:, None, :]
    same_caption = (numbers.abs()[:, :, None] == numbers[:, None, :]) | (numbers[:, None, :] == 0)
    past = torch.ones(owners.shape[1], owners.shape[1], dtype=torch.bool).tril()
    # Padding is an image of its own (−1) and sees itself, or its softmax would be over nothing.
    return (same_image & same_caption & past)[:, None]


def additive_mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask to add to attention scores, of the shape of `seen` [...]: 0 where it is true, else the dtype's least."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
