"""Folders that clip-retrieval writes: embeddings `img_emb/img_emb_0.npy`, captions `metadata/metadata_0.parquet`."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clipcap_lib.published.embeddings import PublishedEmbeddings

EXPECTED = "what clip-retrieval writes: img_emb/img_emb_0.npy … and metadata/metadata_0.parquet …"
OUTSIDE = r"^(?:/|[A-Za-z]:|\w+://)"  # a path or address that is nobody else's
BLOCK = 100_000  # rows looked at at once


def read_embedding_folder(folder: Path) -> PublishedEmbeddings:
    """Read a folder of clip-retrieval; its embeddings stay in their files, as they are, until they are asked for.

    An image is named by `image_path`, or `key`; of absolute paths what they have in common is left out. Rows with one
    name are captions of one image. The files may also lie in the folder itself.
    Raises `ValueError` naming the file and what is wrong with it.
    """
    from clipcap_lib.features import Rows  # with it come encoders, which take seconds

    arrays, tables = _numbered(folder, "img_emb", ".npy"), _numbered(folder, "metadata", ".parquet")
    if not arrays:
        raise ValueError(f"{folder}: expected {EXPECTED}, found no img_emb_*.npy")
    if alone := arrays.keys() ^ tables.keys():
        path = (arrays | tables)[min(alone)]
        raise ValueError(f"{path}: the file of the same number is missing; expected {EXPECTED}")
    parts = [_array(arrays[number]) for number in sorted(arrays)]
    found = [_captions(tables[number]) for number in sorted(arrays)]
    for number, part, table in zip(sorted(arrays), parts, found, strict=True):
        if len(part) != len(table):
            raise ValueError(f"{arrays[number]} has {len(part):,} rows, {tables[number]} {len(table):,}")
    if len(widths := {part.shape[1] for part in parts}) > 1:
        raise ValueError(f"{folder}: embeddings of one width expected, found {sorted(widths)}")
    captions = pd.concat(found, ignore_index=True)
    captions["image_id"] = _relative(captions["image_id"])
    first = captions.drop_duplicates("image_id")
    return PublishedEmbeddings(
        captions, first["image_id"].tolist(), Rows(parts, (widths.pop(),)), first.index.to_numpy()
    )


def _numbered(folder: Path, name: str, suffix: str) -> dict[int, Path]:
    paths = [*folder.glob(f"{name}/{name}_*{suffix}")] or folder.glob(f"{name}_*{suffix}")
    return {int(match[1]): path for path in paths if (match := re.search(r"_(\d+)$", path.stem))}


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not an array of numbers, or a damaged one: {error}") from None
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{path}: expected embeddings [rows, D], found {array.dtype} {list(array.shape)}")
    for start in range(0, len(array), BLOCK):
        if not (np.abs(array[start : start + BLOCK]) <= np.finfo(np.float16).max).all():
            raise ValueError(f"{path}: there are embeddings that are not finite numbers in float16")
    return array


def _captions(path: Path) -> pd.DataFrame:
    try:
        names = pq.read_schema(path).names
        image = next((name for name in ("image_path", "key") if name in names), None)
        if image is None or "caption" not in names:
            raise ValueError(f"{path}: expected the columns image_path (or key) and caption, found {', '.join(names)}")
        table = pd.read_parquet(path, columns=[image, "caption"])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file, or a damaged one: {str(error).partition(chr(10))[0]}") from None
    return pd.DataFrame({"image_id": table[image].astype("str"), "caption": table["caption"].fillna("").astype("str")})


def _relative(ids: pd.Series) -> pd.Series:
    if not ids.str.contains(OUTSIDE).any():
        return ids
    common = os.path.commonprefix([ids.min(), ids.max()])  # noqa: RUF071 - of text, not of places on this machine
    return ids.str.slice(common.rfind("/") + 1)
