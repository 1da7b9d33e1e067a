"""How much memory a piece of work needs: what it holds in the end, and the most it held on the way."""

import ctypes
import gc
import threading

import psutil


class Peak:
    """Resident memory of this process above its start: the highest while the block runs, sampled every two
    milliseconds, and what is left of it afterwards.
    """

    megabytes = 0.0
    held = 0.0

    def __enter__(self) -> "Peak":
        self.process = psutil.Process()  # once: to make it takes four times as long as to ask it
        _give_back()
        self.start, self.done = self._resident(), threading.Event()
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.002):
            self.megabytes = max(self.megabytes, self._resident() - self.start)

    def __exit__(self, *_) -> None:
        self.done.set()
        self.watcher.join()
        _give_back()
        self.held = self._resident() - self.start

    def _resident(self) -> float:
        return self.process.memory_info().rss / 1e6


def _give_back() -> None:
    # The allocator keeps what was freed, and a second repetition would seem to need nothing.
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
