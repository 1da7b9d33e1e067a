"""The answer to "MLP or BERT?", in sentences whose every number is computed from the runs."""

from functools import reduce
from itertools import combinations
from math import floor, log10
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from clipcap_lib.analysis.changes import (
    SLIGHT,
    Change,
    apart,
    capital,
    enumerated,
    holds_zero,
    in_a_row,
    interval_text,
    listed,
    named_rightly,
    told_together,
)
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.loss_curves import images_until, seed_interval, still_falling
from clipcap_lib.emoji.attributes import ENOUGH_PICTURES
from clipcap_lib.runs import Run, loss_curve, summary_table
from clipcap_lib.settings import MAPPINGS
from clipcap_lib.wording import say, term

TUNINGS = ("frozen", "lora", "full")  # in the order in which they are told
MOST = 3  # measures that are named where loss and captions disagree
Cell = tuple[str, str]  # mapping and tuning


def conclude(runs: list[Run], scores: list[pd.DataFrame] | None = None) -> list[str]:
    """Sentences that answer "MLP or BERT?", the answer first and what it rests on behind it.

    `scores`, a table a run as `caption_scores` makes them, tell where loss and captions disagree.
    """
    losses = _seed_losses(runs)
    if losses.empty:
        return [say("No run has a finite dev loss, so nothing can be concluded.")]
    tunings = _tunings(losses)
    duels = {tuning: duel for tuning in tunings if (duel := _change(losses, ("bert", tuning), ("mlp", tuning)))}
    headline, *ranking = _answer(losses, duels)
    disagreements = _disagreements(runs, scores, losses) if scores else []
    sentences = [headline, _basis(runs, losses), *disagreements, *ranking]
    sentences += [said for tuning in tunings[1:] for said in _effects(losses, tunings[0], tuning)]
    return sentences + _published(losses) + [_speed(runs, losses, tuning) for tuning in duels]


def _named(mapping: str) -> str:
    """What a sentence calls a mapping network."""
    names = {"transformer": say("the transformer"), "linear": say("the linear mapping")}
    return names.get(mapping) or term(MAPPINGS[mapping])


def _tuned(tuning: str) -> str:
    """How the language model was trained, in a word or two."""
    return {"frozen": say("frozen"), "lora": say("tuned by LoRA"), "full": say("tuned")}[tuning]


def _way(tuning: str, again: bool = False) -> str:
    """The same within a sentence; `again` where the language model has been named before."""
    if again:
        ways = {"frozen": say("with it frozen"), "lora": say("with it tuned by LoRA"), "full": say("with it tuned")}
    else:
        ways = {
            "frozen": say("with the language model frozen"),
            "lora": say("with the language model tuned by LoRA"),
            "full": say("with the language model tuned"),
        }
    return ways[tuning]


def _step(before: str, after: str) -> str:
    """What is done between two ways of training the language model."""
    steps = {
        ("frozen", "full"): say("tuning the language model"),
        ("frozen", "lora"): say("tuning the language model by LoRA"),
        ("lora", "full"): say("tuning the whole language model in place of LoRA"),
    }
    return steps[before, after]


def _seed_losses(runs: list[Run]) -> pd.DataFrame:
    """Best dev loss by seed (rows) and by mapping and tuning (columns), missing where there is no finite one."""
    table = summary_table(runs).replace(np.inf, np.nan).dropna(subset="best_dev_loss")
    return table.pivot_table(index="seed", columns=["mapping", "tuning"], values="best_dev_loss", sort=False)


def _tunings(losses: pd.DataFrame) -> list[str]:
    return [tuning for tuning in TUNINGS if tuning in losses.columns.get_level_values("tuning")]


def _mappings(losses: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(losses.columns.get_level_values("mapping")))


def _shared(losses: pd.DataFrame, *cells: Cell) -> pd.DataFrame:
    """The losses of these cells for the seeds that all of them have."""
    return losses.reindex(columns=list(cells)).dropna()


def _change(losses: pd.DataFrame, before: Cell, after: Cell) -> Change | None:
    """From one cell to another; `None` where they have no seed in common."""
    both = _shared(losses, before, after)
    if both.empty:
        return None
    return Change(*both.mean().round(3), seed_interval(both[after] - both[before]))


# --- which is ahead, and what that rests on ------------------------------------------------------------------------


def _answer(losses: pd.DataFrame, duels: dict[str, Change]) -> list[str]:
    """The headline, and the ranking where the headline does not name every loss."""
    if not duels and {"mlp", "bert"} <= set(_mappings(losses)):
        apology = say("MLP and BERT have no tuning and seed in common, so these runs cannot compare them.")
        return [apology, _ranking(losses)]
    if not duels:
        return [_ranking(losses)]
    named = {(mapping, tuning) for mapping in ("mlp", "bert") for tuning in duels}
    return [_headline(duels)] + ([_ranking(losses)] if set(losses.columns) - named else [])


