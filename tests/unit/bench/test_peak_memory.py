"""Memory is what the system says of this process: the most while a block runs, and what is left of it."""

import time

import numpy as np
import pytest

from clipcap_lib.bench.peak_memory import Peak


def test_what_was_freed_counts_to_the_peak_and_what_was_kept_is_held():
    with Peak() as peak:
        passing = np.ones(20_000_000)  # 160 MB
        time.sleep(0.1)
        del passing
        kept = np.ones(5_000_000)  # 40 MB
    assert peak.megabytes == pytest.approx(160, abs=30)
    assert peak.held == pytest.approx(kept.nbytes / 1e6, abs=20)
