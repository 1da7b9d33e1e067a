"""The answer to "MLP or BERT?", in sentences whose every number is computed from the runs."""

from itertools import combinations
from math import floor, log10
from statistics import median

import numpy as np
import pandas as pd

from clipcap_lib.analysis.changes import RIGHT, SLIGHT, Change, capital, holds_zero, interval_text, listed
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.loss_curves import images_until, seed_interval, still_falling
from clipcap_lib.emoji.attributes import ENOUGH_PICTURES
from clipcap_lib.runs import Run, loss_curve, summary_table
from clipcap_lib.settings import MAPPINGS

NAMES = {"transformer": "the transformer", "linear": "the linear mapping"}  # in a sentence, where not their label
WAYS = {"frozen": "frozen", "lora": "tuned by LoRA", "full": "tuned"}
STEPS = {
    ("frozen", "full"): "tuning the language model",
    ("frozen", "lora"): "tuning the language model by LoRA",
    ("lora", "full"): "tuning the whole language model in place of LoRA",
}
MOST = 3  # measures that are named where loss and captions disagree
Cell = tuple[str, str]  # mapping and tuning


def conclude(runs: list[Run], scores: list[pd.DataFrame] | None = None) -> list[str]:
    """Sentences that answer "MLP or BERT?", the answer first and what it rests on behind it.

    `scores`, a table a run as `caption_scores` makes them, tell where loss and captions disagree.
    """
    losses = _seed_losses(runs)
    if losses.empty:
        return ["No run has a finite dev loss, so nothing can be concluded."]
    tunings = _tunings(losses)
    duels = {tuning: duel for tuning in tunings if (duel := _change(losses, ("bert", tuning), ("mlp", tuning)))}
    headline, *ranking = _answer(losses, duels)
    disagreements = _disagreements(runs, scores, losses) if scores else []
    sentences = [headline, _basis(runs, losses), *disagreements, *ranking]
    sentences += [said for tuning in tunings[1:] for said in _effects(losses, tunings[0], tuning)]
    return sentences + _published(losses) + [_speed(runs, losses, tuning) for tuning in duels]


def _named(mapping: str) -> str:
    """What a sentence calls a mapping network."""
    return NAMES.get(mapping) or MAPPINGS[mapping]


def _seed_losses(runs: list[Run]) -> pd.DataFrame:
    """Best dev loss by seed (rows) and by mapping and tuning (columns), missing where there is no finite one."""
    table = summary_table(runs).replace(np.inf, np.nan).dropna(subset="best_dev_loss")
    return table.pivot_table(index="seed", columns=["mapping", "tuning"], values="best_dev_loss", sort=False)


def _tunings(losses: pd.DataFrame) -> list[str]:
    return [tuning for tuning in WAYS if tuning in losses.columns.get_level_values("tuning")]


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
        return ["MLP and BERT have no tuning and seed in common, so these runs cannot compare them.", _ranking(losses)]
    if not duels:
        return [_ranking(losses)]
    named = {(mapping, tuning) for mapping in ("mlp", "bert") for tuning in duels}
    return [_headline(duels)] + ([_ranking(losses)] if set(losses.columns) - named else [])


def _headline(duels: dict[str, Change]) -> str:
    leaders = [_leader(duel) for duel in duels.values()]
    ways = [_way(tuning, again=number > 0) for number, tuning in enumerate(duels)]
    numbers = list(zip(leaders, ways, map(_pair, duels.values()), map(_gap, duels.values()), strict=True))
    if len(set(leaders)) == 1:
        under = {1: "", 2: " under either tuning"}.get(len(duels), " under every tuning")
        told = ", ".join(f"{pair} {way}{gap}" for _, way, pair, gap in numbers)
        return f"{_claim(leaders[0])}{under}: dev loss {told}."
    clauses = [
        f"{f'{leader} is ahead' if leader else 'which is ahead may be chance'} {way}, dev loss {pair}{gap}"
        for leader, way, pair, gap in numbers
    ]
    return f"{_doubt(leaders)}: {'; '.join(clauses)}."


def _leader(duel: Change) -> str | None:
    """The mapping network with the lower loss, from BERT to MLP; `None` where that may be chance."""
    return ("MLP" if duel.by < 0 else "BERT") if duel.clear else None


