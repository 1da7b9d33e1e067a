"""Features of pictures in shards: whole shards go to processes, each shard has rows of its own, memory stays flat."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from clipcap_lib.corpus.shards import INDEXES, Progress, Tell, index_shards, read_index, sharing_memory
from clipcap_lib.digests import bytes_digest
from clipcap_lib.encoders import Encoder, FeatureKind
from clipcap_lib.features import Features, Rows, append_rows, new_rows, open_rows, rows_of
from clipcap_lib.images import open_picture

BLOCK = 100_000  # paths taken apart at once


@dataclass(frozen=True)
class _Shard:
    """A tar file, and which [n] of the pictures that are asked for lie in it."""

    path: Path
    places: np.ndarray


@dataclass(frozen=True)
class _Stored:
    """The features of a file of rows, opened only to be read: a thousand shards would be as many open files."""

    path: Path
    count: int
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        record = np.dtype([("head", "S36"), ("vector", "<f2", self.shape)])
        return np.memmap(self.path, record, "r", shape=self.count)["vector"][numbers]


def extract_shards(
    encoder: Encoder, paths: pd.Series, store: Path, batch_size: int = 128, workers: int | None = None,
    kind: FeatureKind = "pooled", tell: Tell | None = None,
) -> Features:  # fmt: skip
    """Embed pictures in shards (`shards/00000.tar/000000012.jpg`), as `features.extract_features` does those in files.

    Each of `workers` processes reads whole shards from front to back. A shard's rows stand in a folder of its name
    beside the encoder's other rows, each call's in a file of their own: a shard is finished when all its pictures are
    among them, and a killed extraction goes on in the middle of a shard. Several processes, on several machines that
    share the store, may each be given the paths of other shards. A picture that lies in two shards is embedded twice.
    In memory are one shard for each worker and 24 bytes for each picture. `tell` hears of progress.
    Raises `ValueError` as `extract_features` does.
    """
    started = time.perf_counter()
    folder = store / (encoder.fingerprint + "-grid" * (kind == "grid"))
    shards, rows, parts = _by_shard(paths), np.full(len(paths), -1), {}
    index_shards([shard.path for shard in shards], store / INDEXES, tell)
    find = partial(_find, paths, rows, store / INDEXES, folder, encoder.shape(kind))
    for number, shard in enumerate(shards):
        parts[number] = find(shard)
    todo = [number for number, shard in enumerate(shards) if (rows[shard.places] < 0).any()]
    progress = Progress(len(shards), tell, len(shards) - len(todo))
    if todo:
        batches = _Batches(paths, rows, [shards[number] for number in todo], encoder, store / INDEXES, batch_size)
        with sharing_memory():
            _append(batches, folder, _workers(workers, len(todo)), kind, progress)
        for number in todo:
            parts[number] = find(shards[number])
            if (lost := shards[number].places[rows[shards[number].places] < 0]).size:
                raise ValueError(f"{paths.iloc[lost[0]]} changed while it was read; start again when nothing writes")
    start = 0
    for number, shard in enumerate(shards):
        rows[shard.places] += start
        start += sum(map(len, parts[number]))
    files = [part for number in range(len(shards)) for part in parts[number]]
    return Features(Rows(files, encoder.shape(kind)), rows, time.perf_counter() - started, progress.pictures)


def _workers(workers: int | None, shards: int) -> int:
    return min(shards, max(1, (os.cpu_count() or 1) // 2)) if workers is None else workers


def _by_shard(paths: pd.Series) -> list[_Shard]:
    codes, shards = np.empty(len(paths), np.int32), {}
    for start in range(0, len(paths), BLOCK):
        block = paths.iloc[start : start + BLOCK].str.replace(r"(\.tar)/.*$", r"\1", regex=True)
        local, names = pd.factorize(block)
        codes[start : start + BLOCK] = np.array([shards.setdefault(name, len(shards)) for name in names])[local]
    places = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=len(shards)))[:-1])
    return [_Shard(Path(name), own) for name, own in zip(shards, places, strict=True)]


def _pictures(paths: pd.Series, shard: _Shard, places: np.ndarray, indexes: Path) -> pd.DataFrame:
    """Name inside the shard, digest, offset and size of the pictures at these places, in their order."""
    names = pd.Index(paths.iloc[places].str.slice(len(str(shard.path)) + 1), name="name")
    index = read_index(shard.path, indexes, ("name", "digest", "offset", "size"))
    found = index[index["digest"] != ""].drop_duplicates("name").set_index("name").reindex(names).reset_index()
    if (absent := found["digest"].isna()).any():
        raise ValueError(f"{shard.path}/{found['name'][absent].iloc[0]}: there is no such picture")
    return found


def _find(
    paths: pd.Series, rows: np.ndarray, indexes: Path, folder: Path, shape: tuple[int, ...], shard: _Shard
) -> list[_Stored]:  # fmt: skip
    """The files of a shard's rows; in `rows` the places of its pictures get the row among these files, or −1."""
    place = folder / shard.path.name
    known, stored = open_rows(place, shape)
    digests = _pictures(paths, shard, shard.places, indexes)["digest"].to_numpy().astype("S32")
    rows[shard.places] = rows_of(digests, known)
    return [_Stored(Path(part.base.filename), len(part), shape) for part in stored.parts]


class _Batches(IterableDataset):
    """The pictures of some shards that have no row yet, in batches of one shard; each process takes whole shards."""

    def __init__(
        self, paths: pd.Series, rows: np.ndarray, shards: list[_Shard], encoder: Encoder, indexes: Path, batch_size: int
    ) -> None:  # fmt: skip
        self.paths, self.rows, self.shards, self.encoder = paths, rows, shards, encoder
        self.indexes, self.batch_size = indexes, batch_size

    def __iter__(self) -> Iterator[tuple[int, list[str], Tensor | None, bool]]:
        """The shard's number, digests, pixels, and whether the shard ends with them."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(first, len(self.shards), step):
            digests, pixels = [], []
            for digest, picture in self._pictures(self.shards[number]):
                digests.append(digest)
                pixels.append(picture)
                if len(digests) == self.batch_size:
                    yield number, digests, torch.stack(pixels), False
                    digests, pixels = [], []
            yield number, digests, torch.stack(pixels) if pixels else None, True

    def _pictures(self, shard: _Shard) -> Iterator[tuple[str, Tensor]]:
        missing = shard.places[self.rows[shard.places] < 0]
        found = _pictures(self.paths, shard, missing, self.indexes).drop_duplicates("digest").sort_values("offset")
        with shard.path.open("rb") as file:
            for name, offset, size in found[["name", "offset", "size"]].to_numpy().tolist():
                file.seek(int(offset))  # a column of numbers holds them as 1.0 where a picture was looked for in vain
                data = file.read(int(size))
                yield bytes_digest(data), self.encoder.preprocess(open_picture(data, f"{shard.path}/{name}"))


@torch.inference_mode()
def _append(batches: _Batches, folder: Path, workers: int, kind: FeatureKind, progress: Progress) -> None:
    files: dict[int, Path] = {}
    for number, digests, pixels, last in DataLoader(batches, None, num_workers=workers, collate_fn=_as_is):
        path = batches.shards[number].path
        if digests:
            if number not in files:
                (folder / path.name).mkdir(parents=True, exist_ok=True)
                files[number] = new_rows(folder / path.name)
            append_rows(files[number], batches.encoder, digests, pixels, kind, str(path))
        progress.add(len(digests), last)
        if last:
            files.pop(number, None)


def _as_is(batch: tuple) -> tuple:
    return batch
