"""The numbers that a figure draws, as a table: what a reader downloads beside it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

COLUMNS = ["panel", "series", "x", "y"]


def figure_data(figure: Figure) -> pd.DataFrame:
    """The lines, bars, points and heat maps of a figure: a row a value, with columns panel, series, x and y.

    Of a heat map `series` is the row, `x` the column and `y` the value. Pictures and marks drawn in have no rows.
    """
    rows = [
        (axis.get_title(loc="left") or axis.get_title() or str(number), *row)
        for number, axis in enumerate(figure.axes, start=1) if axis.get_label() != "<colorbar>" for row in _rows(axis)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS).dropna(subset="y", ignore_index=True)


def _rows(axis: Axes) -> list[tuple]:
    points = [each for each in axis.collections if isinstance(each, PathCollection)]
    rows = [
        (_name(drawn), x, y)
        for drawn in (*axis.get_lines(), *points)
        for x, y in (drawn.get_xydata() if drawn in axis.lines else np.asarray(drawn.get_offsets()))
    ]
    for bars in axis.containers:
        if isinstance(bars, BarContainer):
            rows += _of_bars(axis, bars)
    for mesh in axis.collections:
        if isinstance(mesh, QuadMesh):
            rows += _of_mesh(axis, mesh)
    return rows


def _name(drawn) -> str:
    label = str(drawn.get_label())
    return "" if label.startswith("_") else label


def _of_bars(axis: Axes, bars: BarContainer) -> list[tuple]:
    lying = bars.orientation == "horizontal"
    ticks = _ticks(axis.yaxis if lying else axis.xaxis)
    rows = []
    for bar in bars:
        place = bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
        length = bar.get_width() if lying else bar.get_height()
        rows.append((_name(bars), ticks.get(round(place), place), length))
    return rows


def _of_mesh(axis: Axes, mesh: QuadMesh) -> list[tuple]:
    values = np.ma.filled(np.ma.asarray(mesh.get_array(), dtype=float), np.nan)
    across, down = ([label.get_text() for label in which.get_ticklabels()] for which in (axis.xaxis, axis.yaxis))
    return [
        (_at(down, row), _at(across, column), value)
        for row, line in enumerate(values) for column, value in enumerate(line) if np.isfinite(value)
    ]  # fmt: skip


def _at(labels: list[str], place: int) -> str:
    return labels[place] if place < len(labels) else str(place)


def _ticks(axis) -> dict[int, str]:
    """The words under the places of an axis of categories."""
    placed = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
    return {round(place): label.get_text() for place, label in placed if label.get_text()}
