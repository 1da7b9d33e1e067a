"""Let several processes extract into one feature store, kill two of them, and check every row: a script for tests.

python tests/many_writers.py FOLDER --processes 8 --pictures 800 --repetitions 20
"""

import argparse
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipcap_lib.digests import content_digest
from clipcap_lib.encoders import Encoder
from clipcap_lib.features import extract_features

WIDTH, SIDE = 16, 4
SIZE = 4 + 32 + 2 * WIDTH  # a record: checksum, digest, vector
torch.set_num_threads(1)


def embed(pixels: np.ndarray) -> np.ndarray:
    """A stand-in for CLIP that tells any two of the pictures apart: the first pixels themselves, as float16."""
    return pixels.reshape(len(pixels), -1)[:, :WIDTH].astype(np.float16)


def stand_in() -> Encoder:
    def preprocess(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image).copy())

    return Encoder(
        "stand-in", WIDTH, SIDE, "stamp", preprocess, lambda x: torch.from_numpy(embed(x.numpy())), None, 1.0
    )


def write_pictures(folder: Path, count: int) -> list[Path]:
    rng, paths = np.random.default_rng(0), [folder / f"{number:04d}.png" for number in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return paths


def start(paths: list[Path], store: Path, seed: int) -> int:
    """Fork a process that extracts three quarters of the pictures in an order of its own, one at a time."""
    if process := os.fork():
        return process
    chosen = random.Random(seed).sample(paths, 3 * len(paths) // 4)
    extract_features(stand_in(), chosen, store, batch_size=1, workers=0)
    os._exit(0)


def wrong_rows(paths: list[Path], store: Path) -> int:
    """How many rows of the whole store, and of what it answers, are not their own picture's embedding."""
    truth = {content_digest(path).encode(): embed(np.asarray(Image.open(path))[None])[0] for path in paths}
    answered = extract_features(stand_in(), paths, store, workers=0)
    found = answered.tensor().numpy()
    wrong = sum(not np.array_equal(vector, truth[content_digest(path).encode()])
                for path, vector in zip(paths, found, strict=True))  # fmt: skip
    return wrong + sum(vector != truth[digest].tobytes()
                       for file in (store / "stamp").glob("*.rows") for digest, vector in records(file))  # fmt: skip


def repeat(paths: list[Path], store: Path, processes: int, seed: int) -> tuple[int, int, int]:
    """Wrong rows, rows that the last run had to compute, and how many processes the kill met alive."""
    children = [start(paths, store, seed * processes + number) for number in range(processes)]
    wait_for_rows(store, random.Random(seed).randrange(1, len(paths) // 2))
    killed = 0
    for child in children[:2]:
        os.kill(child, signal.SIGKILL)
    for child in children:
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "an extraction failed"
    stored = {digest for file in (store / "stamp").glob("*.rows") for digest, _ in records(file)}
    last = extract_features(stand_in(), paths, store, workers=0)
    expected = sum(content_digest(path).encode() not in stored for path in paths)
    assert last.computed == expected, f"the last run computed {last.computed} rows where {expected} were lost"
    return wrong_rows(paths, store), last.computed, killed


def wait_for_rows(store: Path, count: int) -> None:
    """Return when that many rows stand in the store, of whichever process."""
    while sum(file.stat().st_size for file in (store / "stamp").glob("*.rows")) < count * SIZE:
        time.sleep(0.001)


def records(file: Path) -> list[tuple[bytes, bytes]]:
    """Digest and vector of every whole record, read without the library."""
    content = file.read_bytes()
    whole = [content[at : at + SIZE] for at in range(0, len(content) // SIZE * SIZE, SIZE)]
    return [(record[4:36], record[36:]) for record in whole]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for option, default in (("--processes", 8), ("--pictures", 800), ("--repetitions", 20)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    paths = write_pictures(options.folder / "pictures", options.pictures)
    total = np.zeros(3, int)
    for seed in range(options.repetitions):
        store = options.folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        total += repeat(paths, store, options.processes, seed)
    wrong, recomputed, killed = total
    print(f"{options.repetitions} repetitions of {options.processes} processes, {killed} killed at work: "
          f"{wrong} wrong rows, {recomputed} computed again by the last run")  # fmt: skip
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
