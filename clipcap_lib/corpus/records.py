"""Caption files that hold records instead of lines: COCO and Karpathy JSON, JSON lines, Parquet, pickles."""

import json
import re
from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clipcap_lib.corpus.text_files import read_text

SUFFIXES = (".json", ".jsonl", ".parquet", ".pkl")
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}
EXPECTED = {
    ".json": "COCO captions (`images` and `annotations`) or Karpathy splits (`images` with `sentences`)",
    ".jsonl": 'one {"file_name": …, "text": …} a line',
    ".parquet": "the columns file_name (or image, image_id) and text (or caption)",
}
EXPECTED_TO_SCORE = EXPECTED | {
    ".json": 'COCO results ([{"image_id": …, "caption": …}, …]), COCO captions (`annotations`) or Karpathy splits',
    ".jsonl": 'one {"image_id": …, "caption": …} a line',
}
# What keys stand for. Where several stand for one, a corpus takes the last of a line, `score` the last of these.
NAMES = {"image": "image_id", "file_name": "image_id", "image_id": "image_id", "text": "caption", "caption": "caption"}


class _Misfit(Exception):
    """The place in a file, and what was found there instead of what is expected."""


def kind_by_content(path: Path) -> str:
    """The one of `SUFFIXES` that belongs to what is in a file, whatever its name; none for lines of text."""
    with path.open("rb") as file:
        head = file.read(5)
    if head == b"PAR1\x15":  # the byte after Parquet's name tells it from a picture called PAR1.jpg
        return ".parquet"
    if head.startswith(b"\x80"):  # as pickles do, and no text in UTF-8
        return ".pkl"
    text = read_text(path).removeprefix("\ufeff").lstrip()
    if not text.startswith(("[", "{")):
        return ""
    return ".jsonl" if _is_row(text.partition("\n")[0]) else ".json"


def _is_row(line: str) -> bool:
    """Whether a line is a JSON object of its own, and not all of a COCO or Karpathy file."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and "annotations" not in row and ("images" not in row or _pair(row, NAMES) is not None)


def read_records(path: Path, kind: str, to_score: bool = False) -> pd.DataFrame:
    """Columns image_id (the file's name) and caption, and split where the file has one; one row a caption.

    `kind`: one of `SUFFIXES`. `to_score`: ids stay as COCO has them, for COCO results name no files.
    Karpathy's `restval` counts as train and `val` as dev. Raises ValueError naming the file, the place and what was
    expected there.
    """
    readers = {
        ".json": lambda: _whole_characters(_json(path, to_score)),
        ".jsonl": lambda: _whole_characters(_json_lines(path, to_score)),
        ".parquet": lambda: _parquet(path),
        ".pkl": lambda: _captions_of_pickle(path),
    }
    try:
        table = pd.DataFrame(readers[kind]())
    except _Misfit as misfit:
        place, found = misfit.args
        where, expected = f"{path}, {place}" if place else path, EXPECTED_TO_SCORE if to_score else EXPECTED
        raise ValueError(f"{where}: expected {expected[kind]}, found {found!r:.80}") from None
    if table.empty:
        raise ValueError(f"{path}: expected captions, found none")
    return table


def _captions_of_pickle(path: Path) -> pd.DataFrame:
    from clipcap_lib.published.embedding_pickles import read_embedding_pickle  # it imports torch, which takes seconds

    return read_embedding_pickle(path).captions


def _whole_characters(rows: Iterator[dict[str, str]]) -> list[dict[str, str]]:
    """The rows, unless JSON's escapes spell half a character in one, which no file can hold."""
    found = list(rows)
    for number, row in enumerate(found):
        if any(HALF_A_CHARACTER.search(text) for text in row.values()):
            raise _Misfit(f"caption {number}", row)
    return found


def _pair(row: Any, keys: Iterable[str] | None = None) -> dict[str, Any] | None:
    """What a JSON object has under these keys, or under all, as image_id and caption; None where one is missing."""
    known = [key for key in keys or row if key in row and key in NAMES] if isinstance(row, dict) else []
    found = {NAMES[key]: row[key] for key in known}
    fits = isinstance(found.get("image_id"), str | int) and isinstance(found.get("caption"), str)
    return found if fits else None


def _json(path: Path, to_score: bool) -> Iterator[dict[str, str]]:
    try:
        content = json.loads(read_text(path).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    parts = content if isinstance(content, dict) else {"annotations": content}
    if to_score and isinstance(parts.get("annotations"), list):
        return _results(parts["annotations"])
    images = parts.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise _Misfit("", type(content).__name__ if images is None else "`images` that are no list of objects")
    return _coco(images, parts["annotations"]) if "annotations" in parts else _karpathy(images)


def _results(rows: list[Any]) -> Iterator[dict[str, str]]:
    for number, row in enumerate(rows):
        if (pair := _pair(row, NAMES)) is None:
            raise _Misfit(f"entry {number}", row)
        yield pair | {"image_id": str(pair["image_id"])}


def _coco(images: list[dict[str, Any]], rows: Any) -> Iterator[dict[str, str]]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in images}
    except KeyError as error:
        raise _Misfit("images", f"an image without {error}") from None
    except TypeError:
        raise _Misfit("images", "an id that is no string or number") from None
    if not isinstance(rows, list):
        raise _Misfit("annotations", rows)
    for number, row in enumerate(rows):
        pair = _pair(row, ("image_id", "caption"))
        if pair is None or pair["image_id"] not in names:
            raise _Misfit(f"annotation {number}", row)
        yield pair | {"image_id": names[pair["image_id"]]}


def _karpathy(images: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    for number, image in enumerate(images):
        try:
            name = "/".join(filter(None, (image.get("filepath", ""), image["filename"])))
            split = KARPATHY_SPLITS[image["split"]]
            captions = [sentence["raw"] for sentence in image["sentences"]]
        except (KeyError, TypeError):
            raise _Misfit(f"image {number}", image) from None
        if not all(isinstance(caption, str) for caption in captions):
            raise _Misfit(f"image {number}", captions)
        yield from ({"image_id": name, "caption": caption, "split": split} for caption in captions)


def _json_lines(path: Path, to_score: bool) -> Iterator[dict[str, str]]:
    # Not `splitlines`: JSON may hold other line separators than \n as they are.
    for number, line in enumerate(read_text(path).removeprefix("\ufeff").split("\n"), start=1):
        if line.strip():
            try:
                pair = _pair(json.loads(line), NAMES if to_score else None)
            except json.JSONDecodeError:
                pair = None
            if pair is None:
                raise _Misfit(f"line {number}", line)
            yield pair | {"image_id": str(pair["image_id"])}


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
        raise _Misfit("", known)
    for number, row in enumerate(zip(table["image_id"], table["caption"], strict=True)):
        if not isinstance(row[0], str | Integral) or not isinstance(row[1], str):
            raise _Misfit(f"row {number}", row)
    return table.astype("str")
