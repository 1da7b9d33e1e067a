"""Sentences on attribute accuracy: a sentence a split, with what was judged and on how few pictures."""

import pandas as pd
import pytest

from clipcap_lib.analysis.accuracy import describe_accuracy
from clipcap_lib.emoji.attributes import ATTRIBUTES


def shares(run: str, split: str, **judged: tuple[float, int]) -> pd.Series:
    """The row of a run in a split: of each attribute its share and the pictures it rests on."""
    found = dict.fromkeys(ATTRIBUTES, (float("nan"), 0)) | judged
    numbers = {key: value for name, (share, pictures) in found.items()
               for key, value in ((name, share), (f"n_{name}", pictures))}  # fmt: skip
    return pd.Series({"split": split, **numbers}, name=run)


@pytest.fixture
def accuracy() -> pd.DataFrame:
    """Run a in both splits, run b in one, run c with nothing judged."""
    return pd.DataFrame([
        shares("a", "test", objects=(0.5, 40), count=(1.0, 30), relation=(0.5, 6), all=(0.25, 40)),
        shares("a", "test_compositional", objects=(1.0, 40), size=(0.0, 29), all=(0.0, 40)),
        shares("b", "test", all=(0.1, 40)),
        shares("c", "test"),
    ])  # fmt: skip


def test_a_sentence_a_split_names_the_shares_that_were_judged_and_how_few_pictures_some_rest_on(accuracy):
    assert describe_accuracy(accuracy, "a") == [
        "On held-out pictures, captions of the best run (a) are right in: "
        "objects 50.0%, count 100.0%, relation 50% of only 6, all 25.0%.",
        "On never-trained object pairs and counts, captions of the best run (a) are right in: "
        "objects 100.0%, size 0% of only 29, all 0.0%.",
    ]


def test_shares_of_no_picture_make_no_sentence(accuracy):
    assert describe_accuracy(accuracy, "c") == []
