"""The pictures of a corpus whose embeddings lie nearest to a given one."""

import pandas as pd
import torch.nn.functional as F
from torch import Tensor


def nearest_pictures(feature: Tensor, features: Tensor, pictures: pd.DataFrame, count: int = 6) -> pd.DataFrame:
    """The `count` rows of `pictures` nearest to an embedding [D] by cosine, nearest first, with a column `cosine`.

    `features` [N, D] are the embeddings of `pictures`, row by row.
    """
    cosines = F.normalize(features, dim=-1) @ F.normalize(feature, dim=-1)
    best, rows = cosines.topk(min(count, len(pictures)))
    return pictures.iloc[rows.tolist()].assign(cosine=best.tolist())
