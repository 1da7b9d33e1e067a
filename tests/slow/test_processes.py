"""Several processes and sudden deaths, for real; each script prints its count."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("many_writers.py", "20 repetitions of 8 processes, 40 killed at work: 0 wrong rows"),
        ("slow/kill_runs.py", "20 of 20 killed runs came to identical histories and captions"),
    ],
)
def test_nothing_is_lost_or_mixed_up(tmp_path, script, said):
    done = subprocess.run([sys.executable, TESTS / script, tmp_path], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert said in done.stdout, done.stderr
