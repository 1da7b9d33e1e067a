"""Caption files that hold records instead of lines: COCO and Karpathy JSON, metadata.jsonl, Parquet, pickles."""

import json
import re
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clipcap_lib.corpus.text_files import read_text
from clipcap_lib.published.embeddings import read_embedding_pickle

SUFFIXES = (".json", ".jsonl", ".parquet", ".pkl")
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}
EXPECTED = {
    ".json": "COCO captions (`images` and `annotations`) or Karpathy splits (`images` with `sentences`)",
    ".jsonl": 'one {"file_name": …, "text": …} a line',
    ".parquet": "the columns file_name (or image, image_id) and text (or caption)",
}
NAMES = {"image": "image_id", "image_id": "image_id", "file_name": "image_id", "caption": "caption", "text": "caption"}


def read_records(path: Path) -> pd.DataFrame:
    """Columns image_id (the file's name) and caption, and split where the file has one; one row a caption.

    Karpathy's `restval` counts as train and `val` as dev. Raises ValueError naming the file, the place and what was
    expected there.
    """
    readers = {".json": _json, ".jsonl": _json_lines, ".parquet": _parquet}
    readers[".pkl"] = lambda path: read_embedding_pickle(path).captions
    table = pd.DataFrame(readers[path.suffix](path))
    if table.empty:
        raise ValueError(f"{path}: expected captions, found none")
    return table


def _wrong(path: Path, place: str, found: object) -> ValueError:
    where = f"{path}, {place}" if place else str(path)
    return ValueError(f"{where}: expected {EXPECTED[path.suffix]}, found {found!r:.80}")


def _json(path: Path) -> list[dict[str, str]]:
    try:
        content = json.loads(read_text(path).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise _wrong(path, "", type(content).__name__ if images is None else "`images` that are no list of objects")
    return _checked(path, _coco(path, content) if "annotations" in content else _karpathy(path, images))


def _checked(path: Path, rows: Iterator[dict[str, str]]) -> list[dict[str, str]]:
    """The rows, unless JSON's escapes spell half a character in one, which no file can hold."""
    found = list(rows)
    for number, row in enumerate(found):
        if any(HALF_A_CHARACTER.search(text) for text in row.values()):
            raise _wrong(path, f"caption {number}", row)
    return found


def _coco(path: Path, content: dict[str, Any]) -> Iterator[dict[str, str]]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    except KeyError as error:
        raise _wrong(path, "images", f"an image without {error}") from None
    except TypeError:
        raise _wrong(path, "images", "an id that is no string or number") from None
    if not isinstance(content["annotations"], list):
        raise _wrong(path, "annotations", content["annotations"])
    for number, row in enumerate(content["annotations"]):
        fits = isinstance(row, dict) and isinstance(row.get("image_id"), str | int) and row["image_id"] in names
        if not fits or not isinstance(row.get("caption"), str):
            raise _wrong(path, f"annotation {number}", row)
        yield {"image_id": names[row["image_id"]], "caption": row["caption"]}


def _karpathy(path: Path, images: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    for number, image in enumerate(images):
        try:
            name = "/".join(filter(None, (image.get("filepath", ""), image["filename"])))
            split = KARPATHY_SPLITS[image["split"]]
            captions = [sentence["raw"] for sentence in image["sentences"]]
        except (KeyError, TypeError):
            raise _wrong(path, f"image {number}", image) from None
        if not all(isinstance(caption, str) for caption in captions):
            raise _wrong(path, f"image {number}", captions)
        yield from ({"image_id": name, "caption": caption, "split": split} for caption in captions)


def _json_lines(path: Path) -> list[dict[str, str]]:
    text = read_text(path).removeprefix("\ufeff")
    # Not `splitlines`: JSON may hold other line separators than \n as they are.
    return _checked(path, _rows_of_lines(path, text.split("\n")))


def _rows_of_lines(path: Path, lines: list[str]) -> Iterator[dict[str, str]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
                found = {NAMES[key]: value for key, value in row.items() if key in NAMES}
            except (json.JSONDecodeError, AttributeError):
                raise _wrong(path, f"line {number}", line) from None
            if len(found) != 2 or not isinstance(found["caption"], str) or not isinstance(found["image_id"], str | int):
                raise _wrong(path, f"line {number}", line)
            yield found | {"image_id": str(found["image_id"])}


def _parquet(path: Path) -> pd.DataFrame:
    try:
        known = pq.read_schema(path).names
        columns = {name: NAMES[name] for name in known if name in NAMES}
        fits = sorted(columns.values()) == ["caption", "image_id"]
        table = pd.read_parquet(path, columns=list(columns)).rename(columns=columns) if fits else None
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not a Parquet file, or a damaged one: {first}") from None
    if table is None:
        raise _wrong(path, "", known)
    for number, row in enumerate(zip(table["image_id"], table["caption"], strict=True)):
        if not isinstance(row[0], str | Integral) or not isinstance(row[1], str):
            raise _wrong(path, f"row {number}", row)
    return table.astype("str")
