"""What reading and extraction from shards cost beside decoding and the encoder: pictures a second, and memory.

python -m clipcap_lib.bench.shards --rows 1000000 --gallery reports/gallery
"""

import io
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil
import seaborn as sns
import torch
import typer
from matplotlib.figure import Figure
from PIL import Image

from clipcap_lib.corpus import shard_features, shards
from clipcap_lib.encoders import Encoder
from clipcap_lib.provenance.record import set_threads
from clipcap_lib.reporting.figures import CYCLE, use_style
from clipcap_lib.reporting.language import speaking
from clipcap_lib.wording import say

WIDTH, DIGITS = 512, 9
CAPTION = b"an orange square, drawn to measure what a million pictures cost: "  # 64 letters: a size has no nine zeros
STEPS = 10  # measurements of each stage
HEADER, CHECKSUM = tarfile.BLOCKSIZE, slice(148, 156)


def write_shards(folder: Path, rows: int, per_shard: int) -> list[Path]:
    """Tar files of distinct small JPEGs with captions: one sample's bytes, in which only its number is changed."""
    template = _sample()
    paths = [folder / f"{number:05d}.tar" for number in range(-(-rows // per_shard))]
    for number, path in enumerate(paths):
        first = number * per_shard
        path.write_bytes(_numbered(template, np.arange(first, min(first + per_shard, rows))) + bytes(2 * HEADER))
    return paths


def _sample() -> np.ndarray:
    """The bytes of a picture and its caption in a tar file, their number written as zeros."""
    picture, tar, zeros = io.BytesIO(), io.BytesIO(), b"0" * DIGITS
    Image.new("RGB", (16, 16), (200, 120, 40)).save(picture, "jpeg", comment=zeros)
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for suffix, data in ((".jpg", picture.getvalue()), (".txt", CAPTION + zeros)):
            member = tarfile.TarInfo(zeros.decode() + suffix)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        end = file.offset
    return np.frombuffer(tar.getvalue()[:end], np.uint8)


def _numbered(template: np.ndarray, numbers: np.ndarray) -> bytes:
    samples, content = np.tile(template, (len(numbers), 1)), template.tobytes()
    digits = numbers[:, None] // 10 ** np.arange(DIGITS - 1, -1, -1) % 10 + ord("0")
    at = -1
    while (at := content.find(b"0" * DIGITS, at + 1)) >= 0:
        if b"0" not in (content[at - 1 : at], content[at + DIGITS : at + DIGITS + 1]):  # not a longer run: of a header
            samples[:, at : at + DIGITS] = digits
    for name in (b".jpg\0", b".txt\0"):
        header = samples[:, content.index(name) - DIGITS :][:, :HEADER]
        header[:, CHECKSUM] = ord(" ")
        sums = header.sum(1, dtype=np.int64)
        header[:, CHECKSUM] = np.frombuffer(b"000000\0 ", np.uint8)
        header[:, 148:154] = sums[:, None] >> 3 * np.arange(5, -1, -1) & 7 | ord("0")
    return samples.tobytes()


@dataclass
class Measured:
    """Rows of stage, pictures, pictures a second since the row before, and megabytes of all processes together."""

    every: int
    rows: list[tuple[str, int, float, float]] = field(default_factory=list)

    def listener(self, stage: str) -> Callable[[shards.Progress], None]:
        """What notes and prints a row whenever as many pictures more have passed."""
        last = [0, time.perf_counter()]

        def hear(progress: shards.Progress) -> None:
            if progress.pictures < last[0] + self.every:
                return
            now = time.perf_counter()
            rate = (progress.pictures - last[0]) / (now - last[1])
            self.rows.append((stage, progress.pictures, rate, _megabytes()))
            print("{:<12} {:>10,} pictures {:>8,.0f} a second {:>7,.0f} MB".format(*self.rows[-1]), flush=True)
            last[:] = progress.pictures, time.perf_counter()

        return hear

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=["stage", "pictures", "rate", "megabytes"])


def _megabytes() -> float:
    """The memory of this process and its children; what several share counts once, where the system tells (Linux)."""
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
        except psutil.NoSuchProcess:  # a worker that has just ended
            continue
    return total / 1e6


def measure(folder: Path, rows: int, per_shard: int) -> Measured:
    """Read and extract generated shards in a folder, whose pictures are neither decoded nor embedded."""
    paths, store, measured = write_shards(folder, rows, per_shard), folder / "store", Measured(max(1, rows // STEPS))
    names = [f"{paths[number // per_shard]}/{number:0{DIGITS}d}.jpg" for number in range(rows)]
    pictures, pixels, vectors = pd.Series(names, dtype="str"), torch.zeros(1), torch.ones(WIDTH)
    del names
    nothing = Encoder("none", WIDTH, 1, "none", lambda _: pixels, lambda x: vectors.expand(len(x), -1), None, 1.0)
    # Decoding costs what pictures cost: `make rehearse` measures it.
    with (
        patch.object(shards, "EVERY", -1.0),
        patch.object(shards, "picture_fault", lambda _: None),
        patch.object(shard_features, "open_picture", lambda *_: None),
    ):
        shards.index_shards(paths, store / shards.INDEXES, measured.listener("reading"))
        found = shard_features.extract_shards(nothing, pictures, store, tell=measured.listener("extraction"))
    if found.computed != rows or not (found.tensor([0, rows - 1]) == 1).all():
        raise RuntimeError(f"{found.computed:,} of {rows:,} pictures were stored")
    return measured


def curve(table: pd.DataFrame) -> Figure:
    """Pictures a second and memory against the number of pictures, for reading and for extraction."""
    use_style()
    words = {"reading": say("reading the shards"), "extraction": say("extraction without the encoder")}
    table = table.assign(stage=table["stage"].map(words))
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = {"rate": say("Pictures a second"), "megabytes": say("Memory of all processes, MB")}
    for axis, (column, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        sns.lineplot(
            table, x="pictures", y=column, hue="stage", palette=CYCLE[:2], marker="o", ax=axis, legend=column == "rate"
        )
        axis.set(title=title, xlabel=say("pictures"), ylabel="", ylim=(0, 1.08 * table[column].max()))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.tick_params("x", rotation=30)
    lines = figure.axes[0].get_legend_handles_labels()
    figure.axes[0].get_legend().remove()
    figure.legend(*lines, loc="outside lower center", ncols=2, frameon=False)
    return figure


def main(
    rows: Annotated[int, typer.Option(help="pictures")] = 1_000_000,
    per_shard: Annotated[int, typer.Option(help="pictures of a shard; img2dataset's default is 10,000")] = 10_000,
    threads: Annotated[int, typer.Option(help="threads torch may use")] = 1,
    folder: Annotated[Path | None, typer.Option(help="where 4 GB a million pictures may stand meanwhile")] = None,
    gallery: Annotated[Path | None, typer.Option(help="write <language>/shards.png and shards.csv into it")] = None,
) -> None:
    """Generate shards, read them, extract from them, and print each measurement as it is made."""
    set_threads(threads)
    with TemporaryDirectory(dir=folder, prefix="shards-") as place:
        table = measure(Path(place), rows, per_shard).table()
    if gallery:
        table.round(1).to_csv(gallery / "shards.csv", index=False)
        for language in ("en", "zh"):
            with speaking(language):
                curve(table).savefig(gallery / language / "shards.png", bbox_inches="tight")


if __name__ == "__main__":
    typer.run(main)
