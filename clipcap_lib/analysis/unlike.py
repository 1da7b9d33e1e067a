"""Pictures unlike all that a run was trained on: told by their cosine to the nearest training picture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clipcap_lib.corpus.corpus import VECTORS, PreparedCorpus
from clipcap_lib.corpus.features import corpus_features, taken
from clipcap_lib.encoders import Encoder
from clipcap_lib.runs import read_json

COMPARED = 10_000  # training pictures that others are compared with, at most
ASKED = 2_000  # of these, at most so many are asked how near their nearest other one lies
RARE = 0.01  # of the training pictures lie farther from their nearest other one than `usual`
SAME = 0.999  # from this cosine on two pictures are one, perhaps saved anew: a copy says nothing about others
CHUNK = 500  # pictures compared, or grids read, at once
KNOWN = {"emoji-scenes": ": this run knows drawings only"}  # by corpus


@dataclass(frozen=True, eq=False)
class SeenPictures:
    """Training pictures as directions [N, D]; 99 % of them have another one at a cosine of at least `usual`."""

    directions: Tensor
    usual: float

    @classmethod
    def of(cls, embeddings: Tensor) -> "SeenPictures":
        """Those of training embeddings [N, D]: all, or 10,000 drawn by a fixed seed.

        Of 9,000 × 512 it takes about a second.
        """
        directions = F.normalize(embeddings[_drawn(len(embeddings))], dim=-1)
        nearest = torch.cat([_nearest_other(part, directions) for part in directions[:ASKED].split(CHUNK)])
        return cls(directions, nearest.quantile(RARE).item())

    def nearest(self, feature: Tensor) -> float:
        """The cosine of a picture's embedding [D], or grid [T, D], with the nearest training picture's."""
        return (self.directions @ F.normalize(_pooled(feature[None])[0], dim=-1)).max().item()


def unlike_training(feature: Tensor, seen: SeenPictures, corpus: str = "files") -> str | None:
    """What to say of a picture, by its embedding [D] or grid [T, D], that is unlike all training pictures; or `None`.

    It is unlike them where the nearest is farther away than 99 % of them have their own nearest other one. `corpus` is
    that of the run's parameters.
    """
    if (cosine := seen.nearest(feature)) >= seen.usual:
        return None
    return (
        f"unlike anything this run has seen (nearest training picture: cosine {cosine:.2f}; {100 * (1 - RARE):.0f} % "
        f"of its training pictures have one above {seen.usual:.2f}){KNOWN.get(corpus, '')}"
    )


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
        raise LookupError(
            "its corpus or the embeddings of its training pictures are no longer in data/; notebook 03 makes them anew"
        ) from None
    starts = range(0, len(features), CHUNK)
    return SeenPictures.of(torch.cat([_pooled(features.tensor(slice(start, start + CHUNK))) for start in starts]))


def _drawn(count: int) -> np.ndarray:
    return taken(np.arange(count), min(count, COMPARED), seed=0)


def _nearest_other(part: Tensor, directions: Tensor) -> Tensor:
    cosines = part @ directions.T
    return cosines.where(cosines < SAME, -1).amax(-1)


def _pooled(features: Tensor) -> Tensor:
    return features.mean(1) if features.ndim == 3 else features


def _kept_corpus(folder: Path) -> PreparedCorpus:
    """A prepared corpus as it is on disk, whatever version of the library made it."""
    vectors = np.load(folder / VECTORS, mmap_mode="r") if (folder / VECTORS).exists() else None
    return PreparedCorpus(pd.read_parquet(folder / "captions.parquet"), pd.DataFrame(), None, vectors, folder.name)


def _refuse(picture: Image.Image) -> Tensor:
    raise ValueError("its features are not in the store")
