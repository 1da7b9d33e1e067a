"""How often captions of scenes name rightly what is there, in sentences."""

import pandas as pd

from clipcap_lib.analysis.changes import enumerated
from clipcap_lib.emoji.attributes import ATTRIBUTES, ENOUGH_PICTURES
from clipcap_lib.wording import say, term


def split_names() -> dict[str, str]:
    """What a sentence calls the splits that captions are judged on."""
    return {"test": say("held-out pictures"), "test_compositional": say("never-trained object pairs and counts")}


def describe_accuracy(accuracy: pd.DataFrame, run: str) -> list[str]:
    """A sentence a split on the shares of one run, of a table by run with a column `split`."""
    of_run = accuracy.loc[[run]].set_index("split")
    told = {name: _shares(of_run.loc[split]) for split, name in split_names().items() if split in of_run.index}
    return [
        say(
            "On {pictures}, captions of the best run ({run}) are right in: {shares}.",
            pictures=name,
            run=run,
            shares=enumerated(shares),
        )
        for name, shares in told.items()
        if shares
    ]


def _shares(row: pd.Series) -> list[str]:
    """Each share that was judged, with its number of pictures where they are few."""
    judged = {name: int(row[f"n_{name}"]) for name in ATTRIBUTES if row[f"n_{name}"]}
    return [_share(term(name), row[name], pictures) for name, pictures in judged.items()]


def _share(attribute: str, share: float, pictures: int) -> str:
    if pictures >= ENOUGH_PICTURES:
        return f"{attribute} {share:.1%}"
    return say("{attribute} {share:.0%} of only {pictures}", attribute=attribute, share=share, pictures=pictures)
