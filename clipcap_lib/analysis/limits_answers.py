"""The answer to "What limits ClipCap?", in sentences whose every number is computed from the runs."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from clipcap_lib.analysis.changes import (
    Change,
    apart,
    capital,
    holds_zero,
    in_a_row,
    interval_text,
    listed,
    named_rightly,
    telling_digits,
    told_together,
)
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.limits import LimitsStudy, describe_arm
from clipcap_lib.analysis.loss_curves import seed_interval
from clipcap_lib.emoji.attributes import ATTRIBUTES, ENOUGH_PICTURES
from clipcap_lib.settings import MAPPINGS
from clipcap_lib.wording import say, term

MEASURED_ON = (  # settings that change what a dev loss is measured on
    "corpus", "language", "data_seed", "dev_images", "test_images", "compositional_images", "captions_file",
    "dev_captions_file", "test_captions_file", "images", "splits_file", "duplicates", "dev_split", "language_model",
    "max_caption_tokens",
)  # fmt: skip


def conclude_limits(study: LimitsStudy) -> list[str]:
    """Sentences that say what limits these runs, each arm at its best learning rate; what may be chance is said."""
    best = study.at_best_rates()
    told = [list(answer(best)) for answer in (_data, _vector, _bridge)]
    sentences = [said[0] for said in told if said] + [each for said in told for each in said[1:]]
    return [
        *_measured_elsewhere(study),
        *(sentences or [_ranking(best)]),
        _basis(best),
        *_best_rates(study),
        *_equal_time(best),
    ]


def answer_limits(study: LimitsStudy) -> list[str]:
    """A sentence for each question that the runs answer, with its intervals: the data, the vector, the bridge."""
    best = study.at_best_rates()
    firsts = (next(answer(best), None) for answer in (_data, _vector, _bridge))
    return [first for first in firsts if first]


def _measured_elsewhere(study: LimitsStudy) -> list[str]:
    """That losses cannot be compared where dev pictures, dev captions or tokens are not the same."""
    if not (keys := [key for key in study.factors if key in MEASURED_ON]):
        return []
    return [
        say(
            "These runs differ in {keys}: their losses are measured on other pictures or in other tokens, so that the "
            "lower one need not be the better.",
            keys=listed(list(map(term, keys))),
        )
    ]


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
        _with_pictures(images, means["mlp", images], other, means[other, images], lead[images].mean())
        for images in (few, many)
    ]
    parts = {"few": told[0], "many": told[1], "turn": _turn(lead[few].mean(), change)}
    return _within(context, say("{few}, {many}: {turn}, {edges}.", **parts, edges=_edges(change, interval)))


def _with_pictures(images: int, mlp: float, other: str, loss: float, lead: float) -> str:
    """The MLP's loss against another's with so many training pictures."""
    return say(
        "with {images:,} training pictures the MLP's dev loss is {mlp:.3f} against {other}'s {loss:.3f} ({lead})",
        images=images,
        mlp=mlp,
        other=term(MAPPINGS[other]),
        loss=loss,
        lead=_percent(lead),
    )


def _percent(lead: float) -> str:
    return say("{share:.0%} lower", share=lead) if lead > 0 else say("{share:.0%} higher", share=abs(lead))


def _turn(lead: float, change: float) -> str:
    """What becomes of a lead with more data."""
    if lead <= 0 and change > 0:
        return say("the MLP was not ahead to begin with, and the gap closes")
    if lead <= 0:
        return say("the MLP was not ahead to begin with, and the gap widens")
    if change >= 0:
        return say("its lead grows")
    return say("its lead shrinks") if lead + change > 0 else say("its lead turns into a lag")


def _edges(change: float, interval: tuple[float, float] | None) -> str:
    points = {"points": abs(change) * 100, "change": change * 100}
    if interval is None:
        return say("by {points:.1f} points, which one seed cannot tell from chance", points=points["points"])
    points |= {"interval": interval_text(tuple(100 * edge for edge in interval), form="+.1f")}
    if holds_zero(interval):
        return say("by {points:.1f} points, which may be chance (change {change:+.1f}, {interval})", **points)
    return say("by {points:.1f} points (change {change:+.1f}, {interval})", **points)


def _more_data(part: LimitsStudy, mapping: str, few: int, many: int, context: str) -> str:
    before, after = (part.where(used_images=images) for images in (few, many))
    told = _attributes(before, after, ["all"])
    parts = {"few": few, "many": many, "mapping": term(MAPPINGS[mapping])}
    parts |= {"before": before.losses().mean(), "after": after.losses().mean()}
    loss = say("from {few:,} to {many:,} training pictures {mapping}'s loss: {before:.3f} → {after:.3f}", **parts)
    if not told:
        return _within(context, say("{loss}.", loss=loss))
    return _within(context, say("{loss}; captions {measure}.", loss=loss, measure=told[0]))


# --- the vector and the bridge -------------------------------------------------------------------------------------


def _vector(study: LimitsStudy) -> Iterator[str]:
    """Whether the pooled vector is the bottleneck, and for which attributes."""
    yield from _duel(study, "features", "pooled", "grid", say("The pooled vector"))


def _bridge(study: LimitsStudy) -> Iterator[str]:
    """Which bridge suits which tuning."""
    yield from _duel(study, "bridge", "prefix", "cross-attention", say("The prefix"))


def _duel(study: LimitsStudy, factor: str, usual: str, other: str, what: str) -> Iterator[str]:
    """One value of a factor against another, all else equal: a headline, and a sentence for each context."""
    if factor not in study.factors or not {usual, other} <= set(study.values(factor)):
        return
    parts = {context: (part.where(**{factor: usual}), part.where(**{factor: other}))
             for context, part in _contexts(study, factor)}  # fmt: skip
    changes = {context: change for context, pair in parts.items() if (change := _change(*pair))}
    if not changes:
        return
    yield _verdict(what, other, changes)
    for context, change in changes.items():
        told = {"losses": _told(usual, other, change), "captions": _captions(*parts[context])}
        yield _within(context, say("{losses}; {captions}.", **told))


def _verdict(what: str, other: str, changes: dict[str, Change]) -> str:
    """In how many contexts another value is clearly better, with the difference of the losses in each."""
    better = {context: change for context, change in changes.items() if change.clear and change.by < 0}
    worse = {context: change for context, change in changes.items() if change.clear and change.by > 0}
    rest = {context: change for context, change in changes.items() if not change.clear}
    if not better and not worse:
        return say(
            "{what} does not limit these runs as far as they show: no change to {other} is more than chance may do "
            "({contexts}).",
            what=what, other=other, contexts=_measured(rest),
        )  # fmt: skip
    counts = {"total": len(changes), "other": other}
    told = [_lower(len(better), **counts, contexts=_measured(better))] if better else []
    told += [_higher(len(worse), **counts, contexts=_measured(worse))] if worse else []
    if rest:
        told.append(_unclear(len(rest), _measured(rest)))
    if better:
        return say("{what} limits these runs: {comparisons}.", what=what, comparisons=in_a_row(told))
    return say("{what} does not limit these runs: {comparisons}.", what=what, comparisons=in_a_row(told))


def _lower(count: int, total: int, other: str, contexts: str) -> str:
    return say(
        "in {count} of {total} comparisons {other} has the lower dev loss ({contexts})",
        count=count, total=total, other=other, contexts=contexts,
    )  # fmt: skip


def _higher(count: int, total: int, other: str, contexts: str) -> str:
    return say(
        "in {count} of {total} {other} has the higher ({contexts})",
        count=count, total=total, other=other, contexts=contexts,
    )  # fmt: skip


def _unclear(count: int, contexts: str) -> str:
    return say("in {count} the difference may be chance ({contexts})", count=count, contexts=contexts)


def _measured(changes: dict[str, Change]) -> str:
    """The difference of the losses in each context, with its interval where there are several seeds."""
    return apart([_by(context, change) for context, change in changes.items()])


def _by(context: str, change: Change) -> str:
    by = say("{context}: {by}", context=context, by=f"{change.by:+.3f}") if context else f"{change.by:+.3f}"
    return in_a_row([by, interval_text(change.interval, form="+z.3f")]) if change.interval else by


def _told(usual: str, other: str, change: Change) -> str:
    """The losses under two values of a factor, and their difference."""
    difference = [say("difference {by:+.3f}", by=change.by)]
    difference += [interval_text(change.interval, form="+z.3f")] if change.interval else []
    difference += [] if change.clear else [say("which may be chance")]
    return say(
        "{other} has a dev loss of {after:.3f} against {before:.3f} with {usual} ({difference})",
        other=other,
        after=change.after,
        before=change.before,
        usual=usual,
        difference=in_a_row(difference),
    )


def _captions(before: LimitsStudy, after: LimitsStudy) -> str:
    told = _attributes(before, after, ATTRIBUTES)
    if not told:
        return say("no difference of captions is more than chance may do")
    return say("its captions {measures}", measures=told_together(told))


def _attributes(before: LimitsStudy, after: LimitsStudy, names: list[str]) -> list[str]:
    """What captions name rightly clearly more or less often; the intervals hold for all the attributes together."""
    one, other, found = before.captions(), after.captions(), []
    for name in one.columns.intersection(other.columns).intersection(names):
        pair = pd.DataFrame({"before": one[name], "after": other[name]}).dropna()
        if len(pair) < ENOUGH_PICTURES:
            continue
        delta, low, high = paired_difference(pair["before"], pair["after"], 1 - 0.05 / len(names))
        if not holds_zero((low, high)):
            found.append(_named_in(name, pair, delta, (low, high)))
    return found


def _named_in(attribute: str, pair: pd.DataFrame, delta: float, edges: tuple[float, float]) -> str:
    """Of how many pictures an attribute is named rightly, before and after, in per cent, and the difference."""
    shares = [100 * pair[when].mean() for when in ("after", "before")]
    digits = telling_digits(shares, [100 * edge for edge in edges], 0)
    after, before = (f"{share:.{digits}f}" for share in shares)
    difference, low, high = (f"{100 * value:+z.{digits}f}" for value in (delta, *edges))
    return say(
        "{right} in {after}% against {before}% of {pictures} pictures ({difference} points, {low} to {high})",
        right=named_rightly(attribute), after=after, before=before, pictures=len(pair), difference=difference,
        low=low, high=high,
    )  # fmt: skip


def _change(before: LimitsStudy, after: LimitsStudy) -> Change | None:
    """From one set of runs to another, over the seeds that both have."""
    both = pd.DataFrame({"before": before.losses(), "after": after.losses()}).dropna()
    if both.empty:
        return None
    return Change(*both.mean().round(3), seed_interval(both["after"] - both["before"]))


def _contexts(study: LimitsStudy, *without: str) -> Iterator[tuple[str, LimitsStudy]]:
    """The runs for each choice of the other factors, with that choice in words; `''` where there are no others."""
    others = [key for key in study.factors if key not in without]
    for chosen in product(*(study.values(key) for key in others)):
        values: dict[str, Any] = dict(zip(others, chosen, strict=True))
        if (part := study.where(**values)).runs:
            yield describe_arm(values), part


def _within(context: str, sentence: str) -> str:
    """A sentence on the runs of a context, which is named first."""
    return capital(say("with {context}, {sentence}", context=context, sentence=sentence) if context else sentence)


# --- what it rests on ----------------------------------------------------------------------------------------------


def _ranking(study: LimitsStudy) -> str:
    told = [
        f"{arm} {loss:.3f}" for arm, loss in study.table.groupby("arm")["best_dev_loss"].mean().sort_values().items()
    ]
    return say("Lowest mean dev loss (nats a token) first: {told}.", told=apart(told))


def _basis(study: LimitsStudy) -> str:
    seeds = len(set(study.table["seed"]))
    one = say("one seed, so that an effect cannot be told from chance")
    return say(
        "This rests on {seeds}: intervals of losses are 95 % t-intervals over seeds, paired; those of captions are "
        "over pictures, of the mean over seeds, and hold for all that is named in a sentence together.",
        seeds=one if seeds == 1 else say("{seeds} seeds", seeds=seeds),
    )


def _best_rates(study: LimitsStudy) -> Iterator[str]:
    """Each arm's learning rate, and where it lies at the edge of what was tried."""
    table = study.by_rate()
    if table.shape[1] == 1:
        return
    best = table.idxmin(axis=1)
    edge = [arm for arm, rate in best.items() if rate in (table.columns[0], table.columns[-1])]
    told = [
        say("{rate} for {arms}", rate=_rate(rate), arms=listed(list(arms.index))) for rate, arms in best.groupby(best)
    ]
    stands = say("Each arm stands at the learning rate with its lowest mean dev loss: {told}.", told=apart(told))
    beyond = say(
        "For {edge} of {total} it is at the edge of what was tried: a better one may lie beyond.",
        edge=len(edge),
        total=len(best),
    )
    yield say("{sentence} {next}", sentence=stands, next=beyond) if edge else stands


def _rate(rate: float | tuple[float, ...]) -> str:
    """A rate, or several that are one."""
    rates = dict.fromkeys(np.atleast_1d(np.asarray(rate, dtype=float)).tolist())
    return listed([f"{value:g}" for value in rates])


def _equal_time(study: LimitsStudy) -> Iterator[str]:
    """Whether another arm leads where all train as long as the quickest."""
    costs = study.costs()
    if len(costs) < 2:
        return
    ahead, timed = costs["best_dev_loss"].idxmin(), costs["at equal time"].idxmin()
    parts = {"seconds": costs["seconds"].min(), "ahead": ahead, "loss": costs["at equal time"].min()}
    if ahead == timed:
        yield say(
            "After the {seconds:.0f} s that the quickest arm trained, {ahead}, which has the lowest loss in the end, "
            "still leads ({loss:.3f}).",
            **parts,
        )
    else:
        yield say(
            "After the {seconds:.0f} s that the quickest arm trained, {ahead}, which has the lowest loss in the end, "
            "no longer leads: {timed} does ({loss:.3f}).",
            **parts,
            timed=timed,
        )
