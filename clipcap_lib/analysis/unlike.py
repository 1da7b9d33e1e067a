"""Pictures unlike all that a run was trained on: told by how far their nearest training picture is.

Distances are Euclidean, between embeddings as the encoder makes them: noise or one plain colour can point where the
training pictures do and only be much longer, which a cosine does not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from clipcap_lib.corpus.corpus import VECTORS, PreparedCorpus
from clipcap_lib.corpus.features import corpus_features, taken
from clipcap_lib.encoders import Encoder
from clipcap_lib.files import read_json
from clipcap_lib.wording import say

COMPARED = 10_000  # training pictures that others are compared with, at most
ASKED = 2_000  # of these, at most so many are asked how far their nearest other one is
USUAL = 0.99  # of them are not farther from it than `usual`
SAME = 0.04  # of its length: within it lies the same picture, perhaps saved anew, which says nothing of others
CHUNK = 500  # pictures compared, or grids read, at once


@dataclass(frozen=True, eq=False)
class SeenPictures:
    """Training pictures by their embeddings [N, D]; 99 % of them have another one within the distance `usual`."""

    embeddings: Tensor
    usual: float

    @classmethod
    def of(cls, embeddings: Tensor) -> "SeenPictures":
        """Those of training embeddings [N, D]: all, or 10,000 drawn by a fixed seed.

        Of 9,000 × 512 it takes about a second.
        """
        some = embeddings[_drawn(len(embeddings))]
        nearest = torch.cat([_nearest_other(part, some) for part in some[:ASKED].split(CHUNK)])
        return cls(some, nearest.quantile(USUAL, interpolation="higher").item())

    def distance(self, feature: Tensor) -> float:
        """How far the nearest training picture is from a picture's embedding [D] or grid [T, D]."""
        return torch.cdist(_pooled(feature[None]), self.embeddings).min().item()


def unlike_training(feature: Tensor, seen: SeenPictures, corpus: str = "files") -> str | None:
    """What to say of a picture, by its embedding [D] or grid [T, D], that is unlike all training pictures; or `None`.

    It is unlike them where the nearest is farther away than 99 % of them have their own nearest other one. `corpus` is
    that of the run's parameters.
    """
    if (distance := seen.distance(feature)) <= seen.usual:
        return None
    unlike = say(
        "unlike anything this run has seen (nearest training picture: distance {distance:.3g}; {percent:.0f} % of its "
        "training pictures have another one within {usual:.3g})",
        distance=distance,
        percent=100 * USUAL,
        usual=seen.usual,
    )
    return say("{unlike}: this run knows drawings only", unlike=unlike) if corpus == "emoji-scenes" else unlike


def seen_by(run: Path, params: Mapping[str, Any], encoder: Encoder) -> SeenPictures:
    """The training pictures of a run, by what the current folder keeps in `data/`: nothing is prepared or embedded.

    Of a run on grids a picture is the mean of its tokens. Raises `LookupError` where something is gone.
    """
    try:
        corpus = _kept_corpus(Path("data/prepared") / read_json(run / "provenance.json")["data"])
        train = corpus.images.index[corpus.images["split"] == "train"].to_numpy()
        train = taken(train, params.get("used_images", 0), params["data_seed"])
        pictures, reader = corpus.images.loc[train[_drawn(len(train))]], replace(encoder, preprocess=_refuse)
        features = corpus_features(corpus, reader, pictures, params.get("features", "pooled"))
    except (OSError, ValueError, KeyError):
        gone = say(
            "its corpus or the embeddings of its training pictures are no longer in data/; notebook 03 makes them anew"
        )
        raise LookupError(gone) from None
    starts = range(0, len(features), CHUNK)
    return SeenPictures.of(torch.cat([_pooled(features.tensor(slice(start, start + CHUNK))) for start in starts]))


def _drawn(count: int) -> np.ndarray:
    return taken(np.arange(count), min(count, COMPARED), seed=0)


def _nearest_other(part: Tensor, embeddings: Tensor) -> Tensor:
    distances = torch.cdist(part, embeddings)
    return distances.where(distances > SAME * part.norm(dim=-1, keepdim=True), torch.inf).amin(-1)


def _pooled(features: Tensor) -> Tensor:
    return features.mean(1) if features.ndim == 3 else features


def _kept_corpus(folder: Path) -> PreparedCorpus:
    """A prepared corpus as it is on disk, whatever version of the library made it."""
    vectors = np.load(folder / VECTORS, mmap_mode="r") if (folder / VECTORS).exists() else None
    return PreparedCorpus(pd.read_parquet(folder / "captions.parquet"), pd.DataFrame(), None, vectors, folder.name)


def _refuse(picture: Image.Image) -> Tensor:
    raise ValueError("its features are not in the store")