def _headline(duels: dict[str, Change]) -> str:
    leaders = [_leader(duel) for duel in duels.values()]
    ways = [_way(tuning, again=number > 0) for number, tuning in enumerate(duels)]
    numbers = list(zip(leaders, ways, duels.values(), strict=True))
    if len(set(leaders)) == 1:
        told = in_a_row([_under(way, duel) for _, way, duel in numbers])
        return say("{claim}: dev loss {told}.", claim=_claim(leaders[0], len(duels)), told=told)
    clauses = [_ahead(leader, way, duel) for leader, way, duel in numbers]
    return say("{doubt}: {clauses}.", doubt=_doubt(leaders), clauses=apart(clauses))


def _leader(duel: Change) -> str | None:
    """The mapping network with the lower loss, from BERT to MLP; `None` where that may be chance."""
    return ("MLP" if duel.by < 0 else "BERT") if duel.clear else None


def _claim(leader: str | None, tunings: int) -> str:
    if leader is None:
        claims = {
            1: say("Which of MLP and BERT is ahead may be chance"),
            2: say("Which of MLP and BERT is ahead may be chance under either tuning"),
        }
        return claims.get(tunings) or say("Which of MLP and BERT is ahead may be chance under every tuning")
    names = {"leader": leader, "other": _other(leader)}
    claims = {
        1: say("{leader} is ahead of {other}", **names),
        2: say("{leader} is ahead of {other} under either tuning", **names),
    }
    return claims.get(tunings) or say("{leader} is ahead of {other} under every tuning", **names)


def _doubt(leaders: list[str | None]) -> str:
    named = [leader for leader in dict.fromkeys(leaders) if leader]
    if len(named) == 2:
        return say("Which of MLP and BERT is ahead depends on the tuning")
    leader = named[0]
    return say("{leader} is not clearly ahead of {other} under every tuning", leader=leader, other=_other(leader))


def _other(leader: str) -> str:
    return "BERT" if leader == "MLP" else "MLP"


def _under(way: str, duel: Change) -> str:
    """Two losses under a way of training the language model."""
    if not duel.interval:
        return say("{pair} {way}", pair=_pair(duel), way=way)
    gap = {"by": abs(duel.by), "interval": duel.size_interval}
    return say("{pair} {way} (difference {by:.3f}, {interval})", pair=_pair(duel), way=way, **gap)


def _ahead(leader: str | None, way: str, duel: Change) -> str:
    """Who leads under a way of training the language model, with two losses."""
    losses = _pair(duel)
    if duel.interval:
        gap = {"by": abs(duel.by), "interval": duel.size_interval}
        losses = say("{pair} (difference {by:.3f}, {interval})", pair=losses, **gap)
    if leader is None:
        return say("which is ahead may be chance {way}, dev loss {losses}", way=way, losses=losses)
    return say("{leader} is ahead {way}, dev loss {losses}", leader=leader, way=way, losses=losses)


def _pair(duel: Change) -> str:
    """Two losses, the lower first, with names where it is not said who leads."""
    (first, lower), (second, higher) = [("BERT", duel.before), ("MLP", duel.after)][:: -1 if duel.by <= 0 else 1]
    if duel.clear:
        return say("{lower:.3f} against {higher:.3f}", lower=lower, higher=higher)
    names = {"first": first, "second": second}
    return say("{first} {lower:.3f} against {second} {higher:.3f}", lower=lower, higher=higher, **names)


def _ranking(losses: pd.DataFrame) -> str:
    told = [
        say("{ranked} {way}", ranked=enumerated(_ranked(losses, tuning)), way=_way(tuning, again=number > 0))
        for number, tuning in enumerate(_tunings(losses))
    ]
    return say("Mapping networks, lowest dev loss (nats per token) first: {told}.", told=apart(told))


def _ranked(losses: pd.DataFrame, tuning: str) -> list[str]:
    means = losses.xs(tuning, axis=1, level="tuning").mean().sort_values()
    told, ahead = [], None
    for mapping, loss in means.items():
        gap = _change(losses, (ahead, tuning), (mapping, tuning)) if ahead else None
        own = f"{_named(mapping)} {loss:.3f}"
        chance = gap and not gap.clear
        told.append(say("{own} (the gap to {ahead} may be chance)", own=own, ahead=_named(ahead)) if chance else own)
        ahead = mapping
    return told


