"""A figure in a notebook: the picture that matplotlib would save, a drawing and numbers, laid out once for all."""

import io
from base64 import b64decode

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib_inline.backend_inline import configure_inline_support
from matplotlib_inline.config import InlineBackend
from PIL import Image

from clipcap_lib.reporting import figure_formats, figures


@pytest.fixture
def figure():
    figures.use_style()
    shown = figures.histogram([1, 1, 2, 5], "Lengths 长度", "characters", "captions")
    yield shown
    plt.close("all")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_picture_is_the_one_that_matplotlib_saves(figure):
    saved = io.BytesIO()
    figure.savefig(saved, format="png", bbox_inches="tight")
    shown = figure_formats.mime_bundle(figure)["image/png"]
    assert np.array_equal(pixels(b64decode(shown)), pixels(saved.getvalue()))


def test_it_is_laid_out_once_and_again_when_it_has_changed(figure, monkeypatch):
    engine, times = figure.get_layout_engine(), []
    execute = engine.execute
    monkeypatch.setattr(engine, "execute", lambda drawn: (times.append(drawn), execute(drawn)))
    before = figure_formats.mime_bundle(figure)
    assert len(times) == 1
    figure.axes[0].set_ylabel("captions\nof all pictures\nin three lines")
    after = figure_formats.mime_bundle(figure)
    assert len(times) == 2 and figure.get_layout_engine() is engine
    assert before.keys() == after.keys() == {"image/png", "image/svg+xml", "text/csv"}
    assert before["image/png"] != after["image/png"]


def test_a_figure_that_is_not_laid_out_stays_so(figure):
    loose = plt.figure(layout="none")
    figure_formats.mime_bundle(loose)
    assert loose.get_layout_engine() is None


def test_a_figure_of_pictures_is_neither_a_drawing_nor_numbers(figure):
    pictures, axis = plt.subplots()
    axis.imshow(np.zeros((4, 4, 3)))
    assert list(figure_formats.mime_bundle(pictures)) == ["image/png"]


def test_a_notebook_shows_the_formats_and_no_second_picture(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(figure_formats, "get_ipython", lambda: shell)
    monkeypatch.setattr(InlineBackend, "_instance", None)
    figures.use_style()
    configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
    pictures = []
    monkeypatch.setattr(figure_formats, "_png", lambda *_: pictures.append("made") or "picture")
    data, _ = shell.display_formatter.format(figures.histogram([1, 2], "", "", ""))
    assert data["image/png"] == "picture" and pictures == ["made"]
    assert data["text/csv"].startswith("panel,series,x,y")
    assert data["image/svg+xml"].startswith("<?xml")
