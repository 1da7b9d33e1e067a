"""Reads the pickles others publish, admitting tensors, numbers, strings and plain containers, and nothing that runs."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._utils import _rebuild_tensor_v2


def load_pickle(path: Path) -> Any:
    """The content of a pickle file; raises `ValueError` naming what else it holds, before any of it runs."""
    with path.open("rb") as file:
        try:
            return _PlainUnpickler(file).load()
        except pickle.UnpicklingError as error:
            raise ValueError(f"{path}: {error}") from None
        except (EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: not a whole pickle ({error or type(error).__name__})") from None


def _storage(data: bytes) -> Any:
    # What torch writes here is itself a pickle; torch's own restricted reader takes it apart.
    return torch.load(io.BytesIO(data), weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"a byte string in {encoding!r} is not admitted")
    return text.encode("latin1")


ADMITTED: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,  # how protocol 2 writes bytes
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only tensors and plain containers are admitted")
        return ADMITTED[module, name]