def _basis(runs: list[Run], losses: pd.DataFrame) -> str:
    """What every comparison rests on, and what the runs had not yet shown."""
    grounds = _seeds(losses.notna().sum())
    if rates := _rates(runs):
        grounds = say("{seeds}, and on {rates}", seeds=grounds, rates=rates)
    falling = [run for run in runs if still_falling(run)]
    if not falling:
        return say("This rests on {grounds}.", grounds=grounds)
    return say("This rests on {grounds}; {unfinished}.", grounds=grounds, unfinished=_unfinished(falling, len(runs)))


def _rates(runs: list[Run]) -> str | None:
    """Whether the runs share a learning rate; nothing of one run."""
    rates = {(run.params["learning_rate"], run.params["language_model_learning_rate"]) for run in runs}
    if len(rates) > 1:
        return say("learning rates that differ between the runs")
    return say("one learning rate for all runs, which need not suit each equally") if len(runs) > 1 else None


def _seeds(counts: pd.Series) -> str:
    few, many = counts.min(), counts.max()
    if many == 1:
        return say("one seed, so an effect cannot be told from chance")
    if few == many:
        return say("{seeds} seeds (means, with 95 % t-intervals of differences paired by seed)", seeds=many)
    return say(
        "{few} to {many} seeds (means, with 95 % t-intervals of differences paired by seed; where one is shared, an "
        "effect cannot be told from chance)",
        few=few,
        many=many,
    )


def _unfinished(falling: list[Run], total: int) -> str:
    if len(falling) == total > 1:
        return say("all {total} runs were still learning when training ended", total=total)
    names = [
        say("{mapping} ({tuned})", mapping=_named(run.params["mapping"]), tuned=_tuned(run.params["tuning"]))
        for run in falling
    ]
    return say("still learning when training ended: {names}", names=enumerated(list(dict.fromkeys(names))))


# --- what tuning does ----------------------------------------------------------------------------------------------


def _effects(losses: pd.DataFrame, base: str, tuning: str) -> list[str]:
    """What a tuning does to each mapping network, and whether it does the same to two of them."""
    cells = {name: ((name, base), (name, tuning)) for name in dict.fromkeys(["mlp", "bert", *_mappings(losses)])}
    changes = {name: change for name, pair in cells.items() if (change := _change(losses, *pair))}
    if not changes:
        return []
    step, told = _step(base, tuning), _told(changes)
    if len(changes) == 1:
        return [capital(say("{step} {told}.", step=step, told=told))]
    pair = dict(list(changes.items())[:2])  # MLP and BERT, where they are there
    four = _shared(losses, *[cell for name in pair for cell in cells[name]])
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
        "of {mapping} by {fall:.3f} ({numbers})", mapping=_named(mapping), fall=-change.by, numbers=_from(change)
    )


def _risen(mapping: str, change: Change) -> str:
    return say("of {mapping} by {rise:.3f} ({numbers})", mapping=_named(mapping), rise=change.by, numbers=_from(change))


def _from(change: Change) -> str:
    """From which loss to which, with the interval where there is one."""
    return in_a_row([change.arrow, change.size_interval] if change.interval else [change.arrow])


def _unclear(mapping: str, change: Change) -> str:
    numbers = [change.arrow]
    if change.interval:
        numbers += [say("change {by:+.3f}", by=change.by), interval_text(change.interval, form="+z.3f")]
    return say("of {mapping} ({numbers})", mapping=_named(mapping), numbers=in_a_row(numbers))


def _interaction(step: str, told: str, changes: dict[str, Change], interval: tuple[float, float] | None) -> str:
    """The effects on two mapping networks and whether they are the same; `interval` is of their difference."""
    one, other = changes.values()
    parts = {"step": step, "told": told, "names": listed([_named(name) for name in changes])}
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


def _published(losses: pd.DataFrame) -> list[str]:
    """The published comparison in both orders of its two changes."""
    start, mapping_first, tuning_first, end = ("bert", "frozen"), ("mlp", "frozen"), ("bert", "full"), ("mlp", "full")
    four = _shared(losses, start, mapping_first, tuning_first, end)
    if four.empty:
        return []
    gap, at = _change(four, start, end), four.mean().round(3)
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


# --- speed ---------------------------------------------------------------------------------------------------------


def _speed(runs: list[Run], losses: pd.DataFrame, tuning: str) -> str:
    """After how many images the better of MLP and BERT had reached what the other reached at best."""
    both = _shared(losses, ("mlp", tuning), ("bert", tuning))
    fast, slow = both.mean().sort_values(kind="stable").index.get_level_values("mapping")
    of = {(run.params["mapping"], run.params["seed"]): run for run in runs if run.params["tuning"] == tuning}
    goals = [(of[slow, seed], of[fast, seed], of[slow, seed].summary["best_dev_loss"]) for seed in both.index]
    reached = [(images_until(late, goal), images_until(early, goal)) for late, early, goal in goals]
    spacing = loss_curve(of[fast, both.index[0]].history, "dev")["images"].diff().median()
    best = {"slow": _named(slow), "fast": _named(fast), "loss": both[slow, tuning].mean()}
    return capital(say("{way}, {race}.", way=_way(tuning), race=_race(best, reached, spacing)))


