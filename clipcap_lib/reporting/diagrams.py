"""Diagrams that explain a method: a packed row with its mask, one step of contrastive search."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase

from clipcap_lib.packing import Packed
from clipcap_lib.reporting.figures import BLUE, FAINT, INK, RED, _subplots
from clipcap_lib.wording import say

SEEN, HIDDEN = BLUE, "#f3f5f7"


def packed_row(packed: Packed, tokenizer: PreTrainedTokenizerBase, title: str, row: int = 0) -> Figure:
    """The attention mask [L, L] of one packed row: which position (row of the figure) sees which (column).

    Positions are labelled by what stands there: P for the prefix, or the token that is read.
    """
    filled = int(packed.mask[row, 0].any(0).sum())
    columns = packed.prefix_columns[packed.prefix_rows == row].tolist()
    tokens = tokenizer.convert_ids_to_tokens(packed.input_ids[row, :filled].tolist())
    labels = ["P" if column in columns else token for column, token in enumerate(tokens)]
    mask = packed.mask[row, 0, :filled, :filled].numpy().astype(int)
    side = max(4.5, 0.24 * filled)
    figure, axis = _subplots(figsize=(side + 0.6, side))
    axis.imshow(mask, cmap=ListedColormap([HIDDEN, SEEN]), vmin=0, vmax=1)
    axis.set_xticks(range(filled), labels, fontsize=9)
    axis.set_yticks(range(filled), labels, fontsize=9)
    axis.set(title=title, xlabel=say("is seen"), ylabel=say("position that looks"))
    between = np.arange(0.5, filled - 1)
    for lines in (axis.hlines, axis.vlines):  # minor ticks, one for each line, take half a second
        lines(between, -0.5, filled - 0.5, color="white", linewidth=1)
    axis.grid(visible=False)
    return figure


def contrastive_bars(table: pd.DataFrame, title: str) -> Figure:
    """What each candidate of a step of contrastive search gets and loses; `table` is of `contrastive_step`."""
    figure, axis = _subplots(figsize=(8, 0.55 * len(table) + 1.6))
    places = np.arange(len(table))[::-1]
    axis.barh(places + 0.2, table["confidence"], 0.36, color=BLUE, label=say("confidence (1 − α)·p(v)"))
    axis.barh(places - 0.2, table["penalty"], 0.36, color=RED, label=say("penalty −α·max cos"))
    axis.plot(table["score"], places, "D", color=INK, markersize=7, label=say("score: their sum"))
    best = int(table["score"].idxmax())
    axis.annotate(say("written"), (table["score"][best], places[best]), xytext=(0, 12), textcoords="offset points",
                  ha="center", fontsize=10)  # fmt: skip
    axis.axvline(0, color=FAINT, linewidth=0.8)
    axis.set_yticks(places, table["token"])
    axis.set(title=title, xlabel=say("part of the score"))
    axis.grid(axis="y", visible=False)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
