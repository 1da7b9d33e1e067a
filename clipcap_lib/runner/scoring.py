"""`clipcap score`: two files in, numbers with their protocol out."""

from pathlib import Path

from clipcap_lib.corpus.caption_files import captions_by_image, check_language, one_caption_each, read_caption_file
from clipcap_lib.metrics.java import add_java_metrics
from clipcap_lib.metrics.reference import Scores, score
from clipcap_lib.metrics.tokenizers import BY_LANGUAGE, DEFAULT


def score_files(captions: Path, references: Path, language: str, tokeniser: str | None = None) -> Scores:
    """Score one caption an image against its references; raises `ValueError` for anything that would mislead."""
    if language not in DEFAULT:
        raise ValueError(f"language {language!r} is unknown; choose {' or '.join(DEFAULT)}")
    if tokeniser not in (None, *BY_LANGUAGE[language]):  # where words have no spaces between them, ptb finds one
        raise ValueError(f"tokeniser {tokeniser!r} is not for {language}; choose {' or '.join(BY_LANGUAGE[language])}")
    made = one_caption_each(read_caption_file(captions), captions)
    given = captions_by_image(read_caption_file(references))
    check_language(list(made.values()), language, captions)
    check_language([text for texts in given.values() for text in texts], language, references)
    cut = tokeniser or DEFAULT[language]
    return add_java_metrics(score(made, given, cut), made, given, cut, language)
