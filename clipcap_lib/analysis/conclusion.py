"""The answer to "MLP or BERT?", in sentences whose every number is computed from the runs."""

import pandas as pd

from clipcap_lib.analysis.changes import Change, apart, enumerated, in_a_row
from clipcap_lib.analysis.learning_speed import learning_speed
from clipcap_lib.analysis.loss_and_captions import loss_against_captions
from clipcap_lib.analysis.loss_curves import still_falling
from clipcap_lib.analysis.mapping_losses import (
    change_between,
    losses_by_seed,
    mapping_name,
    mappings_of,
    tuning_name,
    tunings_of,
    way_of_tuning,
)
from clipcap_lib.analysis.tuning_effects import effects_of_tuning, published_comparison
from clipcap_lib.runs import Run
from clipcap_lib.wording import say


def conclude(runs: list[Run], scores: list[pd.DataFrame] | None = None) -> list[str]:
    """Sentences that answer "MLP or BERT?", the answer first and what it rests on behind it.

    `scores`, a table a run as `caption_scores` makes them, tell where loss and captions disagree.
    """
    losses = losses_by_seed(runs)
    if losses.empty:
        return [say("No run has a finite dev loss, so nothing can be concluded.")]
    tunings = tunings_of(losses)
    duels = {tuning: duel for tuning in tunings if (duel := change_between(losses, ("bert", tuning), ("mlp", tuning)))}
    headline, *ranking = _answer(losses, duels)
    disagreements = loss_against_captions(runs, scores, losses) if scores else []
    sentences = [headline, _basis(runs, losses), *disagreements, *ranking]
    sentences += [said for tuning in tunings[1:] for said in effects_of_tuning(losses, tunings[0], tuning)]
    return sentences + published_comparison(losses) + [learning_speed(runs, losses, tuning) for tuning in duels]


def _answer(losses: pd.DataFrame, duels: dict[str, Change]) -> list[str]:
    """The headline, and the ranking where the headline does not name every loss."""
    if not duels and {"mlp", "bert"} <= set(mappings_of(losses)):
        apology = say("MLP and BERT have no tuning and seed in common, so these runs cannot compare them.")
        return [apology, _ranking(losses)]
    if not duels:
        return [_ranking(losses)]
    named = {(mapping, tuning) for mapping in ("mlp", "bert") for tuning in duels}
    return [_headline(duels)] + ([_ranking(losses)] if set(losses.columns) - named else [])


def _headline(duels: dict[str, Change]) -> str:
    leaders = [_leader(duel) for duel in duels.values()]
    ways = [way_of_tuning(tuning, again=number > 0) for number, tuning in enumerate(duels)]
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
        say("{ranked} {way}", ranked=enumerated(_ranked(losses, tuning)), way=way_of_tuning(tuning, again=number > 0))
        for number, tuning in enumerate(tunings_of(losses))
    ]
    return say("Mapping networks, lowest dev loss (nats per token) first: {told}.", told=apart(told))


def _ranked(losses: pd.DataFrame, tuning: str) -> list[str]:
    means = losses.xs(tuning, axis=1, level="tuning").mean().sort_values()
    told, ahead = [], None
    for mapping, loss in means.items():
        gap = change_between(losses, (ahead, tuning), (mapping, tuning)) if ahead else None
        own = f"{mapping_name(mapping)} {loss:.3f}"
        if gap and not gap.clear:
            own = say("{own} (the gap to {ahead} may be chance)", own=own, ahead=mapping_name(ahead))
        told.append(own)
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
        say("{mapping} ({tuned})", mapping=mapping_name(run.params["mapping"]), tuned=tuning_name(run.params["tuning"]))
        for run in falling
    ]
    return say("still learning when training ended: {names}", names=enumerated(list(dict.fromkeys(names))))
