"""How much is imported at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Spare much that is imported the garbage collector, which would walk it all again and again, and at the end.

    That is a quarter of the time to import, and in a process that is forked it would copy what is shared.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
