"""The numbers beside a figure are those that were drawn."""

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.figure import Figure

from clipcap_lib.reporting.figure_data import figure_data


@pytest.fixture
def axis():
    return Figure().subplots()


def test_lines_and_points(axis):
    axis.plot([1, 2, 3], [0.5, 0.25, np.nan], label="dev")
    axis.scatter([7], [8])
    axis.set_title("Loss", loc="left")
    found = figure_data(axis.figure)
    assert found.values.tolist() == [["Loss", "dev", 1, 0.5], ["Loss", "dev", 2, 0.25], ["Loss", found.series[2], 7, 8]]


@pytest.mark.parametrize("draw", ["bar", "barh"])
def test_bars_have_the_names_they_stand_over(axis, draw):
    getattr(axis, draw)(["mlp", "bert"], [0.2, 0.4])
    assert figure_data(axis.figure)[["x", "y"]].values.tolist() == [["mlp", 0.2], ["bert", 0.4]]


def test_a_heat_map_by_row_and_column(axis):
    table = pd.DataFrame([[0.1, np.nan], [0.3, 0.4]], index=["a", "b"], columns=["x", "y"])
    sns.heatmap(table, ax=axis)
    found = figure_data(axis.figure)
    assert found[["series", "x", "y"]].values.tolist() == [["a", "x", 0.1], ["b", "x", 0.3], ["b", "y", 0.4]]


def test_a_picture_has_no_numbers(axis):
    axis.imshow(np.zeros((3, 3)))
    assert figure_data(axis.figure).empty
