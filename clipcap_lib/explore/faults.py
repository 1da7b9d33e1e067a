"""Errors in the callbacks of widgets, which Jupyter would drop: told in words."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def in_words(error: Exception) -> str:
    """What went wrong; the kind of error too, where it is no refusal written for people."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def guarded(call: Callable[..., Any], tell: Callable[[str], None]) -> Callable[..., None]:
    """The same callback, which tells an error instead of raising it."""

    @wraps(call)
    def guard(*given: Any) -> None:
        try:
            call(*given)
        except Exception as error:  # whatever it is: nobody else would say it
            tell(in_words(error))

    return guard
