"""The notebooks' parameters cells: each setting stands once, in `settings` and the default experiment."""

from pathlib import Path

import pytest

from clipcap_lib.runner.experiment import find_experiment, load_experiment
from clipcap_lib.runner.parameter_cells import (
    BY_HAND,
    SETTINGS,
    notebook_parameters,
    parameters_cell,
    written_from_settings,
)

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("0[1-9]*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_alone_does_what_the_default_experiment_does(path, project):
    values = load_experiment(find_experiment(Path("emoji-zh"))).flat() | BY_HAND
    defaults = notebook_parameters(path)
    assert {key: default for key, default in defaults.items() if values.get(key, default) != default} == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_cells_are_written_from_the_settings(path, project):
    cell = parameters_cell(path).source
    assert cell == written_from_settings(cell), "run `python -m clipcap_lib.runner.parameter_cells`"
    assert cell.startswith("# ")  # a group begins it: what matters first


def test_a_line_that_drifted_is_written_anew_and_others_stay(project):
    cell = "# how it is trained\nsteps: int = 3  # an older word\nsamples: int = 8  # pictures shown"
    assert written_from_settings(cell) == (
        "# how it is trained\nsteps: int = 850  # optimiser steps\nsamples: int = 8  # pictures shown"
    )


def test_every_setting_says_what_it_is():
    assert [
        key for key, field in SETTINGS.items() if not field.description and key not in ("workers", "cell_timeout")
    ] == []
