"""A resumable, memory-mapped float16 store of image features that several processes may write at once."""

import os
import time
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clipcap_lib.digests import MANIFEST, bytes_digest, file_digests
from clipcap_lib.encoders import Encoder, FeatureKind
from clipcap_lib.images import open_picture

OLDER = ("vectors.f16", "digests.txt")  # the store of earlier versions


@dataclass(frozen=True)
class Rows:
    """Features [rows, D] or [rows, T, D] in memory-mapped files, numbered through; `rows[numbers]` reads only those."""

    parts: Sequence[np.ndarray]
    shape: tuple[int, ...]  # of one row

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        found, starts = np.empty((len(numbers), *self.shape), np.float16), np.cumsum([0, *map(len, self.parts)])
        owners = np.searchsorted(starts, numbers, side="right") - 1
        for owner in np.unique(owners):
            here = owners == owner
            found[here] = self.parts[owner][numbers[here] - starts[owner]]
        return found


@dataclass(frozen=True)
class Features:
    """Features of images in the order they were asked for: `vectors` by row number, `rows` [images].

    `vectors` [rows, D], or [rows, T, D] of a grid, is one array or memory map, or the `Rows` of a store.
    """

    vectors: np.ndarray | Rows
    rows: np.ndarray
    seconds: float
    computed: int

    def __len__(self) -> int:
        return len(self.rows)

    def tensor(self, positions: Iterable[int] | slice = slice(None)) -> Tensor:
        """The features at these positions as float32 [n, D], or [n, T, D] of a grid."""
        index = positions if isinstance(positions, slice) else np.fromiter(positions, dtype=np.int64)
        return torch.from_numpy(self.vectors[self.rows[index]]).float()  # numpy takes ten times as long


class _Pictures(Dataset):
    """Each picture's digest and pixels, from one reading of its file: a vector always belongs to its digest."""

    def __init__(self, paths: list[str | Path], encoder: Encoder) -> None:
        self.paths, self.preprocess = paths, encoder.preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        path = Path(self.paths[index])
        data = path.read_bytes()
        return bytes_digest(data), self.preprocess(open_picture(data, str(path)))


