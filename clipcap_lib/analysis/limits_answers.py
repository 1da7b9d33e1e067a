"""The answer to "What limits ClipCap?", in sentences whose every number is computed from the runs."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from clipcap_lib.analysis.changes import RIGHT, Change, capital, holds_zero, interval_text, listed
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.limits import LimitsStudy, describe_arm
from clipcap_lib.analysis.loss_curves import seed_interval
from clipcap_lib.emoji.attributes import ATTRIBUTES, ENOUGH_PICTURES
from clipcap_lib.settings import MAPPINGS


def conclude_limits(study: LimitsStudy) -> list[str]:
    """Sentences that say what limits these runs, each arm at its best learning rate; what may be chance is said."""
    best = study.at_best_rates()
    sentences = [said for answer in (_data, _vector, _bridge) for said in answer(best)]
    return [*(sentences or [_ranking(best)]), _basis(best), *_best_rates(study), *_equal_time(best)]


# --- the data ------------------------------------------------------------------------------------------------------


def _data(study: LimitsStudy) -> Iterator[str]:
    """Whether the MLP's lead shrinks with data, and what more data does to captions."""
    if "used_images" not in study.factors:
        return
    few, many = study.values("used_images")[:: len(study.values("used_images")) - 1]
    for context, part in _contexts(study, "used_images", "mapping"):
        mappings = part.values("mapping")
        if "mlp" in mappings:
            yield from (_lead(part, other, few, many, context) for other in mappings if other != "mlp")
        yield from (_more_data(part.where(mapping=mapping), mapping, few, many, context) for mapping in mappings)


def _lead(part: LimitsStudy, other: str, few: int, many: int, context: str) -> str:
    """How far the MLP's loss lies below another's, as a share of that, with few and with many pictures."""
    table = pd.DataFrame({
        (name, images): part.where(mapping=name, used_images=images).losses()
        for name, images in product(("mlp", other), (few, many))
    }).dropna()  # fmt: skip
    means = table.mean()
    lead = {images: 1 - table["mlp", images] / table[other, images] for images in (few, many)}
    change, interval = (lead[many] - lead[few]).mean(), seed_interval(lead[many] - lead[few])
    told = [
        f"with {images:,} training pictures the MLP's dev loss is {means['mlp', images]:.3f} against "
        f"{MAPPINGS[other]}'s {means[other, images]:.3f} ({_percent(lead[images].mean())})"
        for images in (few, many)
    ]
    turn = _turn(lead[few].mean(), change)
    return capital(f"{context}{told[0]}, {told[1]}: {turn}, {_edges(change, interval)}.")


def _percent(lead: float) -> str:
    return f"{abs(lead):.0%} {'lower' if lead > 0 else 'higher'}"


def _turn(lead: float, change: float) -> str:
    """What becomes of a lead with more data."""
    if lead <= 0:
        return "the MLP was not ahead to begin with, and the gap " + ("closes" if change > 0 else "widens")
    return "its lead " + ("grows" if change >= 0 else "shrinks" if lead + change > 0 else "turns into a lag")


def _edges(change: float, interval: tuple[float, float] | None) -> str:
    points = f"by {abs(change) * 100:.1f} points"
    if interval is None:
        return f"{points}, which one seed cannot tell from chance"
    edges = interval_text(tuple(100 * edge for edge in interval), form="+.1f")
    return f"{points}{', which may be chance' if holds_zero(interval) else ''} (change {change * 100:+.1f}, {edges})"


def _more_data(part: LimitsStudy, mapping: str, few: int, many: int, context: str) -> str:
    before, after = (part.where(used_images=images) for images in (few, many))
    told = _attributes(before, after, ["all"])
    falls = f"{before.losses().mean():.3f} → {after.losses().mean():.3f}"
    right = f"; captions {told[0]}" if told else ""
    return capital(f"{context}from {few:,} to {many:,} training pictures {MAPPINGS[mapping]}'s loss: {falls}{right}.")


# --- the vector and the bridge -------------------------------------------------------------------------------------


def _vector(study: LimitsStudy) -> Iterator[str]:
    """Whether the pooled vector is the bottleneck, and for which attributes."""
    yield from _duel(study, "features", "pooled", "grid", "The pooled vector")


def _bridge(study: LimitsStudy) -> Iterator[str]:
    """Which bridge suits which tuning."""
    yield from _duel(study, "bridge", "prefix", "cross-attention", "The prefix")


def _duel(study: LimitsStudy, factor: str, usual: str, other: str, what: str) -> Iterator[str]:
    """One value of a factor against another, all else equal: a headline, and a sentence for each context."""
    if factor not in study.factors or not {usual, other} <= set(study.values(factor)):
        return
    parts = {context: (part.where(**{factor: usual}), part.where(**{factor: other}))
             for context, part in _contexts(study, factor)}  # fmt: skip
    changes = {context: change for context, pair in parts.items() if (change := _change(*pair))}
    if not changes:
        return
    better = [context for context, change in changes.items() if change.clear and change.by < 0]
    worse = [context for context, change in changes.items() if change.clear and change.by > 0]
    yield _verdict(what, other, len(changes), better, worse)
    for context, change in changes.items():
        yield capital(f"{context}{_told(usual, other, change)}; {_captions(*parts[context])}.")