def _claim(leader: str | None) -> str:
    if leader is None:
        return "Which of MLP and BERT is ahead may be chance"
    return f"{leader} is ahead of {_other(leader)}"


def _doubt(leaders: list[str | None]) -> str:
    named = [leader for leader in dict.fromkeys(leaders) if leader]
    if len(named) == 2:
        return "Which of MLP and BERT is ahead depends on the tuning"
    return f"{named[0]} is not clearly ahead of {_other(named[0])} under every tuning"


def _other(leader: str) -> str:
    return "BERT" if leader == "MLP" else "MLP"


def _pair(duel: Change) -> str:
    """Two losses, the lower first, with names where it is not said who leads."""
    named = [("BERT", duel.before), ("MLP", duel.after)][:: -1 if duel.by <= 0 else 1]
    return " against ".join(f"{loss:.3f}" if duel.clear else f"{name} {loss:.3f}" for name, loss in named)


def _gap(duel: Change) -> str:
    return f" (difference {abs(duel.by):.3f}, {duel.size_interval})" if duel.interval else ""


def _ranking(losses: pd.DataFrame) -> str:
    told = [
        f"{', '.join(_ranked(losses, tuning))} {_way(tuning, again=number > 0)}"
        for number, tuning in enumerate(_tunings(losses))
    ]
    return f"Mapping networks, lowest dev loss (nats per token) first: {'; '.join(told)}."


def _ranked(losses: pd.DataFrame, tuning: str) -> list[str]:
    means = losses.xs(tuning, axis=1, level="tuning").mean().sort_values()
    told, ahead = [], None
    for mapping, loss in means.items():
        gap = _change(losses, (ahead, tuning), (mapping, tuning)) if ahead else None
        chance = f" (the gap to {_named(ahead)} may be chance)" if gap and not gap.clear else ""
        told.append(f"{_named(mapping)} {loss:.3f}{chance}")
        ahead = mapping
    return told


def _basis(runs: list[Run], losses: pd.DataFrame) -> str:
    """What every comparison rests on, and what the runs had not yet shown."""
    grounds = [_seeds(losses.notna().sum())]
    rates = {(run.params["learning_rate"], run.params["language_model_learning_rate"]) for run in runs}
    if len(rates) > 1:
        grounds.append("learning rates that differ between the runs")
    elif len(runs) > 1:
        grounds.append("one learning rate for all runs, which need not suit each equally")
    falling = [run for run in runs if still_falling(run)]
    return f"This rests on {', and on '.join(grounds)}{_unfinished(falling, len(runs))}."


def _seeds(counts: pd.Series) -> str:
    few, many = counts.min(), counts.max()
    if many == 1:
        return "one seed, so an effect cannot be told from chance"
    paired = "means, with 95 % t-intervals of differences paired by seed"
    if few == many:
        return f"{many} seeds ({paired})"
    return f"{few} to {many} seeds ({paired}; where one is shared, an effect cannot be told from chance)"


def _unfinished(falling: list[Run], total: int) -> str:
    if not falling:
        return ""
    if len(falling) == total > 1:
        return f"; all {total} runs were still learning when training ended"
    names = [f"{_named(run.params['mapping'])} ({WAYS[run.params['tuning']]})" for run in falling]
    return f"; still learning when training ended: {', '.join(dict.fromkeys(names))}"


# --- what tuning does ----------------------------------------------------------------------------------------------


def _effects(losses: pd.DataFrame, base: str, tuning: str) -> list[str]:
    """What a tuning does to each mapping network, and whether it does the same to two of them."""
    cells = {name: ((name, base), (name, tuning)) for name in dict.fromkeys(["mlp", "bert", *_mappings(losses)])}
    changes = {name: change for name, pair in cells.items() if (change := _change(losses, *pair))}
    if not changes:
        return []
    step, told = STEPS[base, tuning], _told(changes)
    if len(changes) == 1:
        return [f"{capital(step)} {told}."]
    pair = dict(list(changes.items())[:2])  # MLP and BERT, where they are there
    four = _shared(losses, *[cell for name in pair for cell in cells[name]])
    one, other = (four[name, tuning] - four[name, base] for name in pair)
    lead, tail = _interaction(step, pair, seed_interval(other - one))
    return [f"{capital(lead)} {told}; {tail}."]


