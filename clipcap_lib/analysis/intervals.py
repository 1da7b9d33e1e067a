"""Intervals over images: of a difference, and of several sets of captions side by side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clipcap_lib.metrics.reference import RESAMPLES, DocumentFrequencies, bootstrap_draws, score
from clipcap_lib.metrics.tokenizers import Tokeniser


def paired_difference(
    before: pd.Series, after: pd.Series, confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Mean of `after` − `before` over the images that both have a value for, and its interval.

    The interval is of a bootstrap over images: each is drawn with both its values.
    """
    difference = (after - before).dropna().to_numpy(dtype=float)
    means = bootstrap_draws(len(difference), resamples, seed=0) @ difference / len(difference)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(difference.mean()), float(low), float(high)


def interval_table(
    captions: dict[str, dict[str, str]], references: dict[str, list[str]],
    protocols: dict[Tokeniser, DocumentFrequencies], metrics: Sequence[str] = ("CIDEr-D", "BLEU-4", "ROUGE-L"),
) -> pd.DataFrame:  # fmt: skip
    """Value and 95 % interval of several sets of captions of the same images, as text: a row a set.

    Columns are (protocol, metric), a protocol for each tokeniser with its document frequencies: numbers in one column
    may be compared with one another and with nothing else.
    """
    rows = {name: {} for name in captions}
    for tokeniser, frequencies in protocols.items():
        for name, made in captions.items():
            found = score(made, references, tokeniser, frequencies)
            for metric in metrics:
                low, high = found.intervals.loc[metric]
                rows[name][found.protocol, metric] = f"{found.corpus[metric]:.3f}  [{low:.3f}, {high:.3f}]"
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1)
