"""Kill `clipcap run emoji-tiny` again and again, run it on, and compare with a run that nobody killed.

    python tests/slow/kill_runs.py FOLDER --kills 20 --early 8

Prints how many of the killed runs came to the same histories and captions; exit code 1 unless all did.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

RUNS = [f"{mapping}-{tuning}-s0" for mapping in ("mlp", "bert") for tuning in ("frozen", "full")]
COMMAND = [sys.executable, "-c", "from clipcap_lib.cli import app; app()", "run", "emoji-tiny", "--reports"]
KILLS = ("clipcap alone", "clipcap and its kernels", "a kernel")


def start(reports: Path) -> subprocess.Popen:
    log = (reports.parent / f"{reports.name}.log").open("a")
    return subprocess.Popen([*COMMAND, str(reports)], stdout=log, stderr=log, start_new_session=True)


def trainings_done(reports: Path) -> bool:
    return all((reports / "emoji-tiny" / "runs" / run / "DONE").exists() for run in RUNS)


def finish_trainings(reports: Path) -> float:
    """Run until the four trainings are done, whatever comes after them; return the seconds it took."""
    started, process = time.monotonic(), start(reports)
    while not trainings_done(reports):
        assert process.poll() is None, f"it ended early: {reports}.log"
        time.sleep(0.1)
    end(process)
    return time.monotonic() - started


def end(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def first_rows(reports: Path) -> bool:
    """Whether a training has written a row of its history."""
    histories = (reports / "emoji-tiny" / "runs").glob(".*.partial/history.csv")
    return any(history.stat().st_size > 50 for history in histories)


def kill(reports: Path, early: bool, seconds: float, rng: random.Random) -> str:
    """Start a run and kill it: early, in the first two seconds of a training; else at any moment of the run."""
    process, how = start(reports), rng.choice(KILLS)
    if early:
        while not first_rows(reports) and process.poll() is None:
            time.sleep(0.02)
    time.sleep(rng.uniform(0, 2 if early else seconds))
    if process.poll() is not None:
        return "it had ended"
    if how == KILLS[0]:
        process.kill()
    elif how == KILLS[1] or not (kernels := kernels_of(process.pid)):
        how = KILLS[1]
        end(process)
    else:
        os.kill(rng.choice(kernels), signal.SIGKILL)
        time.sleep(3)
        end(process)
    process.wait()
    return how


def kernels_of(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", "ipykernel"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def results(reports: Path) -> list[pd.DataFrame]:
    """Histories, but for their seconds, and captions of the four trainings."""
    folders = [reports / "emoji-tiny" / "runs" / run for run in RUNS]
    histories = [pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in folders]
    return histories + [pd.read_parquet(folder / "captions.parquet") for folder in folders]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for option, default in (("--kills", 20), ("--early", 8), ("--seed", 0)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    finish_trainings(folder / "whole-first")  # makes corpus and features, whose time shall not count
    seconds = finish_trainings(folder / "whole")
    expected, same = results(folder / "whole"), 0
    for number in range(options.kills):
        reports, rng = folder / f"killed-{number}", random.Random(options.seed * 1000 + number)
        shutil.rmtree(reports, ignore_errors=True)
        how = kill(reports, number < options.early, seconds, rng)
        finish_trainings(reports)
        equal = all(one.equals(other) for one, other in zip(results(reports), expected, strict=True))
        same += equal
        print(f"kill {number + 1}: {how}: {'the same' if equal else 'OTHER RESULTS'}", flush=True)
    print(f"{same} of {options.kills} killed runs came to identical histories and captions")
    raise SystemExit(same != options.kills)


if __name__ == "__main__":
    main()