def _race(best: dict[str, Any], reached: list[tuple[float | None, float | None]], spacing: float) -> str:
    """What is said of the images that each needed, a pair a seed; `best`: slow, fast, and the loss to reach."""
    if not all(took for took, _ in reached):
        return say("{slow} never got below the loss it started with", slow=best["slow"])
    if any(needed is None for _, needed in reached):
        return say("{fast} did not reach {slow}'s best dev loss ({loss:.3f}) with every seed", **best)
    if not all(needed for _, needed in reached):
        return say("{fast} was below {slow}'s best dev loss ({loss:.3f}) at its first evaluation", **best)
    took, needed = (median(images) for images in zip(*reached, strict=True))
    needed = _coarse(needed, spacing)
    return say(
        "{fast} reached {slow}'s best dev loss ({loss:.3f}) after about {needed:,} images, read off a straight line "
        "between evaluations {spacing:,.0f} images apart, and {slow} after {took:,.0f}: {fast} {pace}",
        **best,
        needed=needed,
        spacing=spacing,
        took=took,
        pace=_pace(best["slow"], took / needed, [one / other for one, other in reached]),
    )


def _coarse(images: float, spacing: float) -> int:
    """Images to about a tenth of the spacing of the evaluations that they were read off between."""
    unit = 10 ** max(0, floor(log10(spacing / 10)))
    return max(unit, unit * round(images / unit))


def _pace(slow: str, ratio: float, ratios: list[float]) -> str:
    if 0.95 <= ratio <= 1.05:
        said = say("learned about as fast as {slow} in images", slow=slow)
    elif ratio > 1:
        said = say("learned about {times:.1f} times as fast in images", times=ratio)
    else:
        said = say("needed about {times:.1f} times as many images", times=1 / ratio)
        ratios = [1 / each for each in ratios]
    if len(ratios) == 1:
        return said
    spread = {"seeds": len(ratios), "low": min(ratios), "high": max(ratios)}
    return say("{pace} (median of {seeds} seeds, {low:.1f} to {high:.1f})", pace=said, **spread)


# --- loss and captions ---------------------------------------------------------------------------------------------


def _disagreements(runs: list[Run], scores: list[pd.DataFrame], losses: pd.DataFrame) -> list[str]:
    """A sentence for each two cells where the loss goes one way and captions of test pictures clearly the other."""
    by_run = dict(zip(map(_place, runs), scores, strict=True))
    sentences = []
    for before, after in _contrasts(losses):
        change = _change(losses, before, after)
        if change and change.clear:
            seeds = _shared(losses, before, after).index
            tables = [_over_seeds([by_run[*cell, seed] for seed in seeds]) for cell in (before, after)]
            if measures := _opposed(*tables, change.by, in_order=before[0] == after[0]):
                parts = {"loss": _loss_says(before, after, change), "measures": told_together(measures)}
                sentences.append(say("Loss and captions disagree: {loss}, yet its captions {measures}.", **parts))
    return sentences


def _place(run: Run) -> tuple[str, str, int]:
    return run.params["mapping"], run.params["tuning"], run.params["seed"]


def _contrasts(losses: pd.DataFrame) -> list[tuple[Cell, Cell]]:
    """Two tunings of each mapping network, and MLP against BERT under each tuning, the lower loss last."""
    tunings = _tunings(losses)
    tuned = [((name, one), (name, other)) for name in _mappings(losses) for one, other in combinations(tunings, 2)]
    means = [_shared(losses, ("bert", tuning), ("mlp", tuning)).mean() for tuning in tunings]
    return tuned + [tuple(pair.sort_values(ascending=False).index) for pair in means]


def _over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean scores of each picture."""
    return pd.concat(tables).groupby(level=0, sort=False).mean()


def _loss_says(before: Cell, after: Cell, change: Change) -> str:
    if before[0] != after[0]:
        names = {"way": _way(after[1]), "better": _named(after[0]), "worse": _named(before[0])}
        return say(
            "{way}, {better}'s loss is lower than {worse}'s ({lower:.3f} against {higher:.3f})",
            **names,
            lower=change.after,
            higher=change.before,
        )
    parts = {"step": _step(before[1], after[1]), "mapping": _named(after[0]), "arrow": change.arrow}
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
    if values.round(digits).nunique() == 1 or any(round(edge, digits) == 0 for edge in edges):
        digits += 1  # what is not 0 is not printed as 0
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
