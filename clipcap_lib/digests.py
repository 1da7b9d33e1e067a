"""Digests of files: what a picture is told by. A manifest remembers them, so that each file is read once."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clipcap_lib.files import replacing

MANIFEST = "files.parquet"


def bytes_digest(data: bytes) -> str:
    """32 hexadecimal digits that identify these bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def content_digest(path: str | Path) -> str:
    """32 hexadecimal digits that identify a file's bytes, which may be more than fit into memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def file_digests(paths: Sequence[str | Path], manifest: Path) -> np.ndarray:
    """The digests [files] of files, as bytes; one that the manifest knows is not read again.

    A file is known by its path, size and times of change (mtime and ctime). Other bytes of the same size and mtime
    are noticed, for no program can set a ctime; only a clock that was set back to the same nanosecond hides them.
    """
    stats = [os.stat(path) for path in paths]
    now = pd.DataFrame({"path": [os.path.abspath(path) for path in paths]}, dtype="str")
    now["size"], now["modified"] = [stat.st_size for stat in stats], [stat.st_mtime_ns for stat in stats]
    now["changed"] = [stat.st_ctime_ns for stat in stats]
    seen = _read_manifest(manifest, list(now.columns))
    found = now.merge(seen, how="left", on=list(now.columns))
    unread = found["digest"].isna().to_numpy()
    if unread.any():
        found.loc[unread, "digest"] = [content_digest(path) for path in found.loc[unread, "path"]]
        kept = seen[~seen["path"].isin(now["path"])]
        # Of two processes that write at once one is lost: its files are read again some day.
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with replacing(manifest) as temporary:
            pd.concat([kept, found]).drop_duplicates("path").to_parquet(temporary, index=False)
    return found["digest"].to_numpy().astype("S32")


def _read_manifest(path: Path, columns: list[str]) -> pd.DataFrame:
    """What is known of files; nothing where there is no manifest, or one of another version, or a damaged one."""
    try:
        seen = pd.read_parquet(path)
        return seen[[*columns, "digest"]]
    except (OSError, ValueError, KeyError):  # pyarrow's errors are ValueErrors
        empty = {name: pd.Series(dtype="str" if name == "path" else "int64") for name in columns}
        return pd.DataFrame(empty).assign(digest="")


def folder_digest(folder: Path, manifest: Path) -> str:
    """32 hexadecimal digits that identify the names and bytes of all files in a folder and below it."""
    found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    paths = sorted(filter(os.path.isfile, found))
    lines = [
        f"{os.path.relpath(path, folder)} {digest.decode()}"
        for path, digest in zip(paths, file_digests(paths, manifest).tolist(), strict=True)
    ]
    return bytes_digest("\n".join(lines).encode("utf-8", "surrogateescape"))
