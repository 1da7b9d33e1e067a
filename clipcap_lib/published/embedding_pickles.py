"""The pickles of captions with CLIP embeddings that public ClipCap implementations publish instead of pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clipcap_lib.published.embeddings import PublishedEmbeddings
from clipcap_lib.published.safe_pickle import load_pickle

EXPECTED = (
    "ClipCap-Chinese's [list of (id, caption), {id: tensor [1, D]}] or "
    'rmokady\'s {"clip_embedding": tensor [N, D], "captions": [{"image_id", "caption", "clip_embedding": row}]}'
)


def read_embedding_pickle(path: Path) -> PublishedEmbeddings:
    """Read a published pickle; nothing in it is executed, and the embeddings are kept as they are, not normalised.

    Raises `ValueError` naming the file, the place and what was expected there.
    """
    content = load_pickle(path)
    if isinstance(content, list) and len(content) == 2 and isinstance(content[1], dict):
        captions, vectors = _chinese(path, *content)
    elif isinstance(content, dict) and {"clip_embedding", "captions"} <= content.keys():
        captions, vectors = _rmokady(path, content["clip_embedding"], content["captions"])
    else:
        raise ValueError(f"{path}: expected {EXPECTED}, found a {type(content).__name__}")
    table = pd.DataFrame(captions, columns=["image_id", "caption"])
    if table.empty:
        raise ValueError(f"{path}: expected captions, found none")
    if len(widths := {len(vector) for vector in vectors.values()}) > 1:
        raise ValueError(f"{path}: embeddings of one width expected, found {sorted(widths)}")
    matrix = torch.stack(list(vectors.values())).half().numpy()
    if not np.isfinite(matrix).all():
        raise ValueError(f"{path}: there are embeddings that are not finite numbers")
    return PublishedEmbeddings(table, list(vectors), matrix, np.arange(len(matrix)))


def _wrong(path: Path, place: str, found: Any) -> ValueError:
    return ValueError(f"{path}, {place}: expected {EXPECTED}, found {found!r:.80}")


def _chinese(path: Path, pairs: Any, embeddings: dict) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    vectors = {str(key): _vector(path, f"embedding of {key!r}", value) for key, value in embeddings.items()}
    captions = []
    for number, pair in enumerate(pairs):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], str)):
            raise _wrong(path, f"caption {number}", pair)
        if str(pair[0]) not in vectors:
            raise ValueError(f"{path}, caption {number}: there is no embedding of image {pair[0]!r}")
        captions.append((str(pair[0]), pair[1]))
    return captions, vectors


def _rmokady(path: Path, embeddings: Any, rows: Any) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    if not (isinstance(embeddings, Tensor) and embeddings.dim() == 2):
        raise _wrong(path, "clip_embedding", type(embeddings).__name__)
    captions, vectors = [], {}
    for number, row in enumerate(rows):
        try:
            image_id, caption, at = str(row["image_id"]), row["caption"], row["clip_embedding"]
        except (KeyError, TypeError):
            raise _wrong(path, f"caption {number}", row) from None
        if not (isinstance(at, int) and 0 <= at < len(embeddings) and isinstance(caption, str)):
            raise ValueError(f"{path}, caption {number}: row {at!r} is not one of {len(embeddings):,} embeddings")
        captions.append((image_id, caption))
        vectors.setdefault(image_id, embeddings[at])  # the same picture again has the same embedding
    return captions, vectors


def _vector(path: Path, place: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != value.shape[-1]:
        raise _wrong(path, place, getattr(value, "shape", type(value).__name__))
    return value.reshape(-1)
