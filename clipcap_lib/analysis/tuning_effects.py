"""What training the language model does to the loss, and whether it does the same to each mapping network."""

from functools import reduce

import pandas as pd

from clipcap_lib.analysis.changes import (
    SLIGHT,
    Change,
    capital,
    holds_zero,
    in_a_row,
    interval_text,
    listed,
    told_together,
)
from clipcap_lib.analysis.loss_curves import seed_interval
from clipcap_lib.analysis.mapping_losses import (
    change_between,
    mapping_name,
    mappings_of,
    step_between,
    with_shared_seeds,
)
from clipcap_lib.wording import say


def effects_of_tuning(losses: pd.DataFrame, base: str, tuning: str) -> list[str]:
    """What a tuning does to each mapping network, and whether it does the same to two of them."""
    cells = {name: ((name, base), (name, tuning)) for name in dict.fromkeys(["mlp", "bert", *mappings_of(losses)])}
    changes = {name: change for name, pair in cells.items() if (change := change_between(losses, *pair))}
    if not changes:
        return []
    step, told = step_between(base, tuning), _told(changes)
    if len(changes) == 1:
        return [capital(say("{step} {told}.", step=step, told=told))]
    pair = dict(list(changes.items())[:2])  # MLP and BERT, where they are there
    four = with_shared_seeds(losses, *[cell for name in pair for cell in cells[name]])
    one, other = (four[name, tuning] - four[name, base] for name in pair)
    return [capital(_interaction(step, told, pair, seed_interval(other - one)))]


def _told(changes: dict[str, Change]) -> str:
    """Which losses fall, which rise, and which change by no more than may be chance."""
    clear = {name: change for name, change in changes.items() if change.clear}
    fall = [_fallen(name, change) for name, change in clear.items() if change.by < 0]
    rise = [_risen(name, change) for name, change in clear.items() if change.by > 0]
    rest = [_unclear(name, change) for name, change in changes.items() if name not in clear]
    told = [say("lowers the loss {fallen}", fallen=told_together(fall))] if fall else []
    if rise:
        risen = told_together(rise)
        told.append(say("raises that {risen}", risen=risen) if told else say("raises the loss {risen}", risen=risen))
    if rest:
        names = listed(rest)
        told.append(
            say("has an effect that may be chance on that {names}", names=names)
            if told
            else say("has an effect that may be chance on the loss {names}", names=names)
        )
    return reduce(lambda before, more: say("{before}, and {more}", before=before, more=more), told)


def _fallen(mapping: str, change: Change) -> str:
    return say(
        "of {mapping} by {fall:.3f} ({numbers})", mapping=mapping_name(mapping), fall=-change.by, numbers=_from(change)
    )


def _risen(mapping: str, change: Change) -> str:
    return say(
        "of {mapping} by {rise:.3f} ({numbers})", mapping=mapping_name(mapping), rise=change.by, numbers=_from(change)
    )


def _from(change: Change) -> str:
    """From which loss to which, with the interval where there is one."""
    return in_a_row([change.arrow, change.size_interval] if change.interval else [change.arrow])


def _unclear(mapping: str, change: Change) -> str:
    numbers = [change.arrow]
    if change.interval:
        numbers += [say("change {by:+.3f}", by=change.by), interval_text(change.interval, form="+z.3f")]
    return say("of {mapping} ({numbers})", mapping=mapping_name(mapping), numbers=in_a_row(numbers))