def _verdict(what: str, other: str, total: int, better: list[str], worse: list[str]) -> str:
    """In how many contexts another value is clearly better."""
    if not better and not worse:
        return f"{what} does not limit these runs as far as they show: no change to {other} is more than chance may do."
    names = [f"in {len(better)} of {total} comparisons {other} has the lower dev loss{_where(better)}"] * bool(better)
    names += [f"in {len(worse)} of {total} the higher{_where(worse)}"] * bool(worse)
    rest = total - len(better) - len(worse)
    chance = f", and in {rest} the difference may be chance" if rest else ""
    return f"{what} {'limits these runs' if better else 'does not limit these runs'}: {', '.join(names)}{chance}."


def _where(contexts: list[str]) -> str:
    named = [context.removeprefix("with ").removesuffix(", ") for context in contexts if context]
    return f" ({'; '.join(named)})" if named else ""


def _told(usual: str, other: str, change: Change) -> str:
    chance = "" if change.clear else ", which may be chance"
    interval = f", {interval_text(change.interval, form='+z.3f')}" if change.interval else ""
    return (
        f"{other} has a dev loss of {change.after:.3f} against {change.before:.3f} with {usual} "
        f"(difference {change.by:+.3f}{interval}{chance})"
    )


def _captions(before: LimitsStudy, after: LimitsStudy) -> str:
    told = _attributes(before, after, ATTRIBUTES)
    return f"its captions {listed(told)}" if told else "no difference of captions is more than chance may do"


def _attributes(before: LimitsStudy, after: LimitsStudy, names: list[str]) -> list[str]:
    """What captions name rightly clearly more or less often; the intervals hold for all the attributes together."""
    one, other, found = before.captions(), after.captions(), []
    for name in one.columns.intersection(other.columns).intersection(names):
        pair = pd.DataFrame({"before": one[name], "after": other[name]}).dropna()
        if len(pair) < ENOUGH_PICTURES:
            continue
        delta, low, high = paired_difference(pair["before"], pair["after"], 1 - 0.05 / len(names))
        if not holds_zero((low, high)):
            shares = f"{pair['after'].mean():.0%} against {pair['before'].mean():.0%} of {len(pair)} pictures"
            found.append(
                f"{RIGHT[name]} in {shares} ({100 * delta:+.0f} points, {100 * low:+.0f} to {100 * high:+.0f})"
            )
    return found


def _change(before: LimitsStudy, after: LimitsStudy) -> Change | None:
    """From one set of runs to another, over the seeds that both have."""
    both = pd.DataFrame({"before": before.losses(), "after": after.losses()}).dropna()
    if both.empty:
        return None
    return Change(*both.mean().round(3), seed_interval(both["after"] - both["before"]))


def _contexts(study: LimitsStudy, *without: str) -> Iterator[tuple[str, LimitsStudy]]:
    """The runs for each choice of the other factors, with how a sentence begins about them."""
    others = [key for key in study.factors if key not in without]
    for chosen in product(*(study.values(key) for key in others)):
        values: dict[str, Any] = dict(zip(others, chosen, strict=True))
        if (part := study.where(**values)).runs:
            yield f"with {describe_arm(values)}, " if values else "", part


# --- what it rests on ----------------------------------------------------------------------------------------------


def _ranking(study: LimitsStudy) -> str:
    told = [
        f"{arm} {loss:.3f}" for arm, loss in study.table.groupby("arm")["best_dev_loss"].mean().sort_values().items()
    ]
    return f"Lowest mean dev loss (nats a token) first: {'; '.join(told)}."


def _basis(study: LimitsStudy) -> str:
    seeds = len(set(study.table["seed"]))
    grounds = "one seed, so that an effect cannot be told from chance" if seeds == 1 else f"{seeds} seeds"
    return (
        f"This rests on {grounds}: intervals of losses are 95 % t-intervals over seeds, paired; those of captions are "
        "over pictures, of the mean over seeds, and hold for all that is named in a sentence together."
    )


def _best_rates(study: LimitsStudy) -> Iterator[str]:
    """Each arm's learning rate, and where it lies at the edge of what was tried."""
    table = study.by_rate()
    if table.shape[1] == 1:
        return
    best = table.idxmin(axis=1)
    edge = [arm for arm, rate in best.items() if rate in (table.columns[0], table.columns[-1])]
    told = [f"{_rate(rate)} for {listed(list(arms.index))}" for rate, arms in best.groupby(best)]
    beyond = f" For {len(edge)} of {len(best)} it is at the edge of what was tried: a better one may lie beyond."
    stands = f"Each arm stands at the learning rate with its lowest mean dev loss: {'; '.join(told)}."
    yield stands + (beyond if edge else "")


def _rate(rate: float | tuple[float, ...]) -> str:
    """A rate, or several that are one."""
    rates = dict.fromkeys(np.atleast_1d(np.asarray(rate, dtype=float)).tolist())
    return " and ".join(f"{value:g}" for value in rates)


def _equal_time(study: LimitsStudy) -> Iterator[str]:
    """Whether another arm leads where all train as long as the quickest."""
    costs = study.costs()
    if len(costs) < 2:
        return
    ahead, timed = costs["best_dev_loss"].idxmin(), costs["at equal time"].idxmin()
    seconds = costs["seconds"].min()
    leads = "still leads" if ahead == timed else f"no longer leads: {timed} does"
    yield (
        f"After the {seconds:.0f} s that the quickest arm trained, {ahead}, which has the lowest loss in the end, "
        f"{leads} ({costs['at equal time'].min():.3f})."
    )