def _told(changes: dict[str, Change]) -> str:
    """Which losses fall, which rise, and which change by no more than may be chance."""
    fall = [_changed(name, change) for name, change in changes.items() if change.clear and change.by < 0]
    rise = [_changed(name, change) for name, change in changes.items() if change.clear and change.by > 0]
    rest = [_unclear(name, change) for name, change in changes.items() if not change.clear]
    verbs = {"lowers": fall, "raises": rise, "has an effect that may be chance on": rest}
    told = [f"{verb} the loss {listed(names)}" for verb, names in verbs.items() if names]
    return ", and ".join([told[0], *(text.replace("the loss", "that", 1) for text in told[1:])])


def _changed(name: str, change: Change) -> str:
    interval = f", {change.size_interval}" if change.interval else ""
    return f"of {_named(name)} by {abs(change.by):.3f} ({change.arrow}{interval})"


def _unclear(name: str, change: Change) -> str:
    interval = f", change {change.by:+.3f}, {interval_text(change.interval, form='+z.3f')}" if change.interval else ""
    return f"of {_named(name)} ({change.arrow}{interval})"


def _interaction(step: str, changes: dict[str, Change], interval: tuple[float, float] | None) -> tuple[str, str]:
    """What comes before and behind the effects on two mapping networks; `interval` is of their difference."""
    one, other = changes.values()
    names, apart = listed([_named(name) for name in changes]), round(other.by - one.by, 3)
    edges = interval_text(interval, -1 if apart < 0 else 1) if interval else ""
    tail, verdict = f"its effects on {names} differ by {abs(apart):.3f}", _verdict(one, other, interval)
    if verdict == "unclear":
        return step, tail + (
            f", which may be chance ({edges})" if edges else ", which one seed cannot tell from chance"
        )
    lead = {
        "depends": f"the effect of {step} depends on the mapping network: it",
        "same": f"{step} does about the same to {names}: it",
    }[verdict]
    return (lead, f"{tail} ({edges})") if edges else (f"in these runs {lead}", tail)


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
    way = "falls" if gap.by < 0 else "rises"
    chance = "" if gap.clear else ", which may be chance"
    interval = f" ({gap.size_interval})" if gap.interval else ""
    return [
        "The published comparison changes two things at once: from BERT, frozen, to MLP, tuned, the loss "
        f"{way} by {abs(gap.by):.3f}{interval}{chance}. Changing the mapping network first "
        f"{_does(at[start], at[mapping_first])} and tuning then {_does(at[mapping_first], at[end])}; the other way "
        f"round, tuning BERT first {_does(at[start], at[tuning_first])} and changing to MLP then "
        f"{_does(at[tuning_first], at[end])}."
    ]


def _does(before: float, after: float) -> str:
    if before == after:
        return "leaves it as it is"
    return f"{'lowers' if after < before else 'raises'} it by {abs(after - before):.3f}"


# --- speed ---------------------------------------------------------------------------------------------------------


def _speed(runs: list[Run], losses: pd.DataFrame, tuning: str) -> str:
    """After how many images the better of MLP and BERT had reached what the other reached at best."""
    both = _shared(losses, ("mlp", tuning), ("bert", tuning))
    fast, slow = both.mean().sort_values(kind="stable").index.get_level_values("mapping")
    of = {(run.params["mapping"], run.params["seed"]): run for run in runs if run.params["tuning"] == tuning}
    goals = [(of[slow, seed], of[fast, seed], of[slow, seed].summary["best_dev_loss"]) for seed in both.index]
    reached = [(images_until(late, goal), images_until(early, goal)) for late, early, goal in goals]
    spacing = loss_curve(of[fast, both.index[0]].history, "dev")["images"].diff().median()
    best = f"{_named(slow)}'s best dev loss ({both[slow, tuning].mean():.3f})"
    return f"{capital(_way(tuning))}, {_race(_named(slow), _named(fast), best, reached, spacing)}."


