"""What a prepared corpus is to the model: embeddings of its images, and splits of tokenised captions."""

from pathlib import Path

import numpy as np
import pandas as pd

from clipcap_lib.corpus.corpus import PreparedCorpus
from clipcap_lib.corpus.shard_features import extract_shards
from clipcap_lib.corpus.shards import Tell
from clipcap_lib.dataset import Split
from clipcap_lib.encoders import Encoder, FeatureKind
from clipcap_lib.features import Features, extract_features
from clipcap_lib.images import shard_of
from clipcap_lib.packing import tokenize_captions

STORE = Path("data/features")


def corpus_features(
    prepared: PreparedCorpus, encoder: Encoder, images: pd.DataFrame, kind: FeatureKind = "pooled",
    tell: Tell | None = None,
) -> Features:  # fmt: skip
    """The features of these rows of `prepared.images`: the embeddings that came with the captions, or the encoder's.

    `tell` hears how far the extraction from shards is. Raises `ValueError` where embeddings that came along are not as
    wide as the encoder's, or where a grid is asked for.
    """
    if prepared.vectors is None:
        paths = images["image_path"]
        if len(paths) and shard_of(Path(paths.iloc[0])):
            return extract_shards(encoder, paths, STORE, kind=kind, tell=tell)
        return extract_features(encoder, paths.tolist(), STORE, kind=kind)
    if kind == "grid":
        raise ValueError("the captions came with one embedding a picture, which has no grid; use features: pooled")
    if (width := prepared.vectors.shape[1]) != encoder.width:
        raise ValueError(f"the captions came with embeddings of width {width}; {encoder.name} makes {encoder.width}")
    return Features(prepared.vectors, images.index.to_numpy(), 0.0, 0)


def make_splits(
    corpus: PreparedCorpus, features: Features, tokenizer, max_tokens: int, append_end: bool = True,
    used_images: int = 0, seed: int = 0,
) -> dict[str, Split]:  # fmt: skip
    """Every split of a corpus by name, tokenised once; image positions are those of `corpus.images`.

    The training split holds `used_images` of its images; see `taken`.
    """
    images = corpus.images
    number = pd.Series(images.index, index=pd.MultiIndex.from_frame(images[["image_id", "split"]]))
    owners = number[pd.MultiIndex.from_frame(corpus.table[["image_id", "split"]])].tolist()
    tokens = tokenize_captions(corpus.table["caption"].tolist(), owners, tokenizer, max_tokens, append_end)
    places = {name: rows.index.to_numpy() for name, rows in images.groupby("split")}
    places["train"] = taken(places["train"], used_images, seed)
    return {name: Split(features, tokens, numbers) for name, numbers in places.items()}


def taken(images: np.ndarray, count: int, seed: int) -> np.ndarray:
    """So many [count] of the training images [N], drawn by a seed so that more of them hold the fewer; 0: all.

    Raises `ValueError` where there are not so many.
    """
    if count > len(images):
        raise ValueError(f"used_images is {count:,}, but there are {len(images):,} training images")
    return np.random.default_rng(seed).permutation(images)[:count] if count else images
