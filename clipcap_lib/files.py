"""Files that several processes may touch: written whole or not at all, and what one process at a time may use."""

import datetime
import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

FOREVER = -1.0  # as a time to wait


class InUseError(RuntimeError):
    """A folder or file that another process works on; the message names that process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends; after an error both are as before.

    A reader sees the old file or the new one, never half of it, and two writers do not mix.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left of `replacing` in a folder that this process has claimed."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def claim(place: Path, wait: float = 0.0) -> FileLock:
    """Reserve a folder or file for this process until `.release()`, or until the process ends, however it ends.

    Keep what it returns: a lock that nothing refers to is released. The lock is a file beside `place`, so that `place`
    itself may be removed or renamed. Raises `InUseError`, naming the holder, where another process keeps it for more
    than `wait` seconds (`FOREVER`: never).
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.resolve().with_name(f".{place.name}.lock")
    lock = FileLock(path, is_singleton=True)  # a cell that is run twice claims twice
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip() or "another process"
        raise InUseError(f"{place} is in use by {holder}; wait until it ends, or end it") from None
    since = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n", encoding="utf-8")
    return lock


@contextmanager
def claimed(place: Path, wait: float = 0.0) -> Iterator[None]:
    """Reserve a folder or file until the block ends; see `claim`."""
    lock = claim(place, wait)
    try:
        yield
    finally:
        lock.release()


def write_once(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder, unless it is there; it is there only when it is whole.

    Another process that wants the same folder waits until it is there.
    """
    if folder.exists():
        return
    with claimed(folder, wait=FOREVER):
        if not folder.exists():
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            write(partial)
            partial.rename(folder)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all; NaN and infinity become null, for JSON has no word for them."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _finite(content: Any) -> Any:
    match content:
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case float() if not math.isfinite(content):
            return None
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
