"""What a docstring owes its reader: a beginning, and the shape of every array that goes in or comes out."""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cached_property

import clipcap_lib

ARRAY = re.compile(r"\b(Tensor|ndarray)\b")
SHAPE = re.compile(r"(?<!\w)\[(?:[A-Z]\b|[a-z\d.…])[^\[\]]*\]")  # [B, P, n] and [images], not ids[0] or [SEP]
BEHIND = {property: "fget", cached_property: "func", classmethod: "__func__", staticmethod: "__func__"}


def public(names: dict) -> dict:
    return {name: found for name, found in names.items() if not name.startswith("_") or name == "__call__"}


def documented() -> Iterator[tuple[str, str, str]]:
    """Name, signature and docstring of public functions and methods; a `forward` may leave the shape to its class."""
    for place in pkgutil.walk_packages(clipcap_lib.__path__, "clipcap_lib."):
        for name, found in public(vars(importlib.import_module(place.name))).items():
            if getattr(found, "__module__", None) != place.name:
                continue  # imported from elsewhere
            for part, member in public(vars(found)).items() if inspect.isclass(found) else [("", found)]:
                function = getattr(member, BEHIND.get(type(member), ""), member)
                if inspect.isfunction(function):
                    said = [function] + [found] * (part in ("forward", "__call__"))
                    full = f"{place.name}.{name}.{part}".strip(".")
                    yield full, str(inspect.signature(function)), " ".join(inspect.getdoc(it) or "" for it in said)


def test_every_array_has_its_shape():
    arrays = {name: said for name, signature, said in documented() if ARRAY.search(signature)}
    assert len(arrays) > 60
    assert not [name for name, said in arrays.items() if not SHAPE.search(said)]


def test_docstrings_of_functions_are_there_and_begin_as_sentences_do():
    functions = {name: said for name, _, said in documented() if name.rpartition(".")[0] in sys.modules}
    assert len(functions) > 150
    assert not [name for name, said in functions.items() if not re.match(r"[A-Z\d`]", said)]
