"""What notebooks and reports say, in their reader's language: English in the code, others in a catalogue (gettext)."""

from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po

CATALOGUES = Path(__file__).parent / "reporting" / "catalogues"
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
    sentence = catalogue(_spoken).get(english, english)
    return sentence.format(**values) if values else sentence


@cache
def catalogue(language: str) -> dict[str, str]:
    """The sentences of a language by their English; none for English itself."""
    if language == "en":
        return {}
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file) if message.id and message.string}
