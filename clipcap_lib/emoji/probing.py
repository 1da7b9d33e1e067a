"""What can be read off embeddings by a linear classifier: a map of two directions cannot show it."""

from collections.abc import Sequence

import pandas as pd
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from clipcap_lib.emoji.attributes import factors
from clipcap_lib.emoji.language import Scene

RIDGE = 1e-3  # of the number of pictures: keeps directions that hardly vary from being trusted


def probe_table(
    train: Tensor, train_scenes: Sequence[Scene], test: Tensor, test_scenes: Sequence[Scene]
) -> pd.DataFrame:
    """How often each of a scene's factors, sizes too, is read off test embeddings [M, D], learned from train [N, D].

    Columns: read rightly, and guessing (the share that always saying the commonest would reach).
    """
    told, asked = (pd.DataFrame(map(_probed, scenes)) for scenes in (train_scenes, test_scenes))
    rows = {
        name: {
            "read rightly": (linear_probe(train, told[name], test) == asked[name]).mean(),
            "guessing": (asked[name] == told[name].mode()[0]).mean(),
        }
        for name in told
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _probed(scene: Scene) -> dict[str, str]:
    sizes = {group.size for group in scene.groups}
    return factors(scene) | {"sizes": sizes.pop() if len(sizes) == 1 else "big and small"}


def linear_probe(train: Tensor, labels: pd.Series, test: Tensor) -> pd.Series:
    """Labels [M] for test embeddings [M, D] by ridge regression of one-hot labels [N] on train embeddings [N, D]."""
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=RIDGE * len(train)))
    return pd.Series(probe.fit(train.double().numpy(), labels).predict(test.double().numpy()))