def _race(slow: str, fast: str, best: str, reached: list[tuple[float | None, float | None]], spacing: float) -> str:
    """What is said of the images that each needed, a pair a seed."""
    if not all(took for took, _ in reached):
        return f"{slow} never got below the loss it started with"
    if any(needed is None for _, needed in reached):
        return f"{fast} did not reach {best} with every seed"
    if not all(needed for _, needed in reached):
        return f"{fast} was below {best} at its first evaluation"
    took, needed = (median(images) for images in zip(*reached, strict=True))
    needed = _coarse(needed, spacing)
    return (
        f"{fast} reached {best} after about {needed:,} images, read off a straight line between evaluations "
        f"{spacing:,.0f} images apart, and {slow} after {took:,.0f}: {fast} "
        f"{_pace(slow, took / needed, [one / other for one, other in reached])}"
    )


def _coarse(images: float, spacing: float) -> int:
    """Images to about a tenth of the spacing of the evaluations that they were read off between."""
    unit = 10 ** max(0, floor(log10(spacing / 10)))
    return max(unit, unit * round(images / unit))


def _pace(slow: str, ratio: float, ratios: list[float]) -> str:
    if 0.95 <= ratio <= 1.05:
        said = f"learned about as fast as {slow} in images"
    elif ratio > 1:
        said = f"learned about {ratio:.1f} times as fast in images"
    else:
        said, ratios = f"needed about {1 / ratio:.1f} times as many images", [1 / each for each in ratios]
    return said + (
        f" (median of {len(ratios)} seeds, {min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
    )


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
            if measures := _opposed(*tables, change.by, "{} → {}" if before[0] == after[0] else "{1} against {0}"):
                loss = _loss_says(before, after, change)
                sentences.append(f"Loss and captions disagree: {loss}, yet its captions {listed(measures)}.")
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
    owner = f"{_named(after[0])}'s loss"
    if before[0] == after[0]:
        return f"{STEPS[before[1], after[1]]} {'lowers' if change.by < 0 else 'raises'} {owner} ({change.arrow})"
    numbers = f"{change.after:.3f} against {change.before:.3f}"
    return f"{_way(after[1])}, {owner} is lower than {_named(before[0])}'s ({numbers})"


def _opposed(before: pd.DataFrame, after: pd.DataFrame, change: float, order: str) -> list[str]:
    """What captions do clearly against a change of the loss, the clearest first; `order` is how two values are told."""
    found = []
    for name in before.columns.intersection(after.columns):
        pair = pd.DataFrame({"before": before[name], "after": after[name]}).dropna()
        if len(pair) < ENOUGH_PICTURES:
            continue
        delta, *edges = paired_difference(pair["before"], pair["after"])
        if delta * change > 0 and not holds_zero(edges):  # captions are better the higher, the loss the lower
            found.append(((edges[1] - edges[0]) / abs(delta), _measure(name, pair, edges, order, len(before))))
    return [text for _, text in sorted(found)[:MOST]]


def _measure(name: str, pair: pd.DataFrame, edges: list[float], order: str, pictures: int) -> str:
    """A measure's two values on the pictures judged in both, and their difference."""
    scale, digits = (1, 2) if name == "CIDEr-D" else (100, 0)
    values, edges = pair.mean() * scale, [scale * edge for edge in edges]
    if values.round(digits).nunique() == 1 or any(round(edge, digits) == 0 for edge in edges):
        digits += 1  # what is not 0 is not printed as 0
    first, last = values.round(digits)
    told, form = order.format(f"{first:.{digits}f}", f"{last:.{digits}f}"), f"+z.{digits}f"
    shown = (
        f"{len(pair)} test pictures" if len(pair) == pictures else f"the {len(pair)} test pictures where it is judged"
    )
    interval = interval_text(edges, form=form)
    if name == "CIDEr-D":
        level = "higher" if last > first else "lower"
        return f"have a {level} CIDEr-D ({told} on {shown}; difference {last - first:{form}}, {interval})"
    often = "more" if last > first else "less"
    return f"{RIGHT[name]} {often} often ({told} % of {shown}; difference {last - first:{form}} points, {interval})"


def _way(tuning: str, again: bool = False) -> str:
    return f"with {'it' if again else 'the language model'} {WAYS[tuning]}"
