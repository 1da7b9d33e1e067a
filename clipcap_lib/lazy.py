"""Public names that are imported when they are first used (PEP 562), so that a package itself imports at once."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy(package: str, where: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package; `where` names each public name's module, or the name within it too.

    `{"train": "training", "ClipCap": "model:ClipCapModel", "figures": "reporting.figures:"}`: a module's attribute of
    the same name, one of another name, and, with nothing behind the colon, the module itself.
    """

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(where)}")
        module, colon, attribute = where[name].partition(":")
        found = import_module(f"clipcap_lib.{module}")
        return found if colon and not attribute else getattr(found, attribute or name)

    return find, lambda: sorted(where)
