"""Where the loss goes one way and captions of test pictures clearly the other, in sentences."""

from itertools import combinations

import pandas as pd

from clipcap_lib.analysis.changes import Change, holds_zero, interval_text, named_rightly, telling_digits, told_together
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.mapping_losses import (
    Cell,
    change_between,
    mapping_name,
    mappings_of,
    step_between,
    tunings_of,
    way_of_tuning,
    with_shared_seeds,
)
from clipcap_lib.emoji.attributes import ENOUGH_PICTURES
from clipcap_lib.runs import Run
from clipcap_lib.wording import say

MOST = 3  # measures that are named where loss and captions disagree


def loss_against_captions(runs: list[Run], scores: list[pd.DataFrame], losses: pd.DataFrame) -> list[str]:
    """A sentence for each two cells where the loss goes one way and captions of test pictures clearly the other."""
    by_run = dict(zip(map(_place, runs), scores, strict=True))
    sentences = []
    for before, after in _contrasts(losses):
        change = change_between(losses, before, after)
        if change and change.clear:
            seeds = with_shared_seeds(losses, before, after).index
            tables = [_over_seeds([by_run[*cell, seed] for seed in seeds]) for cell in (before, after)]
            if measures := _opposed(*tables, change.by, in_order=before[0] == after[0]):
                parts = {"loss": _loss_says(before, after, change), "measures": told_together(measures)}
                sentences.append(say("Loss and captions disagree: {loss}, yet its captions {measures}.", **parts))
    return sentences


def _place(run: Run) -> tuple[str, str, int]:
    return run.params["mapping"], run.params["tuning"], run.params["seed"]


def _contrasts(losses: pd.DataFrame) -> list[tuple[Cell, Cell]]:
    """Two tunings of each mapping network, and MLP against BERT under each tuning, the lower loss last."""
    tunings = tunings_of(losses)
    tuned = [((name, one), (name, other)) for name in mappings_of(losses) for one, other in combinations(tunings, 2)]
    means = [with_shared_seeds(losses, ("bert", tuning), ("mlp", tuning)).mean() for tuning in tunings]
    return tuned + [tuple(pair.sort_values(ascending=False).index) for pair in means]


def _over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean scores of each picture."""
    return pd.concat(tables).groupby(level=0, sort=False).mean()


def _loss_says(before: Cell, after: Cell, change: Change) -> str:
    if before[0] != after[0]:
        names = {"way": way_of_tuning(after[1]), "better": mapping_name(after[0]), "worse": mapping_name(before[0])}
        return say(
            "{way}, {better}'s loss is lower than {worse}'s ({lower:.3f} against {higher:.3f})",
            **names,
            lower=change.after,
            higher=change.before,
        )
    parts = {"step": step_between(before[1], after[1]), "mapping": mapping_name(after[0]), "arrow": change.arrow}
    if change.by < 0:
        return say("{step} lowers {mapping}'s loss ({arrow})", **parts)
    return say("{step} raises {mapping}'s loss ({arrow})", **parts)


def _opposed(before: pd.DataFrame, after: pd.DataFrame, change: float, in_order: bool) -> list[str]:
    """What captions do clearly against a change of the loss, the clearest first.

    `in_order` tells two values as a step from the one to the other.
    """
    found = []
    for name in before.columns.intersection(after.columns):
        pair = pd.DataFrame({"before": before[name], "after": after[name]}).dropna()
        if len(pair) < ENOUGH_PICTURES:
            continue
        delta, *edges = paired_difference(pair["before"], pair["after"])
        if delta * change > 0 and not holds_zero(edges):  # captions are better the higher, the loss the lower
            found.append(((edges[1] - edges[0]) / abs(delta), _measure(name, pair, edges, in_order, len(before))))
    return [text for _, text in sorted(found)[:MOST]]


def _measure(name: str, pair: pd.DataFrame, edges: list[float], in_order: bool, pictures: int) -> str:
    """A measure's two values on the pictures judged in both, and their difference."""
    scale, digits = (1, 2) if name == "CIDEr-D" else (100, 0)
    values, edges = pair.mean() * scale, [scale * edge for edge in edges]
    digits = telling_digits(values, edges, digits)
    first, last = values.round(digits)
    values = {"first": f"{first:.{digits}f}", "last": f"{last:.{digits}f}"}
    form, difference = f"+z.{digits}f", last - first
    parts = {
        "values": say("{first} → {last}", **values) if in_order else say("{last} against {first}", **values),
        "shown": _judged(len(pair), pictures),
        "difference": f"{difference:{form}}",
        "interval": interval_text(edges, form=form),
    }
    return _scored(difference > 0, parts) if name == "CIDEr-D" else _often(name, difference > 0, parts)


def _judged(count: int, pictures: int) -> str:
    if count == pictures:
        return say("{count} test pictures", count=count)
    return say("the {count} test pictures where it is judged", count=count)


def _scored(higher: bool, parts: dict[str, str]) -> str:
    if higher:
        return say("have a higher CIDEr-D ({values} on {shown}; difference {difference}, {interval})", **parts)
    return say("have a lower CIDEr-D ({values} on {shown}; difference {difference}, {interval})", **parts)


def _often(attribute: str, more: bool, parts: dict[str, str]) -> str:
    parts = parts | {"right": named_rightly(attribute)}
    if more:
        return say("{right} more often ({values} % of {shown}; difference {difference} points, {interval})", **parts)
    return say("{right} less often ({values} % of {shown}; difference {difference} points, {interval})", **parts)
