"""How much memory a piece of work needs: what it holds in the end, and the most it held on the way."""

import ctypes
import gc
import threading
from pathlib import Path

RESIDENT = Path("/proc/self/statm")


class Peak:
    """Resident memory of this process above its start: the highest while the block runs, sampled every two
    milliseconds, and what is left of it afterwards.
    """

    megabytes = 0.0
    held = 0.0

    def __enter__(self) -> "Peak":
        _give_back()
        self.start, self.done = _resident(), threading.Event()
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.002):
            self.megabytes = max(self.megabytes, _resident() - self.start)

    def __exit__(self, *_) -> None:
        self.done.set()
        self.watcher.join()
        _give_back()
        self.held = _resident() - self.start


def _give_back() -> None:
    # The allocator keeps what was freed, and a second repetition would seem to need nothing.
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _resident() -> float:
    pages = int(RESIDENT.read_text().split()[1]) if RESIDENT.exists() else 0
    return pages * 4096 / 1e6
