"""What the runs of an experiment say together: a table, and a conclusion computed from it."""

from statistics import median

import numpy as np
import pandas as pd

from clipcap_lib.runs import Run, loss_curve, summary_table

NAMES = {"mlp": "MLP", "bert": "BERT", "transformer": "transformer", "linear": "linear"}


def loss_table(runs: list[Run]) -> pd.DataFrame:
    """Best dev loss by mapping (rows) and tuning (columns), the mean over seeds, in nats a token."""
    table = summary_table(runs)
    return table.pivot_table(index="mapping", columns="tuning", values="best_dev_loss", sort=False)


def images_until(run: Run, loss: float) -> float | None:
    """How many images a run had seen when its dev loss first was at most `loss`; `None` if it never was.

    Between two evaluations the logarithm of the loss is taken to fall evenly: few evaluations make a coarse ruler.
    """
    dev = loss_curve(run.history, "dev").reset_index(drop=True)
    reached = dev.index[dev["value"] <= loss]
    if reached.empty:
        return None
    around = dev.loc[max(reached[0] - 1, 0) : reached[0]].iloc[::-1]  # np.interp wants the lower loss first
    return float(np.interp(np.log(loss), np.log(around["value"]), around["images"]))


def still_falling(run: Run, least: float = 0.02) -> bool:
    """Whether the last evaluation of a run was its best and better than the one before by a share of `least`."""
    dev = loss_curve(run.history, "dev")["value"].tolist()
    return len(dev) > 1 and dev[-1] == min(dev) and dev[-1] < (1 - least) * dev[-2]


def shapley_shares(losses: pd.DataFrame, worse: tuple[str, str], better: tuple[str, str]) -> tuple[float, float]:
    """Split the gap between two (mapping, tuning) cells into what the mapping and what the tuning account for.

    Each factor is changed first and second, and the two orders are averaged (the Shapley value for two factors), so
    that the parts sum to the gap.
    """
    (m0, t0), (m1, t1) = worse, better
    mapping = ((losses.at[m0, t0] - losses.at[m1, t0]) + (losses.at[m0, t1] - losses.at[m1, t1])) / 2
    tuning = ((losses.at[m0, t0] - losses.at[m0, t1]) + (losses.at[m1, t0] - losses.at[m1, t1])) / 2
    return mapping, tuning


def conclude(runs: list[Run]) -> list[str]:
    """Sentences that answer "MLP or BERT?", the answer first, each number taken from the runs."""
    losses = loss_table(runs)
    sentences = [_ranking(losses, tuning) for tuning in losses.columns]
    paired = [tuning for tuning in losses.columns if losses[tuning].reindex(["mlp", "bert"]).notna().all()]
    sentences += [_speed(runs, losses, tuning) for tuning in paired]
    if {"frozen", "full"} <= set(losses.columns):
        sentences[:0] = _effects_of_tuning(losses)
    if {"frozen", "full"} <= set(paired):
        sentences.insert(0, _confounded(losses))
    if falling := [f"{NAMES[run.params['mapping']]} {run.params['tuning']}" for run in runs if still_falling(run)]:
        sentences.append(
            f"Still learning when training ended, so not the best they can do: {', '.join(dict.fromkeys(falling))}. "
            "All runs share their learning rates, which need not suit each equally."
        )
    seeds = len({run.params["seed"] for run in runs})
    if seeds == 1:
        sentences.append("One seed a run: differences of a few hundredths may not repeat; three seeds would tell.")
    return sentences


def _ranking(losses: pd.DataFrame, tuning: str) -> str:
    ordered = losses[tuning].dropna().sort_values()
    listed = ", ".join(f"{NAMES[mapping]} {loss:.3f}" for mapping, loss in ordered.items())
    return f"Language model {tuning}: best dev loss in nats per token, lowest first: {listed}."


def _speed(runs: list[Run], losses: pd.DataFrame, tuning: str) -> str:
    slow, fast = sorted(("mlp", "bert"), key=lambda name: -losses.at[name, tuning])
    slower, faster = (
        [run for run in runs if (run.params["mapping"], run.params["tuning"]) == (name, tuning)]
        for name in (slow, fast)
    )
    reached = []
    for one, other in zip(slower, faster, strict=False):  # a pair a seed
        goal = one.summary["best_dev_loss"]
        reached.append((images_until(one, goal), images_until(other, goal)))
    if not all(took for took, _ in reached):
        return f"Language model {tuning}: {NAMES[slow]} never got below the loss it started with."
    if not all(needed for _, needed in reached):
        return f"Language model {tuning}: {NAMES[fast]} did not reach {NAMES[slow]}'s best dev loss with every seed."
    ratios = sorted(took / needed for took, needed in reached)
    took, needed = (median(images) for images in zip(*reached, strict=True))
    spread = f" (median of {len(ratios)} seeds, {ratios[0]:.1f} to {ratios[-1]:.1f})" if len(ratios) > 1 else ""
    return (
        f"Language model {tuning}: {NAMES[fast]} reached {NAMES[slow]}'s best dev loss ({losses.at[slow, tuning]:.3f}) "
        f"after about {float(f'{needed:.3g}'):,.0f} images, {NAMES[slow]} after {took:,.0f}: "
        f"{NAMES[fast]} learned about {median(ratios):.1f} times as fast in images{spread}."
    )


def _confounded(losses: pd.DataFrame) -> str:
    corners = ("bert", "frozen"), ("mlp", "full")
    worse, better = sorted(corners, key=lambda cell: -losses.at[cell])
    mapping, tuning = shapley_shares(losses, worse, better)
    ways = {"frozen": "a frozen", "full": "a tuned"}
    parts = {"the mapping network": mapping, "tuning the language model": tuning}
    bigger, smaller = sorted(parts, key=lambda name: -abs(parts[name]))
    return (
        f"Mostly {bigger}: {NAMES[better[0]]} with {ways[better[1]]} language model ends {mapping + tuning:.3f} nats "
        f"below {NAMES[worse[0]]} with {ways[worse[1]]} one, and {_shares(parts, bigger, smaller)}."
    )


def _effects_of_tuning(losses: pd.DataFrame) -> list[str]:
    """Whether tuning does the same to every mapping network; an average over them would hide that it does not."""
    both = losses[["frozen", "full"]].dropna()
    changes = {
        what: [f"{NAMES[name]} ({row['frozen']:.3f} → {row['full']:.3f})" for name, row in both[which].iterrows()]
        for what, which in (
            ("lowers the loss of", both["full"] < both["frozen"]),
            ("raises that of", both["full"] > both["frozen"]),
        )
    }
    said = [f"{what} {', '.join(names)}" for what, names in changes.items() if names]
    return [f"Tuning the language model {', and '.join(said)}."] if said else []


def _shares(parts: dict[str, float], bigger: str, smaller: str) -> str:
    gap = sum(parts.values())
    if parts[smaller] * parts[bigger] < 0:
        return (
            f"{bigger} accounts for more than all of that ({parts[bigger]:+.3f}), "
            f"while {smaller}, averaged over the two, worked against it ({parts[smaller]:+.3f})"
        )
    each = (f"{name} accounts for {parts[name]:.3f} ({parts[name] / gap:.0%}) of that" for name in (bigger, smaller))
    return ", ".join(each)
