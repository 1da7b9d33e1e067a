"""What a prepared corpus is to the model: embeddings of its images, and splits of tokenised captions."""

from pathlib import Path

import pandas as pd

from clipcap_lib.corpus.corpus import PreparedCorpus
from clipcap_lib.dataset import Split
from clipcap_lib.encoders import Encoder
from clipcap_lib.features import Features, extract_features
from clipcap_lib.packing import tokenize_captions


def corpus_features(prepared: PreparedCorpus, encoder: Encoder, images: pd.DataFrame) -> Features:
    """The embeddings of these rows of `prepared.images`: those that came with the captions, or the encoder's.

    Raises `ValueError` where the embeddings that came along are not as wide as the encoder's.
    """
    if prepared.vectors is None:
        return extract_features(encoder, images["image_path"].tolist(), Path("data/features"))
    if (width := prepared.vectors.shape[1]) != encoder.width:
        raise ValueError(f"the captions came with embeddings of width {width}; {encoder.name} makes {encoder.width}")
    return Features(prepared.vectors, images.index.to_numpy(), 0.0, 0)


def make_splits(
    corpus: PreparedCorpus, features: Features, tokenizer, max_tokens: int, append_end: bool = True
) -> dict[str, Split]:
    """Every split of a corpus by name, tokenised once; image positions are those of `corpus.images`."""
    images = corpus.images
    number = pd.Series(images.index, index=pd.MultiIndex.from_frame(images[["image_id", "split"]]))
    owners = number[pd.MultiIndex.from_frame(corpus.table[["image_id", "split"]])].tolist()
    tokens = tokenize_captions(corpus.table["caption"].tolist(), owners, tokenizer, max_tokens, append_end)
    return {name: Split(features, tokens, rows.index.to_numpy()) for name, rows in images.groupby("split")}
