"""What is known of pictures that others published as embeddings, whatever file it came in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from clipcap_lib.features import Rows  # with it come encoders, which take seconds


@dataclass(frozen=True)
class PublishedEmbeddings:
    """`captions`: image_id, caption; row `rows` [images] of `vectors` is the embedding [D] of each of `image_ids`."""

    captions: pd.DataFrame
    image_ids: list[str]
    vectors: "np.ndarray | Rows"
    rows: np.ndarray