def extract_features(
    encoder: Encoder, paths: Sequence[str | Path], store: Path, batch_size: int = 128,
    workers: int | None = None, kind: FeatureKind = "pooled",
) -> Features:  # fmt: skip
    """Embed images, computing only those whose bytes this encoder has not seen; returns them in the order of `paths`.

    `workers` processes decode and resize pictures, by default one for two cores. `kind`: each picture's embedding
    [D], or its grid of tokens [T, D].

    The store is a folder per encoder fingerprint and kind, beside the manifest of `digests`. Each call that computes
    something adds a file `*.rows` of its own, batch by batch: records of a checksum, the digest of the picture's bytes
    and its features. No file has two writers, so none needs a lock, and a row that a kill, a full disk or a copy taken
    too early has damaged is computed again. What two processes compute at once stands there twice, and the older one
    is used. Memory is under 500 bytes an image, features apart.
    Raises `ValueError` naming a picture that cannot be read or changed while it was read, or an encoder without a grid.
    """
    started = time.perf_counter()
    shape, folder = encoder.shape(kind), store / (encoder.fingerprint + "-grid" * (kind == "grid"))
    folder.mkdir(parents=True, exist_ok=True)
    _say_what_is_older(folder)
    digests = file_digests(paths, store / MANIFEST)
    known, vectors = open_rows(folder, shape)
    rows = rows_of(digests, known)
    absent = np.flatnonzero(rows < 0)
    missing = absent[np.sort(np.unique(digests[absent], return_index=True)[1])]
    if len(missing):
        workers = max(1, (os.cpu_count() or 1) // 2) if workers is None else workers
        _append(folder, encoder, [paths[i] for i in missing], batch_size, workers, kind)
        known, vectors = open_rows(folder, shape)
        rows = rows_of(digests, known)
        if (lost := np.flatnonzero(rows < 0)).size:
            raise ValueError(f"{paths[lost[0]]} changed while it was read; start again when nothing writes to it")
    return Features(vectors, rows, time.perf_counter() - started, len(missing))


def bytes_needed(encoder: Encoder, images: int, kind: FeatureKind = "pooled") -> int:
    """The size of a store of as many pictures, in bytes."""
    return images * _record(encoder.shape(kind)).itemsize


def _say_what_is_older(folder: Path) -> None:
    if any((folder / name).exists() for name in OLDER):
        files = " and ".join(str(folder / name) for name in OLDER)
        warnings.warn(
            f"{files} are of an earlier version, in which two processes could store one picture's embedding as "
            "another's. They are not read; embeddings are computed anew. You can delete them.",
            stacklevel=3,
        )


def rows_of(digests: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The first row [digests] of each digest among the known ones [rows], or −1."""
    if not len(known):
        return np.full(len(digests), -1)
    order = known.argsort(kind="stable")
    rows = order[np.searchsorted(known, digests, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[rows] == digests, rows, -1)


def _record(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype([("check", "<u4"), ("digest", "S32"), ("vector", "<f2", shape)])


def open_rows(folder: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, Rows]:
    """The digest [rows] of every row, empty for a damaged one, and the rows; oldest file first."""
    known, parts = [np.empty(0, "S32")], []
    for path in sorted(folder.glob("*.rows")):
        # A kill can leave half a record at the end.
        if count := path.stat().st_size // _record(shape).itemsize:
            records = np.memmap(path, _record(shape), "r", shape=count)
            known.append(np.where(_whole(path, records), records["digest"], b""))
            parts.append(records["vector"])
    return np.concatenate(known), Rows(parts, shape)


def _whole(path: Path, records: np.ndarray) -> np.ndarray:
    """Which records [rows] hold what was written; says how many do not."""
    whole = _checks(records) == records["check"]
    if not whole.all():
        warnings.warn(f"{path}: {(~whole).sum():,} of {len(whole):,} rows are damaged and not used", stacklevel=4)
    return whole


def _checks(records: np.ndarray) -> np.ndarray:
    """The CRC-32 [rows] of each record but for its own field `check`."""
    content = records.view(np.uint8).reshape(len(records), -1)[:, records.dtype.fields["digest"][1] :]
    return np.fromiter((zlib.crc32(row) for row in content), np.uint32, len(content))


@torch.inference_mode()
def _append(
    folder: Path, encoder: Encoder, paths: list[str | Path], batch_size: int, workers: int, kind: FeatureKind
) -> None:  # fmt: skip
    batches = DataLoader(
        _Pictures(paths, encoder), batch_size=batch_size, num_workers=workers if len(paths) > batch_size else 0
    )
    path = new_rows(folder)
    for number, (digests, pixels) in enumerate(batches):
        append_rows(path, encoder, digests, pixels, kind, str(paths[number * batch_size]))


def new_rows(folder: Path) -> Path:
    """The path of a new file of rows, which no other process writes to."""
    # The time comes first in the name, so that of two rows for one picture the older is found first.
    return folder / f"{time.time_ns():020d}-{uuid4().hex[:8]}.rows"


def append_rows(
    path: Path, encoder: Encoder, digests: Sequence[str], pixels: Tensor, kind: FeatureKind, first: str
) -> None:  # fmt: skip
    """Embed a batch of pictures [B, 3, S, S] and append its rows; raises `ValueError` naming the first picture."""
    vectors = encoder.encode(pixels, kind).numpy().astype(np.float16)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{encoder.name} gave numbers outside float16 for an image among {first} …")
    with path.open("ab") as file:
        file.write(_as_records(digests, vectors).tobytes())


def _as_records(digests: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    records = np.zeros(len(vectors), _record(vectors.shape[1:]))
    records["digest"], records["vector"] = digests, vectors
    records["check"] = _checks(records)
    return records
