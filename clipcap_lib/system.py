"""The machine and its libraries: device, quiet loading, and what somebody may have meant by a misspelt word.

torch and transformers are imported where they are needed: what only spells shall start at once.
"""

import difflib
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bf16"]
CPUINFO = Path("/proc/cpuinfo")


def best_device() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`; CUDA_VISIBLE_DEVICES= hides the GPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """The name of the GPU, or else of the processor and of those of its instructions that torch uses."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"


def _processor() -> str:
    known = CPUINFO.read_text() if CPUINFO.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", known, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def chosen_precision(device: "torch.device", precision: str) -> Precision:
    """What `auto` comes to on a device: bf16 where its hardware has bfloat16 matrix products."""
    import torch

    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def autocast(device: "torch.device", precision: str) -> "torch.autocast":
    """The context of a forward pass: matrix products in the chosen precision."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=chosen_precision(device, precision) == "bf16")


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars, which a saved notebook would show; then restore what was set."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """The first line of an error; transformers' go on for paragraphs."""
    return next(iter(str(error).splitlines()), "")


def nearest(word: str, choices: list[str]) -> str:
    """The end of an error's line: the choice with these initials or this spelling, or else all choices there are."""
    if initials := [choice for choice in choices if "".join(part[:1] for part in choice.split("_")) == word.lower()]:
        return f"; did you mean {initials[0]!r}?"
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.4)
    return f"; did you mean {lowered[close[0]]!r}?" if close else f"; known: {', '.join(choices) or 'none'}"
