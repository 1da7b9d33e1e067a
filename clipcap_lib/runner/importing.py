"""How much is imported at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 10_000  # made between two looks for garbage; Python's 700 take a twentieth of a notebook's time


@contextmanager
def importing() -> Iterator[None]:
    """Spare much that is imported the garbage collector, which would walk it all again and again, and at the end.

    That is a quarter of the time to import, and in a process that is forked it would copy what is shared. What is made
    later is looked through less often than by default.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(OBJECTS)
