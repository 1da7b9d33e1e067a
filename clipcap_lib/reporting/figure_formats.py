"""What a notebook keeps of a figure: a picture, a drawing for slides and print, and its numbers."""

import io
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from clipcap_lib.reporting.figure_data import figure_data

LARGEST_SVG = 400_000  # characters
DIGITS = 6  # of the numbers beside a figure: more than it shows


def show_figures_in_all_formats() -> None:
    """Let the notebook that calls this show each figure by `mime_bundle`; elsewhere do nothing."""
    if shell := get_ipython():
        from matplotlib_inline.config import InlineBackend  # here: when it is imported it looks for the kernel

        # matplotlib's own picture would be made beside this one.
        InlineBackend.instance(parent=shell).figure_formats = set()
        shell.display_formatter.mimebundle_formatter.for_type(Figure, mime_bundle)


def mime_bundle(figure: Figure) -> dict[str, str]:
    """A figure in its formats by media type: PNG in base64, SVG and CSV as far as there is one of it."""
    with _laid_out(figure) as box:
        bundle = {"image/png": _png(figure, box), "image/svg+xml": _svg(figure, box), "text/csv": _csv(figure)}
    return {kind: content for kind, content in bundle.items() if content}


@contextmanager
def _laid_out(figure: Figure) -> Iterator[Bbox]:
    """Arrange a figure once for all of its formats, which is half of the work; give where it has marks, in inches."""
    engine = figure.get_layout_engine()
    figure.draw_without_rendering()
    with plt.rc_context({"figure.constrained_layout.use": False}):  # or `None` would stand for that engine
        figure.set_layout_engine(None)
        try:
            yield figure.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])
        finally:
            figure.set_layout_engine(engine)


def _png(figure: Figure, box: Bbox) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches=box, dpi="figure")
    return b64encode(buffer.getvalue()).decode()


def _svg(figure: Figure, box: Bbox) -> str | None:
    """The figure as SVG; `None` for pictures and clouds of points, which are larger as drawings."""
    if any(image.get_array().ndim == 3 for axis in figure.axes for image in axis.images):
        return None  # drawn and thrown away, they would take most of a cell's time
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches=box, metadata={"Date": None})
    return buffer.getvalue() if buffer.tell() < LARGEST_SVG else None


def _csv(figure: Figure) -> str | None:
    """The numbers that a figure draws; `None` for one of pictures, which draws none."""
    numbers = figure_data(figure)
    return None if numbers.empty else numbers.to_csv(index=False, float_format=f"%.{DIGITS}g")
