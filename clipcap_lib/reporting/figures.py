"""Every plot of the workbench, one style, Chinese included; each function returns a `Figure`."""

import itertools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.font_manager as fonts
import matplotlib.pyplot as plt
import matplotlib.ticker as ticker
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clipcap_lib.emoji.attributes import ATTRIBUTES, ENOUGH_PICTURES
from clipcap_lib.images import open_picture
from clipcap_lib.reporting.figure_formats import show_figures_in_all_formats
from clipcap_lib.runs import Run, loss_curve
from clipcap_lib.wording import say, term

FONTS = ["DejaVu Sans", "Noto Sans SC"]
INK, FAINT = "#22313f", "#9aa5b1"
# Okabe and Ito's colours, told apart by who sees no red or green, in an order of unequal lightness: in grey, too.
BLUE, ORANGE, BLACK, PURPLE, GREEN, SKY, RED = (
    "#0072b2", "#e69f00", "#22313f", "#cc79a7", "#009e73", "#56b4e9", "#d55e00",
)  # fmt: skip
CYCLE = (BLUE, ORANGE, BLACK, PURPLE, GREEN, SKY, RED)
MAPPINGS = {"mlp": BLUE, "bert": ORANGE, "transformer": BLACK, "linear": GREEN, "direct": SKY}


def color_of(mapping: str) -> str:
    """The colour of a mapping network in every figure; one for all that are not the library's own."""
    return MAPPINGS.get(mapping, PURPLE)


