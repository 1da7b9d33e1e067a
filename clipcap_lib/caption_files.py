"""Caption files written by somebody else: COCO JSON or `id<TAB>caption` lines, read for scoring."""

import json
import re
from collections import Counter
from pathlib import Path

from clipcap_lib.scene_language import Language

CHINESE = re.compile(r"[\u3400-\u9fff]")


def read_caption_file(path: Path) -> list[tuple[str, str]]:
    """Pairs (image id, caption), in the order of the file.

    JSON: a COCO result list `[{"image_id", "caption"}, …]` or COCO annotations `{"annotations": [...]}`. Anything else:
    one `id<TAB>caption` a line, with or without `#0` … `#4` behind the id. Raises `ValueError` naming file and place.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(path, text)
    # Not `splitlines`: a caption may hold other line separators.
    return [_from_line(path, number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _from_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    rows = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of captions, or a key `annotations` with one")
    for number, row in enumerate(rows):
        fits = isinstance(row, dict) and isinstance(row.get("image_id"), str | int)
        if not fits or not isinstance(row.get("caption"), str):
            raise ValueError(f"{path}: entry {number} has no `image_id` or no `caption`: {row!r:.80}")
    return [(str(row["image_id"]), row["caption"]) for row in rows]


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
