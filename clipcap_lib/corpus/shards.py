"""Pictures in shards, the tar files that img2dataset writes: each is read once for its captions, digests and faults."""

import gc
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clipcap_lib.digests import bytes_digest
from clipcap_lib.files import replacing
from clipcap_lib.images import SUFFIXES, picture_fault
from clipcap_lib.settings import SHARD
from clipcap_lib.wording import say

INDEXES = "shards"  # the folder of indexes, beside the manifest of digests
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("name", "caption", "digest", "fault")]
    + [(name, pa.int64()) for name in ("offset", "size")]
)
CUT, NO_PICTURE, TWICE = "shard that is cut off", "sample without a picture", "name twice in a shard"
NO_TEXT = "caption that is not UTF-8"
SEEN = 100  # pictures of a shard that tell how many there are
EVERY = 10.0  # seconds between two lines of progress


@dataclass
class Progress:
    """How many shards are done, of how many, and how many pictures a second; `tell` gets it now and then.

    What was `done` before is among the shards, and not among the pictures.
    """

    shards: int
    tell: Callable[["Progress"], None] | None
    done: int = 0
    pictures: int = 0
    began: float = field(default_factory=time.perf_counter)
    told: float = field(default_factory=time.perf_counter)

    def add(self, pictures: int, finished: bool) -> None:
        """Count pictures, and a shard with its last ones; the last shard is always told."""
        self.pictures += pictures
        self.done += finished
        now = time.perf_counter()
        if self.tell and (now - self.told > EVERY or (finished and self.done == self.shards)):
            self.told = now
            self.tell(self)

    def __str__(self) -> str:
        rate = self.pictures / (time.perf_counter() - self.began)
        return say(
            "shard {done:,} of {all:,}, {pictures:,} pictures, {rate:,.0f} pictures a second",
            done=self.done, all=self.shards, pictures=self.pictures, rate=rate,
        )  # fmt: skip


Tell = Callable[[Progress], None]


def shard_paths(pattern: str) -> list[Path]:
    """The tar files of a pattern such as `shards/{00000..00999}.tar`, in its order.

    Raises `FileNotFoundError` naming one that is not there, `ValueError` for a pattern that cannot be read or names a
    file twice.
    """
    from webdataset.shardlists import expand_urls

    try:
        paths = [Path(name) for name in expand_urls(pattern)]
    except ValueError as error:
        raise ValueError(f"images: {pattern}: {error}; write shards/{{00000..00999}}.tar") from None
    if missing := [path for path in paths if not path.is_file()]:
        count = f"{len(missing):,} of {len(paths):,} shards are" if len(paths) > 1 else "the shard is"
        raise FileNotFoundError(f"images: {pattern}: {count} not there, such as {missing[0]}")
    if len(set(paths)) < len(paths):
        raise ValueError(f"images: {pattern}: a shard is named twice")
    return paths


def picture_places(images: str | None) -> list[Path]:
    """Where the pictures of a setting `images` lie: in a folder, in shards, or nowhere."""
    if images and images.endswith(SHARD):
        return shard_paths(images)
    return [Path(images)] if images else []


def pictures_expected(path: Path) -> int:
    """About how many pictures lie in a shard, by its size and its first hundred; `ValueError` for what is no tar."""
    try:
        with tarfile.open(path, "r:") as tar:
            pictures = 0
            for member in tar:
                if (pictures := pictures + member.name.lower().endswith(SUFFIXES)) == SEEN:
                    return round(pictures * path.stat().st_size / (member.offset_data + member.size))
            return pictures
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a tar file, or a compressed or damaged one: {error}") from None


def read_shards(paths: Sequence[Path], folder: Path, tell: Tell | None = None) -> pd.DataFrame:
    """What lies in shards: image_id, image_path, caption (None where there is no .txt), digest, fault; a row a sample.

    Ids are those of a folder into which each shard was unpacked under its own name, as img2dataset's `files` are:
    `00000/000000012.jpg`. A sample without a picture has an empty digest. Each shard is read once, several at a time;
    its index is kept in `folder` until the shard's size or its times of change are others.
    Raises `ValueError` naming a file that is no tar file.
    """
    index_shards(paths, folder, tell)
    above = os.path.commonpath([path.parent for path in paths])
    tables = []
    for path in paths:
        table = read_index(path, folder, ("name", "caption", "digest", "fault"))
        inside = table["name"].where(table["name"] == "", "/" + table["name"])
        table.insert(0, "image_id", path.relative_to(above).with_suffix("").as_posix() + inside)
        table.insert(1, "image_path", str(path) + inside)
        tables.append(table.drop(columns="name"))
    return pd.concat(tables, ignore_index=True)


