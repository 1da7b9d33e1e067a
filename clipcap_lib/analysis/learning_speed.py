"""After how many images one mapping network had learned what another learned at best, in a sentence."""

from math import floor, log10
from statistics import median
from typing import Any

import pandas as pd

from clipcap_lib.analysis.changes import capital
from clipcap_lib.analysis.loss_curves import images_until
from clipcap_lib.analysis.mapping_losses import mapping_name, way_of_tuning, with_shared_seeds
from clipcap_lib.runs import Run, loss_curve
from clipcap_lib.wording import say


def learning_speed(runs: list[Run], losses: pd.DataFrame, tuning: str) -> str:
    """After how many images the better of MLP and BERT had reached what the other reached at best."""
    both = with_shared_seeds(losses, ("mlp", tuning), ("bert", tuning))
    fast, slow = both.mean().sort_values(kind="stable").index.get_level_values("mapping")
    of = {(run.params["mapping"], run.params["seed"]): run for run in runs if run.params["tuning"] == tuning}
    goals = [(of[slow, seed], of[fast, seed], of[slow, seed].summary["best_dev_loss"]) for seed in both.index]
    reached = [(images_until(late, goal), images_until(early, goal)) for late, early, goal in goals]
    spacing = loss_curve(of[fast, both.index[0]].history, "dev")["images"].diff().median()
    best = {"slow": mapping_name(slow), "fast": mapping_name(fast), "loss": both[slow, tuning].mean()}
    return capital(say("{way}, {race}.", way=way_of_tuning(tuning), race=_race(best, reached, spacing)))


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
        "{fast} reached {slow}'s best dev loss ({loss:.3f}) after about {needed:,} images, read off between "
        "evaluations {spacing:,.0f} images apart as if the logarithm of the loss fell evenly, and {slow} after "
        "{took:,.0f}: {fast} {pace}",
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
