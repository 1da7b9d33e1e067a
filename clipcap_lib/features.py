"""A resumable, memory-mapped float16 store of image embeddings."""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clipcap_lib.encoders import Encoder
from clipcap_lib.pictures import open_picture

DIGEST_LINE = 33  # 32 hexadecimal digits and a newline


@dataclass(frozen=True)
class Features:
    """Embeddings of images in the order they were asked for: `vectors` is a memory map [rows, D], `rows` [images]."""

    vectors: np.ndarray
    rows: np.ndarray
    seconds: float
    computed: int

    def __len__(self) -> int:
        return len(self.rows)

    def tensor(self, positions: Iterable[int] | slice = slice(None)) -> Tensor:
        """The embeddings at these positions as float32 [n, D]."""
        index = positions if isinstance(positions, slice) else np.fromiter(positions, dtype=np.int64)
        return torch.from_numpy(self.vectors[self.rows[index]].astype(np.float32))


class _Pictures(Dataset):
    def __init__(self, paths: list[str | Path], encoder: Encoder) -> None:
        self.paths, self.preprocess = paths, encoder.preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.preprocess(open_picture(Path(self.paths[index])))


def content_digest(path: str | Path) -> str:
    """32 hexadecimal digits that identify a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]


def file_digests(paths: Sequence[str | Path], manifest: Path) -> np.ndarray:
    """The digests [files] of files, as bytes; one that the manifest knows by path, size and time is not read again."""
    stats = [os.stat(path) for path in paths]
    now = pd.DataFrame({"path": [os.path.abspath(path) for path in paths]}, dtype="str")
    now["size"], now["modified"] = [stat.st_size for stat in stats], [stat.st_mtime_ns for stat in stats]
    seen = pd.read_parquet(manifest) if manifest.exists() else now.head(0).assign(digest="")
    found = now.merge(seen, how="left", on=list(now.columns))
    unread = found["digest"].isna().to_numpy()
    if unread.any():
        found.loc[unread, "digest"] = [content_digest(path) for path in found.loc[unread, "path"]]
        kept = seen[~seen["path"].isin(now["path"])]
        _replace(pd.concat([kept, found]).drop_duplicates("path"), manifest)
    return found["digest"].to_numpy().astype("S32")


def _replace(table: pd.DataFrame, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    table.to_parquet(temporary, index=False)
    os.replace(temporary, path)


def extract_features(
    encoder: Encoder, paths: Sequence[str | Path], store: Path, batch_size: int = 128,
    workers: int | None = None,
) -> Features:  # fmt: skip
    """Embed images, computing only those whose bytes this encoder has not seen; returns them in the order of `paths`.

    `workers` processes decode and resize pictures, by default one for two cores.

    The store is a folder per encoder fingerprint with `vectors.f16` (raw rows of D numbers) and `digests.txt` (one
    line a row), beside `files.parquet`, which knows the files of all of them. The first two are appended to batch by
    batch: a killed run loses at most the batch it was in. Memory is under 500 bytes an image, vectors apart.
    """
    started = time.perf_counter()
    folder = store / encoder.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    digests = file_digests(paths, store / "files.parquet")
    absent = np.flatnonzero(_rows_of(digests, _open_index(folder, encoder.width)) < 0)
    missing = absent[np.sort(np.unique(digests[absent], return_index=True)[1])]
    workers = max(1, (os.cpu_count() or 1) // 2) if workers is None else workers
    _append(folder, encoder, digests[missing], [paths[i] for i in missing], batch_size, workers)
    rows = _rows_of(digests, _open_index(folder, encoder.width))
    vectors = np.memmap(folder / "vectors.f16", np.float16, "r").reshape(-1, encoder.width)
    return Features(vectors, rows, time.perf_counter() - started, len(missing))


def _rows_of(digests: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The row of each digest among the known ones, or −1."""
    if not len(known):
        return np.full(len(digests), -1)
    order = known.argsort()
    rows = order[np.searchsorted(known, digests, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[rows] == digests, rows, -1)


def _open_index(folder: Path, width: int) -> np.ndarray:
    """The digest [rows] of every row, as bytes."""
    vectors, digests = folder / "vectors.f16", folder / "digests.txt"
    vectors.touch()
    digests.touch()
    # A kill can leave either file ahead of the other: both are cut back to the rows that are whole in both.
    rows = min(vectors.stat().st_size // (2 * width), digests.stat().st_size // DIGEST_LINE)
    _truncate(vectors, rows * 2 * width)
    _truncate(digests, rows * DIGEST_LINE)
    return np.fromfile(digests, f"S{DIGEST_LINE}").astype("S32")


def _truncate(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)


@torch.inference_mode()
def _append(
    folder: Path, encoder: Encoder, digests: np.ndarray, paths: list[str | Path], batch_size: int, workers: int
) -> None:
    batches = DataLoader(
        _Pictures(paths, encoder), batch_size=batch_size, num_workers=workers if len(paths) > batch_size else 0
    )
    with (folder / "vectors.f16").open("ab") as vectors, (folder / "digests.txt").open("ab") as lines:
        for number, pixels in enumerate(batches):
            block = encoder.encode_images(pixels).numpy().astype(np.float16)
            if not np.isfinite(block).all():
                raise ValueError(
                    f"{encoder.name} gave numbers outside float16 for an image among {paths[number * batch_size]} …"
                )
            vectors.write(block.tobytes())
            vectors.flush()
            at = number * batch_size
            lines.writelines(digest + b"\n" for digest in digests[at : at + len(block)].tolist())
            lines.flush()
