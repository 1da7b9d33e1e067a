"""The GPUs of this machine, handed out so that two notebooks never share one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none where there is none.

    torch asks the driver's management library where it can, so that CUDA need not be started here to count them.
    """
    import torch

    count, named = torch.cuda.device_count(), os.environ.get(VISIBLE)
    names = named.split(",") if named else map(str, range(count))
    return [name.strip() for name in names][:count]  # CUDA ends its list at the first name it does not know


class Devices:
    """A queue of GPUs: each is one notebook's at a time. Without GPUs nobody waits."""

    def __init__(self, names: list[str]) -> None:
        self.count, self.free, self.turn = len(names), SimpleQueue[str](), Lock()
        for name in names:
            self.free.put(name)

    @contextmanager
    def some(self, wanted: int = 1) -> Iterator[dict[str, str]]:
        """Wait for as many free GPUs, or all there are, and keep them until the block ends.

        Yields the environment that shows no other GPU.
        """
        if not self.count:
            yield {}
            return
        with self.turn:  # one collects at a time: of two that have a part each, both would wait forever
            names = [self.free.get() for _ in range(min(wanted, self.count))]
        try:
            yield {VISIBLE: ",".join(names)}
        finally:
            for name in names:
                self.free.put(name)
