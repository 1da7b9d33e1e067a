"""What a linear classifier reads off a picture's pooled embedding, and what off its grid of tokens."""

from typing import Any

import pandas as pd

from clipcap_lib.corpus.corpus import PreparedCorpus, load_corpus
from clipcap_lib.corpus.features import corpus_features
from clipcap_lib.emoji.probing import probe_table
from clipcap_lib.encoders import Encoder, FeatureKind, load_encoder


def probe_features(parameters: dict[str, Any], pictures: int) -> pd.DataFrame:
    """How often each factor of a scene is read rightly off test pictures: pooled, grid, and guessing.

    Probes learn from the first `pictures` of the training split; the tokens of a grid stand side by side for them.
    """
    corpus, encoder = load_corpus(parameters), load_encoder(parameters["encoder"])
    pooled, grid = (_probe(corpus, encoder, kind, pictures) for kind in ("pooled", "grid"))
    columns = {"pooled": pooled["read rightly"], "grid": grid["read rightly"], "guessing": pooled["guessing"]}
    return pd.DataFrame(columns)


def _probe(corpus: PreparedCorpus, encoder: Encoder, kind: FeatureKind, pictures: int) -> pd.DataFrame:
    images, known = corpus.images, []
    for split, count in (("train", pictures), ("test", None)):
        rows = images[images["split"] == split].iloc[:count]
        known += [corpus_features(corpus, encoder, rows, kind).tensor().flatten(1)]
        known += [[corpus.scenes[name] for name in rows["image_id"]]]
    return probe_table(*known)
