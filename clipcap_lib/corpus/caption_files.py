"""Caption files written by somebody else or by `clipcap caption`: JSON, JSON lines or `id<TAB>caption`, for scoring."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from clipcap_lib.corpus.text_files import read_text
from clipcap_lib.settings import Language

IMAGE, CAPTION = ("image_id", "file_name", "image"), ("caption", "text")  # the first of these that a row has
CHINESE = re.compile(r"[\u3400-\u9fff]")


def read_caption_file(path: Path) -> list[tuple[str, str]]:
    """Pairs (image id, caption), in the order of the file.

    JSON: a COCO result list `[{"image_id", "caption"}, …]` or COCO annotations `{"annotations": [...]}`. JSON lines, as
    `clipcap caption --json` writes them: one such row a line; `file_name` or `image` may stand for `image_id`, `text`
    for `caption`. Anything else: one `id<TAB>caption` a line, with or without `#0` … `#4` behind the id.
    Raises `ValueError` naming file and place.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    text = read_text(path).removeprefix("\ufeff")
    # Not `splitlines`: a caption may hold other line separators.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if lines and _is_row(lines[0][1]):
        return [_pair(f"{path}:{number}", _parse(path, line, number)) for number, line in lines]
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(path, text)
    return [_from_line(path, number, line) for number, line in lines]


def _is_row(line: str) -> bool:
    """Whether a line is a JSON object of its own, and not all of a COCO file."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and "annotations" not in row


def _parse(path: Path, text: str, line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{line + error.lineno - 1}: not JSON: {error.msg}") from None


def _pair(place: str, row: Any) -> tuple[str, str]:
    given = row if isinstance(row, dict) else {}
    image = next((given[key] for key in IMAGE if key in given), None)
    caption = next((given[key] for key in CAPTION if key in given), None)
    if not isinstance(image, str | int) or not isinstance(caption, str):
        raise ValueError(f"{place} has no `image_id` or no `caption`: {row!r:.80}")
    return str(image), caption


def _from_json(path: Path, text: str) -> list[tuple[str, str]]:
    content = _parse(path, text)
    rows = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of captions, or a key `annotations` with one")
    return [_pair(f"{path}: entry {number}", row) for number, row in enumerate(rows)]


def _from_line(path: Path, number: int, line: str) -> tuple[str, str]:
    image, tab, caption = line.partition("\t")
    if not tab or not image.strip():
        raise ValueError(f"{path}:{number}: expected `id<TAB>caption`, not {line[:60]!r}")
    return re.sub(r"#\d+$", "", image.strip()), caption.strip()


def one_caption_each(pairs: list[tuple[str, str]], source: Path) -> dict[str, str]:
    """The caption of each image; raises `ValueError`, with counts and examples, where an image has several."""
    counts = Counter(image for image, _ in pairs)
    if several := [image for image, count in counts.items() if count > 1]:
        raise ValueError(
            f"{source}: {len(several):,} images have more than one caption, one is expected: {', '.join(several[:3])}"
        )
    return dict(pairs)


def captions_by_image(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """All captions of each image."""
    grouped: dict[str, list[str]] = {}
    for image, caption in pairs:
        grouped.setdefault(image, []).append(caption)
    return grouped


def check_language(captions: list[str], language: Language, source: Path) -> None:
    """Raise `ValueError` where most captions that say anything are not in the language they are to be scored as."""
    said = [caption for caption in captions if caption.strip()]
    odd = [caption for caption in said if bool(CHINESE.search(caption)) != (language == "zh")]
    if len(odd) > len(said) / 2:
        what = "no Chinese character" if language == "zh" else "Chinese characters"
        raise ValueError(
            f"{source}: {len(odd):,} of {len(said):,} captions have {what}, such as {odd[0]!r}; "
            f"is --language {language} right?"
        )
