"""What notebooks and reports say, in their reader's language: English in the code, others in a catalogue (gettext)."""

from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

CATALOGUES = Path(__file__).parent / "reporting" / "catalogues"
TERM = "term"  # the context of names that stand in tables: columns, rows, kinds
_spoken = "en"


def speak(language: str) -> None:
    """Say everything in this language from now on: `en`, or one that has a catalogue."""
    global _spoken
    _spoken = language


def spoken() -> str:
    """The language in which things are said, `en` unless told otherwise."""
    return _spoken


def say(english: str, **values: Any) -> str:
    """The sentence in the reader's language with its `{names}` replaced, English where the catalogue lacks it."""
    sentence = _sentences(_spoken).get((None, english), english)
    return sentence.format(**values) if values else sentence


def term(english: str) -> str:
    """The name of a column, a row or a kind in the reader's language; what is no such name stays as it is."""
    return _sentences(_spoken).get((TERM, english), english)


def read_catalogue(language: str) -> Catalog:
    """The catalogue of a language as it lies in `reporting/catalogues`."""
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def _sentences(language: str) -> dict[tuple[str | None, str], str]:
    """What a catalogue says, by context and English; nothing for English itself."""
    messages = [] if language == "en" else read_catalogue(language)
    return {(message.context, str(message.id)): str(message.string) for message in messages if message.string}
