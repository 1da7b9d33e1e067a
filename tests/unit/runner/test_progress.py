"""The board says what is through and estimates the rest from notebooks of the same kind."""

from pathlib import Path

import pytest

from clipcap_lib.runner.jobs import Job, Outcome
from clipcap_lib.runner.progress import Board

RUNS = [Job("03_train", Path(f"runs/{number}"), {}) for number in range(4)]
LAST = Job("04_mlp_vs_bert", Path("notebooks/04"), {})


def test_what_is_left_is_the_mean_of_its_kind_over_the_workers():
    board = Board([*RUNS, LAST], workers=2)
    assert board.left() == 0  # nothing is known yet
    for run, seconds in zip(RUNS[:2], (50.0, 70.0), strict=True):
        board.finish(Outcome(run, "done", seconds))
    assert board.left() == 60  # two runs of a minute, side by side; of 04 nothing is known
    board.started[RUNS[2].folder] = board.began - 1000  # longer than the mean already
    assert board.left() == pytest.approx(30)
    assert board.total() == "2 of 5 notebooks, 0 s, at least 30 s more"


def test_what_was_kept_says_nothing_of_the_rest():
    board = Board(RUNS, workers=1)
    board.finish(Outcome(RUNS[0], "fresh", 600.0))
    assert board.total() == "1 of 4 notebooks, 0 s"
