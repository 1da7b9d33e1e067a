"""The figures of notebook 08: losses and captions against data, learning rate, bridge and features."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import matplotlib.ticker as ticker
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipcap_lib.analysis.limits import LimitsStudy, describe_arm
from clipcap_lib.reporting.figures import CYCLE, FAINT, INK, _log_scale, _subplots, color_of
from clipcap_lib.wording import say, term

MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


def rate_curves(study: LimitsStudy) -> Figure:
    """Best dev loss against learning rate, a line an arm, its best rate marked; a panel a tuning."""
    figure, axes, panels = _panels(study, "tuning")
    for axis, part in zip(axes, panels, strict=True):
        for style, (arm, losses) in zip(_styles(), part.by_rate().iterrows(), strict=False):
            rates = [rate[0] if isinstance(rate, tuple) else rate for rate in losses.index]
            axis.plot(rates, losses.to_numpy(), label=arm, **style)
            best = losses.to_numpy().argmin()
            axis.plot(rates[best], losses.iloc[best], **(style | {"markersize": 11, "markerfacecolor": "none"}))
        axis.set(xlabel=say("learning rate"), xscale="log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.legend(frameon=False, fontsize=8)
    axes[0].set(ylabel=say("best dev loss (nats per token)"))
    figure.suptitle(say("Mean over seeds; the ring marks each arm's best rate"), fontsize=10, color=FAINT)
    return figure


def scaling_curves(study: LimitsStudy) -> Figure:
    """Dev loss, and captions that are wholly right, against training pictures: a curve a mapping, seeds as a band."""
    figure, axes = _subplots(1, 2, figsize=(11.2, 4.4))
    others = [key for key in study.factors if key not in ("used_images", "mapping")]
    table = study.table.assign(right=study.table.get("test_all", float("nan")) * 100)
    styles = dict(zip(table[others].astype(str).agg(", ".join, axis=1).unique(), ("-", "--", ":", "-."), strict=False))
    for (mapping, *chosen), rows in table.groupby(["mapping", *others], sort=False):
        line = styles[", ".join(map(str, chosen))]
        _band(axes[0], rows, "best_dev_loss", mapping, line, label=", ".join(map(str, [mapping, *chosen])))
        _band(axes[1], rows, "right", mapping, line)
    for axis in axes:
        axis.set(xlabel=say("training pictures"), xscale="log", xticks=study.values("used_images"))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.xaxis.set_minor_locator(ticker.NullLocator())
    _log_scale(axes[0])
    axes[0].set(ylabel=say("best dev loss (nats per token)"))
    axes[1].set(ylabel=say("captions wholly right (%)"))
    axes[0].legend(frameon=False, fontsize=9)
    figure.suptitle(say("Line: mean over seeds · band: lowest to highest seed"), fontsize=10, color=FAINT)
    return figure


def _band(axis: Axes, rows: pd.DataFrame, value: str, mapping: str, line: str, label: str | None = None) -> None:
    over = rows.groupby("used_images")[value].agg(["mean", "min", "max"])
    color = color_of(mapping)
    axis.plot(over.index, over["mean"], color=color, linestyle=line, marker="o", markersize=4, label=label)
    axis.fill_between(over.index, over["min"], over["max"], color=color, alpha=0.15, linewidth=0)


def factorial_dots(study: LimitsStudy) -> Figure:
    """Best dev loss of every arm: a dot a seed, a bar at the mean; a panel a tuning, sorted by loss."""
    figure, axes, panels = _panels(study, "tuning", sharey=False, height=0.42)
    for axis, part in zip(axes, panels, strict=True):
        keys = [key for key in part.factors if key != "tuning"]
        names = part.table[keys].apply(lambda row: describe_arm(row.to_dict()), axis=1)
        table = part.table.assign(arm=names)
        order = table.groupby("arm")["best_dev_loss"].mean().sort_values().index
        sns.stripplot(table, x="best_dev_loss", y="arm", order=order, color=CYCLE[0], size=6, jitter=False, ax=axis)
        for row, arm in enumerate(order):
            mean = table.loc[table["arm"] == arm, "best_dev_loss"].mean()
            axis.plot([mean, mean], [row - 0.3, row + 0.3], color=INK, linewidth=2)
        axis.set(xlabel=say("best dev loss (nats per token)"), ylabel="")
    return figure


def attribute_bars(study: LimitsStudy, factor: str = "features") -> Figure:
    """How often captions name each attribute rightly under each value of a factor; a panel a choice of the others."""
    others = [key for key in study.factors if key != factor]
    groups = list(dict.fromkeys(tuple(run.params[key] for key in others) for run in study.runs))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = _subplots(rows, columns, figsize=(4.6 * columns, 2.9 * rows), sharey=True, squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.axis("off")
    for axis, chosen in zip(axes.flat, groups, strict=False):
        part = study.where(**dict(zip(others, chosen, strict=True)))
        shares = {value: part.where(**{factor: value}).captions().mean() * 100 for value in part.values(factor)}
        table = pd.DataFrame(shares).rename(index=term)
        table.plot.bar(ax=axis, color=CYCLE, width=0.8, legend=axis is axes.flat[0])
        axis.set(title=", ".join(map(str, chosen)), ylim=(0, 100), ylabel=say("right (%)"))
        axis.title.set_fontsize(10)
        axis.tick_params(axis="x", rotation=35)
        axis.grid(axis="x", visible=False)
    return figure


def _panels(
    study: LimitsStudy, factor: str, sharey: bool = True, height: float = 0.0
) -> tuple[Figure, list[Axes], list[LimitsStudy]]:
    """A figure with a panel for each value of a factor, or with one where the runs do not differ in it."""
    values = study.values(factor) if factor in study.factors else [None]
    parts = [study.where(**{factor: value}) if value else study for value in values]
    arms = max(part.table["arm"].nunique() for part in parts)
    size = (5.6 * len(values), 1.4 + height * arms if height else 4.4)
    figure, axes = _subplots(1, len(values), figsize=size, sharey=sharey, squeeze=False)
    for axis, value in zip(axes[0], values, strict=True):
        axis.set(title=say("language model {tuning}", tuning=term(value)) if value else "")
    return figure, list(axes[0]), parts


def _styles() -> Iterator[dict[str, Any]]:
    """Colour, marker and line for one curve after the other: no two alike among the first 21."""
    lines = cycle(["-", "--", ":"])
    return ({"color": color, "marker": marker, "linestyle": next(lines), "markersize": 5}
            for color, marker in cycle(list(zip(CYCLE, MARKERS, strict=True))))  # fmt: skip