def _interaction(step: str, told: str, changes: dict[str, Change], interval: tuple[float, float] | None) -> str:
    """The effects on two mapping networks and whether they are the same; `interval` is of their difference."""
    one, other = changes.values()
    parts = {"step": step, "told": told, "names": listed([mapping_name(name) for name in changes])}
    verdict, difference = _verdict(one, other, interval), round(other.by - one.by, 3)
    parts |= {"tail": _difference(parts["names"], difference, interval, unclear=verdict == "unclear")}
    if verdict == "unclear":
        return say("{step} {told}; {tail}.", **parts)
    if verdict == "depends" and interval:
        return say("the effect of {step} depends on the mapping network: it {told}; {tail}.", **parts)
    if verdict == "depends":
        return say("in these runs the effect of {step} depends on the mapping network: it {told}; {tail}.", **parts)
    if interval:
        return say("{step} does about the same to {names}: it {told}; {tail}.", **parts)
    return say("in these runs {step} does about the same to {names}: it {told}; {tail}.", **parts)


def _difference(names: str, by: float, interval: tuple[float, float] | None, unclear: bool) -> str:
    """By how much two effects differ, and whether that may be chance."""
    numbers = {"names": names, "by": abs(by)}
    if interval:
        numbers |= {"interval": interval_text(interval, -1 if by < 0 else 1)}
        if unclear:
            return say("its effects on {names} differ by {by:.3f}, which may be chance ({interval})", **numbers)
        return say("its effects on {names} differ by {by:.3f} ({interval})", **numbers)
    if unclear:
        return say("its effects on {names} differ by {by:.3f}, which one seed cannot tell from chance", **numbers)
    return say("its effects on {names} differ by {by:.3f}", **numbers)


def _verdict(one: Change, other: Change, interval: tuple[float, float] | None) -> str:
    """Whether two effects are the same, by the interval of their difference over seeds.

    One seed has none: there effects are clearly apart that differ by half of the larger one, unless that is slight.
    """
    apart, (smaller, larger) = abs(other.by - one.by), sorted((abs(one.by), abs(other.by)))
    alike = one.clear and other.clear and one.by * other.by > 0
    if interval:
        same = alike and max(map(abs, interval)) <= smaller / 2
        return "depends" if not holds_zero(interval) else "same" if same else "unclear"
    if apart >= max(larger / 2, SLIGHT * min(one.before, one.after, other.before, other.after)):
        return "depends"
    return "same" if alike and apart <= larger / 5 else "unclear"


def published_comparison(losses: pd.DataFrame) -> list[str]:
    """The published comparison in both orders of its two changes."""
    start, mapping_first, tuning_first, end = ("bert", "frozen"), ("mlp", "frozen"), ("bert", "full"), ("mlp", "full")
    four = with_shared_seeds(losses, start, mapping_first, tuning_first, end)
    if four.empty:
        return []
    gap, at = change_between(four, start, end), four.mean().round(3)
    amount = f"{abs(gap.by):.3f}"
    if gap.interval:
        amount = say("{amount} ({interval})", amount=amount, interval=gap.size_interval)
    orders = say(
        "Changing the mapping network first {mapping} and tuning then {tuned}; the other way round, tuning BERT first "
        "{tuning} and changing to MLP then {mapped}.",
        mapping=_does(at[start], at[mapping_first]),
        tuned=_does(at[mapping_first], at[end]),
        tuning=_does(at[start], at[tuning_first]),
        mapped=_does(at[tuning_first], at[end]),
    )
    return [say("{sentence} {next}", sentence=_both_changes(gap, amount), next=orders)]


def _both_changes(gap: Change, amount: str) -> str:
    """What the published comparison changes, and what that does to the loss."""
    if gap.by < 0:
        said = say(
            "The published comparison changes two things at once: from BERT, frozen, to MLP, tuned, the loss falls by "
            "{amount}",
            amount=amount,
        )
    else:
        said = say(
            "The published comparison changes two things at once: from BERT, frozen, to MLP, tuned, the loss rises by "
            "{amount}",
            amount=amount,
        )
    return say("{said}.", said=said) if gap.clear else say("{said}, which may be chance.", said=said)


def _does(before: float, after: float) -> str:
    if before == after:
        return say("leaves it as it is")
    if after < before:
        return say("lowers it by {by:.3f}", by=before - after)
    return say("raises it by {by:.3f}", by=after - before)
