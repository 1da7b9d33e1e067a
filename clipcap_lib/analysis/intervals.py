"""Intervals over images: of a difference, and of several sets of captions side by side."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from clipcap_lib.metrics.reference import RESAMPLES, DocumentFrequencies, bootstrap_draws, protocol, score
from clipcap_lib.metrics.tokenizers import Tokeniser
from clipcap_lib.wording import say


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


def pictures_to_settle(before: pd.Series, after: pd.Series) -> float:
    """How many images would make the 95 % interval of this mean difference exclude 0; infinity where it is 0.

    Were the mean and the spread of the difference to stay as they are: n = (1.96 · spread / mean)².
    """
    difference = (after - before).dropna().astype(float)
    mean = difference.mean()
    return math.inf if mean == 0 or len(difference) < 2 else math.ceil((1.96 * difference.std() / mean) ** 2)


def paired_table(scores: dict[str, pd.DataFrame], against: str) -> pd.DataFrame:
    """What each set of captions has more than one of them, image by image, with 95 % intervals.

    `scores`: by name a row an image, a column a metric. Returns a row a name but `against`, with columns (metric,
    "difference" | "low" | "high"); nothing for a metric of which no image has both values.
    """
    rows = {name: _paired(scores[against], own) for name, own in scores.items() if name != against}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["metric", ""])
    return table


def _paired(before: pd.DataFrame, after: pd.DataFrame) -> dict[tuple[str, str], float]:
    found = {
        metric: paired_difference(before[metric], after[metric]) for metric in before
        if metric in after and (after[metric] - before[metric]).notna().any()
    }  # fmt: skip
    return {(metric, part): value for metric, row in found.items()
            for part, value in zip(("difference", "low", "high"), row, strict=True)}  # fmt: skip


def interval_table(
    captions: dict[str, dict[str, str]], references: dict[str, list[str]],
    protocols: dict[Tokeniser, DocumentFrequencies], metrics: Sequence[str] = ("CIDEr-D", "BLEU-4", "ROUGE-L"),
) -> pd.DataFrame:  # fmt: skip
    """Value and 95 % interval of several sets of captions of the same images, as text: a row a set.

    Columns are (protocol, metric), a protocol for each tokeniser with its document frequencies: numbers in one column
    may be compared with one another and with nothing else. Protocols are told in the reader's language.
    """
    rows = {name: {} for name in captions}
    for tokeniser, frequencies in protocols.items():
        told = protocol(references, tokeniser, frequencies, say)
        for name, made in captions.items():
            found = score(made, references, tokeniser, frequencies)
            for metric in metrics:
                low, high = found.intervals.loc[metric]
                rows[name][told, metric] = f"{found.corpus[metric]:.3f}  [{low:.3f}, {high:.3f}]"
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1)