def shards_digest(paths: Sequence[Path], folder: Path, tell: Tell | None = None) -> str:
    """32 hexadecimal digits that identify the names of shards and all that is used of them."""
    index_shards(paths, folder, tell)
    above = os.path.commonpath([path.parent for path in paths])
    parts = [f"{path.relative_to(above)} {_metadata(path, folder)['digest']}" for path in paths]
    return bytes_digest("\n".join(parts).encode("utf-8", "surrogateescape"))


def index_shards(paths: Sequence[Path], folder: Path, tell: Tell | None = None) -> None:
    """Read the shards whose index is not in `folder`, by a process for each core, and keep an index of each."""
    unread = [path for path in paths if _metadata(path, folder).get("stat") != _stat(path)]
    if not unread:
        return
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress(len(unread), tell)
    if len(unread) == 1:
        progress.add(_write_index(unread[0], folder), True)
        return
    with sharing_memory(), ProcessPoolExecutor(min(len(unread), os.cpu_count() or 1)) as pool:
        try:
            for done in as_completed([pool.submit(_write_index, path, folder) for path in unread]):
                progress.add(done.result(), True)
        except BaseException:  # a shard that is none, or the user: the others need not be read first
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def sharing_memory() -> Iterator[None]:
    """Let processes forked in this block share what is there now: looking through it for garbage would copy it."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def read_index(path: Path, folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a shard's index, a row a sample: name, caption, digest, fault, offset, size of its picture."""
    return pq.read_table(_index_path(path, folder), columns=list(columns)).to_pandas()


def _write_index(path: Path, folder: Path) -> int:
    from webdataset.tariterators import group_by_keys

    stat, repeated, stops = _stat(path), [], []
    # webdataset makes an error of a name that comes twice, and lets us pass over it.
    grouped = group_by_keys(_members(path, stops), handler=lambda error: not repeated.append(error.args[0]))
    rows = _told_apart([_row(sample) for sample in grouped])
    rows += [_fault(said.partition(": duplicate")[0], TWICE) for said in repeated]
    if stops and not rows:
        raise ValueError(f"{path}: not a tar file, or a compressed or damaged one: {stops[0]}")
    rows += [_fault("", CUT) for _ in stops]
    table = pa.Table.from_pylist(rows, COLUMNS)
    digest = bytes_digest(repr([list(row.values()) for row in rows]).encode("utf-8", "surrogateescape"))
    with replacing(_index_path(path, folder)) as temporary:
        pq.write_table(table.replace_schema_metadata({"stat": stat, "digest": digest}), temporary)
    return len(rows)


def _members(path: Path, stops: list[Exception]) -> Iterator[dict[str, Any]]:
    """Each member's name, and its bytes with where they begin, as webdataset groups them; `stops` gets what stopped it.

    webdataset's own reader, a `tarfile` too, does not say where bytes begin.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith((*SUFFIXES, ".txt", ".json")):
                    tar.fileobj.seek(member.offset_data)
                    if len(data := tar.fileobj.read(member.size)) < member.size:
                        raise tarfile.ReadError("unexpected end of data")
                    name = member.name.removeprefix("./")
                    yield {"fname": name, "data": (data, member.offset_data), "__url__": str(path)}
                tar.members = []  # it would keep them all
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError("damaged header")
    except tarfile.TarError as error:
        stops.append(error)


def _told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with a fault in place of each whose name came before."""
    names = set()
    return [_fault(row["name"], TWICE) if row["name"] in names else names.add(row["name"]) or row for row in rows]


def _fault(name: str, fault: str) -> dict[str, Any]:
    """The row of a file that cannot be used, and why."""
    return dict.fromkeys(COLUMNS.names) | {"name": name, "digest": "", "fault": fault}


def _row(sample: dict[str, Any]) -> dict[str, Any]:
    suffix = next((each for each in SUFFIXES if each[1:] in sample), None)
    if suffix is None:
        return _fault(sample["__key__"], NO_PICTURE)
    data, offset = sample[suffix[1:]]
    fault = f"unreadable image: {why}" if (why := picture_fault(data)) else ""
    try:
        caption = sample["txt"][0].decode("utf-8-sig") if "txt" in sample else None
    except UnicodeDecodeError:
        caption, fault = None, fault or NO_TEXT
    values = (sample["__key__"] + suffix, caption, bytes_digest(data), fault, offset, len(data))
    return dict(zip(COLUMNS.names, values, strict=True))


def _index_path(path: Path, folder: Path) -> Path:
    return folder / f"{bytes_digest(os.fsencode(os.path.abspath(path)))}.parquet"


def _metadata(path: Path, folder: Path) -> dict[str, str]:
    """What the index of a shard says of itself; nothing where there is none, or a damaged one."""
    try:
        found = pq.read_schema(_index_path(path, folder)).metadata or {}
    except (OSError, pa.ArrowException):
        return {}
    return {key.decode(): value.decode() for key, value in found.items()}


def _stat(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
