"""Keeps transformers' progress bars out of notebooks, where they are left behind as litter."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Within this context transformers draws no progress bar; what was set before is restored."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an error says first; transformers goes on for paragraphs."""
    return next(iter(str(error).splitlines()), "")
