"""What the runs of an experiment have in common: losses, how fast they fell, and the scores of their captions."""

from functools import cache
from math import sqrt

import numpy as np
import pandas as pd

from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.metrics.reference import DocumentFrequencies, score, training_frequencies
from clipcap_lib.metrics.tokenizers import DEFAULT, Tokeniser
from clipcap_lib.runs import Run, loss_curve, summary_table
from clipcap_lib.settings import Data, pick

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5 % quantiles, 1 to 9 degrees


def loss_table(runs: list[Run]) -> pd.DataFrame:
    """Best dev loss by mapping (rows) and tuning (columns), the mean over seeds, in nats a token."""
    table = summary_table(runs)
    return table.pivot_table(index="mapping", columns="tuning", values="best_dev_loss", sort=False)


def images_until(run: Run, loss: float) -> float | None:
    """How many images a run had seen when its dev loss first was at most `loss`; `None` if it never was.

    Between two evaluations the logarithm of the loss is taken to fall evenly: few evaluations make a coarse ruler.
    """
    dev = loss_curve(run.history, "dev").reset_index(drop=True)
    reached = dev.index[dev["value"] <= loss * (1 + 1e-9)]  # a loss read from text may differ in its last digit
    if reached.empty:
        return None
    around = dev.loc[max(reached[0] - 1, 0) : reached[0]].iloc[::-1]  # np.interp wants the lower loss first
    return float(np.interp(np.log(loss), np.log(around["value"]), around["images"]))


def still_falling(run: Run, least: float = 0.02) -> bool:
    """Whether the last evaluation of a run was its best and better than the one before by a share of `least`."""
    dev = loss_curve(run.history, "dev")["value"].tolist()
    return len(dev) > 1 and dev[-1] == min(dev) and dev[-1] < (1 - least) * dev[-2]


def seed_interval(differences: pd.Series) -> tuple[float, float] | None:
    """The 95 % t-interval of a mean over seeds; `None` for one seed. More than ten get the quantile of ten."""
    if (seeds := len(differences)) < 2:
        return None
    half = STUDENT[min(seeds, 10) - 2] * differences.std() / sqrt(seeds)
    return float(differences.mean() - half), float(differences.mean() + half)


# --- captions ------------------------------------------------------------------------------------------------------


def caption_scores(runs: list[Run]) -> list[pd.DataFrame]:
    """For each run the scores of its captions of test pictures: a row a picture, the attributes and CIDEr-D.

    Words are weighed by the training captions. Rows are named by the picture's path: its id may be another picture's
    in another corpus.
    """
    yardstick = cache(_yardstick)  # the runs of an experiment share one
    return [_scores(run, *yardstick(pick(Data, run.params))) for run in runs]


def _yardstick(data: Data) -> tuple[pd.Series, DocumentFrequencies, Tokeniser]:
    """References by image, and what weighs their words."""
    prepared, tokeniser = prepare_corpus(data), DEFAULT[data.language]
    return prepared.references(), training_frequencies(prepared.table, tokeniser), tokeniser


def _scores(run: Run, references: pd.Series, frequencies: DocumentFrequencies, tokeniser: Tokeniser) -> pd.DataFrame:
    captions = run.captions[run.captions["split"] == "test"].set_index("image_id")
    given = references[captions.index].to_dict()
    cider = score(captions["caption"].to_dict(), given, tokeniser, frequencies, resamples=1).images["CIDEr-D"]
    known = [name for name in ATTRIBUTES if name in captions]
    paths = captions["image_path"].where(captions["image_path"] != "", captions.index)
    return captions[known].astype(float).assign(**{"CIDEr-D": cider}).set_axis(paths)
