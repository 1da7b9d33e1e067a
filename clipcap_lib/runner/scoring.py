"""`clipcap score`: two files in, numbers with their protocol out."""

import re
from pathlib import Path

from clipcap_lib.corpus.readers import read_pairs
from clipcap_lib.metrics.java import add_java_metrics
from clipcap_lib.metrics.reference import Scores, score
from clipcap_lib.metrics.tokenizers import BY_LANGUAGE, DEFAULT

CHINESE = re.compile(r"[\u3400-\u9fff]")


def score_files(captions: Path, references: Path, language: str, tokeniser: str | None = None) -> Scores:
    """Score one caption an image against its references; raises `ValueError` for anything that would mislead."""
    if language not in DEFAULT:
        raise ValueError(f"language {language!r} is unknown; choose {' or '.join(DEFAULT)}")
    if tokeniser not in (None, *BY_LANGUAGE[language]):  # in Chinese, ptb would take a whole sentence for one word
        raise ValueError(f"tokeniser {tokeniser!r} is not for {language}; choose {' or '.join(BY_LANGUAGE[language])}")
    made, given = _one_caption_each(captions), _captions_by_image(references)
    _check_language(list(made.values()), language, captions)
    _check_language([text for texts in given.values() for text in texts], language, references)
    cut = tokeniser or DEFAULT[language]
    return add_java_metrics(score(made, given, cut), made, given, cut, language)


def _one_caption_each(path: Path) -> dict[str, str]:
    """The caption of each image; raises `ValueError`, with counts and examples, where an image has several."""
    captions = _captions_by_image(path)
    if several := [image for image, texts in captions.items() if len(texts) > 1]:
        examples = ", ".join(several[:3])
        raise ValueError(f"{path}: {len(several):,} images have more than one caption, one is expected: {examples}")
    return {image: text for image, (text,) in captions.items()}


def _captions_by_image(path: Path) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for image, caption in read_pairs(path):
        grouped.setdefault(image, []).append(caption)
    return grouped


def _check_language(captions: list[str], language: str, source: Path) -> None:
    """Raise `ValueError` where most captions that say anything are not in the language they are to be scored as."""
    said = [caption for caption in captions if caption.strip()]
    odd = [caption for caption in said if bool(CHINESE.search(caption)) != (language == "zh")]
    if len(odd) > len(said) / 2:
        what = "no Chinese character" if language == "zh" else "Chinese characters"
        raise ValueError(
            f"{source}: {len(odd):,} of {len(said):,} captions have {what}, such as {odd[0]!r}; "
            f"is --language {language} right?"
        )
