"""Importing much at once, without looking for garbage on the way."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 10_000  # made between two looks for garbage; Python's 700 take a twentieth of a notebook's time


@contextmanager
def importing() -> Iterator[None]:
    """Turn garbage collection off while modules are imported, and leave what they made out of it for good.

    It would go through all of that again and again, for a quarter of the time to import, and in a forked process it
    would copy memory that is shared. Afterwards it runs less often than by default.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(OBJECTS)
