"""What somebody may have meant by a word that is none of the known ones."""

import difflib


def nearest(word: str, choices: list[str]) -> str:
    """The end of an error's line: the choice with these initials or this spelling, or else all choices there are."""
    if initials := [choice for choice in choices if "".join(part[:1] for part in choice.split("_")) == word.lower()]:
        return f"; did you mean {initials[0]!r}?"
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.4)
    return f"; did you mean {lowered[close[0]]!r}?" if close else f"; known: {', '.join(choices) or 'none'}"