def use_style() -> None:
    """Set the figure style of the workbench in this kernel; call it once, before the first figure."""
    show_figures_in_all_formats()
    fonts.fontManager.addfont(str(files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf"))
    sns.set_theme(
        style="ticks", context="notebook",
        rc={
            # Titles are marked by size, not weight: the Chinese font comes in one weight.
            "font.family": FONTS, "axes.titlesize": 13, "axes.titlelocation": "left",
            "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e8ecf0",
            "text.color": INK, "axes.labelcolor": INK, "figure.dpi": 100, "savefig.dpi": 100,
            "figure.constrained_layout.use": True, "svg.hashsalt": "clipcap",  # or its ids are drawn anew each time
        },
    )  # fmt: skip


def _subplots(*shape: int, **options: Any) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(*shape, **options)
    plt.close(figure)  # or the notebook shows every figure a second time at the end of its cell
    return figure, axes


def _log_scale(axis: Axes) -> None:
    """Loss on a logarithmic axis, with numbers as people write them."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())


# --- curves --------------------------------------------------------------------------------------------------------


def _smoothed(train: pd.DataFrame) -> pd.Series:
    return train["value"].ewm(span=max(2, len(train) // 25)).mean()


def _draw_run(axis: Axes, runs: list[Run], x: str) -> None:
    """All seeds of one mapping and tuning: raw faint, smoothed bold, dev dashed with its band, minimum marked."""
    color, label = color_of(runs[0].params["mapping"]), runs[0].label
    for run in runs:
        train = loss_curve(run.history, "train")
        smooth = _smoothed(train)
        axis.plot(train[x], train["value"], color=color, alpha=0.12, linewidth=0.7)
        axis.plot(train[x], smooth, color=color, linewidth=2, label=label if run is runs[0] else None)
        dev = loss_curve(run.history, "dev")
        best = dev.loc[dev["value"].idxmin()]
        axis.plot(dev[x], dev["value"], color=color, linewidth=1.4, linestyle="--")
        axis.plot(best[x], best["value"], marker="o", markersize=6, color=color, markeredgecolor="white", zorder=5)
    if len(runs) > 1 and x == "images":
        dev = pd.concat([loss_curve(run.history, "dev") for run in runs]).groupby(x)["value"].agg(["min", "max"])
        axis.fill_between(dev.index, dev["min"], dev["max"], color=color, alpha=0.18, linewidth=0)


def learning_curves(runs: Sequence[Run], x: str = "images") -> Figure:
    """Loss against images or seconds, a panel a tuning: train faint and smoothed, dev dashed, minimum marked."""
    tunings = list(dict.fromkeys(run.params["tuning"] for run in runs))
    figure, axes = _subplots(1, len(tunings), figsize=(5.6 * len(tunings), 4.4), sharey=True, squeeze=False)
    for axis, tuning in zip(axes[0], tunings, strict=True):
        for mapping in dict.fromkeys(run.params["mapping"] for run in runs):
            same = [run for run in runs if (run.params["mapping"], run.params["tuning"]) == (mapping, tuning)]
            if same:
                _draw_run(axis, same, x)
        axis.set(title=say("language model {tuning}", tuning=term(tuning)), xlabel=_along(x))
    dev = pd.concat([loss_curve(run.history, "dev") for run in runs])["value"]
    lowest = min(dev.min(), *(_smoothed(loss_curve(run.history, "train")).min() for run in runs))
    axes[0, 0].set(ylabel=say("loss (nats per token)"), ylim=(lowest * 0.9, min(dev.max(), dev.min() * 6) * 1.03))
    for axis in axes[0]:
        name_lines(axis)
    told = say("Thin: every step · bold: smoothed · dashed: dev · dot: best dev loss")
    figure.suptitle(told, fontsize=10, color=FAINT)
    return figure


def _along(x: str) -> str:
    return say("images seen") if x == "images" else say("seconds of training")


def overlaid_curves(runs: dict[str, Run]) -> Figure:
    """Smoothed train and dashed dev loss of named runs on common axes, against images and against seconds."""
    figure, axes = _subplots(1, 2, figsize=(11.2, 4.4), sharey=True)
    for (label, run), color in zip(runs.items(), _colors_of(list(runs.values())), strict=True):
        train, dev = loss_curve(run.history, "train"), loss_curve(run.history, "dev")
        smooth = _smoothed(train)
        for axis, x in zip(axes, ("images", "seconds"), strict=True):
            axis.plot(train[x], smooth, color=color, linewidth=2, label=label)
            axis.plot(dev[x], dev["value"], color=color, linewidth=1.4, linestyle="--")
            axis.set(xlabel=_along(x))
            _log_scale(axis)
    axes[0].set(ylabel=say("loss (nats per token)"), title=say("bold: train, smoothed · dashed: dev"))
    for axis in axes:
        name_lines(axis)
    return figure


def _colors_of(runs: list[Run]) -> list[str]:
    # A mapping's own colour, as everywhere, where no two of the runs share one.
    own = [color_of(run.params["mapping"]) for run in runs]
    return own if len(set(own)) == len(own) else list(itertools.islice(itertools.cycle(CYCLE), len(runs)))


def name_lines(axis: Axes) -> None:
    """Write the name of each labelled line at its end, pushed apart where ends meet; the limits must stand."""
    to_fraction = axis.transData + axis.transAxes.inverted()
    named = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
    ends = {line: np.clip(to_fraction.transform((0, line.get_ydata()[-1]))[1], 0, 1) for line in named}
    level = -np.inf
    for line in sorted(named, key=ends.get):
        level = max(ends[line], level + 0.065)
        end = np.clip(line.get_ydata()[-1], *axis.get_ylim())  # a line from outside would be drawn as far as it lies
        axis.annotate(
            line.get_label(), (line.get_xdata()[-1], end), xytext=(1.03, level), fontsize=10,
            textcoords="axes fraction", va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 1.2},
        )  # fmt: skip


def single_curve(run_history: pd.DataFrame, title: str, color: str) -> Figure:
    """The loss curve of one run."""
    figure, axis = _subplots(figsize=(8, 4))
    train, dev = (loss_curve(run_history, split) for split in ("train", "dev"))
    axis.plot(train["images"], train["value"], color=color, alpha=0.15, linewidth=0.7)
    smooth = _smoothed(train)
    axis.plot(train["images"], smooth, color=color, linewidth=2, label=say("train, smoothed"))
    axis.plot(dev["images"], dev["value"], color=color, linestyle="--", marker=".", label=term("dev"))
    best = dev.loc[dev["value"].idxmin()]
    axis.annotate(say("best dev {loss:.3f}", loss=best["value"]), (best["images"], best["value"]), xytext=(0, 18),
                  textcoords="offset points", ha="right", arrowprops={"arrowstyle": "-", "color": FAINT})  # fmt: skip
    axis.set(title=title, xlabel=say("images seen"), ylabel=say("loss (nats per token)"))
    axis.legend(frameon=False)
    return figure


def loss_bars(table: pd.DataFrame) -> Figure:
    """Best dev loss of every mapping and tuning, seeds as error bars; `table` is `runs.summary_table`."""
    figure, axis = _subplots(figsize=(8, 3.6))
    colors = {mapping: color_of(mapping) for mapping in table["mapping"].unique()}
    table = table.assign(tuning=table["tuning"].map(term))
    sns.barplot(table, x="tuning", y="best_dev_loss", hue="mapping", palette=colors, ax=axis, errorbar=("pi", 100))
    for bars in axis.containers:
        if hasattr(bars, "patches"):
            axis.bar_label(bars, fmt="%.3f", fontsize=9, padding=2)
    axis.set(title=say("Best dev loss"), xlabel=say("how the language model was trained"), ylabel=say("nats per token"))
    axis.grid(axis="x", visible=False)
    sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return figure


# --- data ----------------------------------------------------------------------------------------------------------


def image_grid(paths: Sequence[str | Path], titles: Sequence[str], columns: int = 6) -> Figure:
    """Pictures with a line of text under each."""
    rows = -(-len(paths) // columns)
    figure, axes = _subplots(rows, columns, figsize=(2.3 * columns, 2.5 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, path, title in zip(axes.flat, paths, titles, strict=False):
        axis.imshow(open_picture(Path(path)))
        wrapped = fill(title, 26 if title.isascii() else 14)
        axis.set_title(wrapped, fontsize=9, fontweight="normal", loc="center")
    return figure


def histogram(values: Sequence[int], title: str, xlabel: str, ylabel: str) -> Figure:
    """How often each whole number occurs."""
    figure, axis = _subplots(figsize=(8, 3))
    counts = pd.Series(values).value_counts().sort_index()
    axis.bar(counts.index, counts.to_numpy(), color=BLUE, width=0.85)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.grid(axis="x", visible=False)
    return figure


def frequency_bars(counts: pd.Series, title: str, xlabel: str) -> Figure:
    """Horizontal bars of named counts."""
    figure, axis = _subplots(figsize=(8, 0.28 * len(counts) + 1))
    axis.barh([term(str(name)) for name in counts.index[::-1]], counts.to_numpy()[::-1], color=SKY)
    axis.set(title=title, xlabel=xlabel)
    axis.grid(axis="y", visible=False)
    return figure


def embedding_map(vectors: np.ndarray, labels: Sequence[str], title: str) -> Figure:
    """The two leading principal components of embeddings [N, D], a colour and marker a label."""
    from sklearn.decomposition import PCA  # here, because it takes a second and every notebook imports this module

    components = PCA(2, svd_solver="full")  # of many numbers the default draws a random approximation
    x, y = components.fit_transform(vectors).T
    share = components.explained_variance_ratio_
    figure, axis = _subplots(figsize=(8.5, 5))
    labels = [term(label) for label in labels]
    names = sorted(set(labels))
    # Neighbouring colours of many are hard to tell apart, so they get different markers.
    markers = dict(zip(names, itertools.cycle(["o", "X", "^"]), strict=False))
    sns.scatterplot(
        x=x, y=y, hue=labels, hue_order=names, style=list(labels), markers=markers, s=26, linewidth=0,
        palette="husl", ax=axis,
    )  # fmt: skip
    axis.set(
        title=title, xlabel=say("component 1 ({share:.0%} of variance)", share=share[0]),
        ylabel=say("component 2 ({share:.0%})", share=share[1]),
    )  # fmt: skip
    sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return figure


def similarity_matrix(vectors: np.ndarray, title: str) -> Figure:
    """Cosine similarity of every pair of embeddings [N, D], as a heat map."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    figure, axis = _subplots(figsize=(5.6, 4.6))
    sns.heatmap(
        unit @ unit.T,
        cmap="mako",
        square=True,
        xticklabels=False,
        yticklabels=False,
        ax=axis,
        cbar_kws={"label": say("cosine")},
    )
    axis.set_title(title)
    return figure


# --- results -------------------------------------------------------------------------------------------------------


def accuracy_heatmap(table: pd.DataFrame, title: str) -> Figure:
    """Attribute accuracy in percent, a row a run; `table` is one of `attributes.attribute_accuracy` by run label.

    Shares over few pictures are grey and say how many: colour is for what can be relied on.
    """
    figure, axis = _subplots(figsize=(8.5, 0.5 * len(table) + 1.4))
    percent = (table[ATTRIBUTES] * 100).rename(columns=term)
    pictures = table[[f"n_{name}" for name in ATTRIBUTES]].to_numpy()
    few = pictures < ENOUGH_PICTURES
    sns.heatmap(percent, mask=few, annot=True, fmt=".0f", cmap="YlGnBu", vmin=0, vmax=100, ax=axis,
                linewidths=1.5, cbar_kws={"label": say("percent right")})  # fmt: skip
    for row, column in zip(*np.nonzero(few), strict=True):
        axis.add_patch(Rectangle((column, row), 1, 1, facecolor="#eef1f4", edgecolor="white", linewidth=1.5))
        count = pictures[row, column]
        text = f"{percent.iat[row, column]:.0f}\nn = {count}" if count else "–"
        axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=INK, alpha=0.7, fontsize=9)
    axis.set(title=title, ylabel="")
    axis.tick_params(axis="y", rotation=0)
    return figure


def factor_bars(table: pd.DataFrame, title: str) -> Figure:
    """The share of right captions by what is in the picture, a panel a factor; see `attributes.accuracy_by_factor`."""
    groups = list(table.groupby("factor", sort=False))
    widths = [len(rows) + 1 for _, rows in groups]
    figure, axes = _subplots(1, len(groups), figsize=(12, 3.6), sharey=True, width_ratios=widths, squeeze=False)
    for axis, (factor, rows) in zip(axes[0], groups, strict=True):
        values = [_of_factor(factor, value) for value in rows["value"]]
        bars = axis.bar(values, rows["right"] * 100, color=BLUE, width=0.75)
        axis.bar_label(bars, [f"n={n}" for n in rows["pictures"]], fontsize=8, color=FAINT, rotation=90, padding=3)
        axis.set(xlabel=term(factor), ylim=(0, 118), yticks=range(0, 101, 25))
        axis.tick_params(axis="x", rotation=90 if rows["value"].str.len().max() > 3 else 0)
        axis.grid(axis="x", visible=False)
    axes[0, 0].set(ylabel=say("captions wholly right (%)"))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    return figure


def _of_factor(factor: str, value: str) -> str:
    """The name of a value: by itself, or of a factor, for what is left of another is not what is right."""
    told = term(f"{factor} {value}")
    return term(value) if told == f"{factor} {value}" else told


def confusion_bars(pairs: pd.Series, title: str) -> Figure:
    """The most frequent mistakes, as horizontal bars; an empty series gives a figure that says so."""
    if pairs.empty:
        figure, axis = _subplots(figsize=(8, 1.2))
        axis.axis("off")
        axis.text(0, 0.5, say("{title}: none", title=title), fontsize=12)
        return figure
    told = pairs.rename(lambda pair: " → ".join(map(term, pair.split(" → "))))
    return frequency_bars(told, title, say("captions"))


# --- decoding ------------------------------------------------------------------------------------------------------

STRATEGIES = {
    "greedy": BLACK, "beam": BLUE, "sample": SKY, "contrastive": RED, "magic": PURPLE, "best-of-n": ORANGE,
    "mbr": GREEN,
}  # fmt: skip


def quality_against_diversity(table: pd.DataFrame, quality: str, variety: str) -> Figure:
    """A dot a strategy; `table` is indexed by strategy as `parse_strategy` reads it."""
    figure, axis = _subplots(figsize=(9, 5))
    x, y = table[variety], table[quality]
    axis.scatter(x, y, s=70, c=[STRATEGIES[name.split()[0]] for name in table.index], zorder=3)
    order = y.sort_values().index
    gap = 0.045 * max(float(y.max() - y.min()), 1e-9)
    level = -np.inf
    for name in order:  # labels at the right, pushed apart so that none covers another
        level = max(float(y[name]), level + gap)
        axis.annotate(
            name, (x[name], y[name]), xytext=(1.02, level), textcoords=("axes fraction", "data"), fontsize=9,
            va="center", annotation_clip=False, arrowprops={"arrowstyle": "-", "color": "#d5dbe1"},
        )  # fmt: skip
    axis.set(title=say("Quality against diversity"), xlabel=term(variety), ylabel=term(quality))
    return figure


def grid_heatmaps(grids: dict[str, pd.DataFrame]) -> Figure:
    """Metrics over k × α of contrastive search, a panel a metric."""
    figure, axes = _subplots(1, len(grids), figsize=(5.4 * len(grids), 3.2), squeeze=False)
    for axis, (name, grid) in zip(axes[0], grids.items(), strict=True):
        sns.heatmap(grid.astype(float), annot=True, fmt=".2f", cmap="YlGnBu", ax=axis, linewidths=1.5, cbar=False)
        axis.set(title=term(name))
        axis.tick_params(axis="y", rotation=0)
    return figure


def token_similarity_heatmaps(panels: dict[str, tuple[np.ndarray, list[str]]]) -> Figure:
    """Cosines between the hidden states of a caption's tokens, a panel a model: title → (cosines [T, T], tokens)."""
    figure, axes = _subplots(1, len(panels), figsize=(5.6 * len(panels), 4.8), squeeze=False)
    for axis, (title, (cosines, tokens)) in zip(axes[0], panels.items(), strict=True):
        sns.heatmap(cosines, cmap="mako", vmin=min(0.0, float(cosines.min())), vmax=1, square=True, ax=axis,
                    xticklabels=tokens, yticklabels=tokens, cbar_kws={"label": say("cosine")})  # fmt: skip
        axis.set_title(title)
        axis.tick_params(axis="x", rotation=0 if max(map(len, tokens)) == 1 else 90)
        axis.tick_params(axis="y", rotation=0)
    return figure


def next_token_bars(probabilities: pd.Series, top_k: int, top_p: float, context: str, shown: int = 16) -> Figure:
    """The likeliest next tokens, with the cuts of top-k and top-p drawn in."""
    top = probabilities.head(shown)
    nucleus = int((probabilities.cumsum().shift(fill_value=0) < top_p).sum())
    figure, axis = _subplots(figsize=(9, 3.6))
    colors = [BLUE if i < nucleus else "#c9d1d9" for i in range(len(top))]
    axis.bar(range(len(top)), top.to_numpy(), color=colors)
    axis.set_xticks(range(len(top)), top.index, fontsize=11 if not "".join(top.index).isascii() else 9)
    for place, label, color in ((top_k, f"top-k {top_k}", RED), (nucleus, f"top-p {top_p}", BLUE)):
        if place <= len(top):
            told = say("{cut} ends here", cut=label)
            axis.axvline(place - 0.5, color=color, linestyle="--", linewidth=1.5, label=told)
    axis.set(title=say("What may come after “{context}”", context=context), ylabel=say("probability"))
    axis.grid(axis="x", visible=False)
    axis.legend(frameon=False)
    return figure


def loss_line(states: pd.DataFrame, title: str) -> Figure:
    """The loss of a pretraining; `states` has step and loss."""
    figure, axis = _subplots(figsize=(8, 3.2))
    axis.plot(states["step"], states["loss"], color=BLUE, linewidth=2)
    axis.set(title=title, xlabel=say("step"), ylabel=say("loss"))
    _log_scale(axis)
    return figure
