"""Where the heavy work is done."""

import platform
import re
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def best_device() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`; CUDA_VISIBLE_DEVICES= hides the GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """What the GPU calls itself, or else the processor, and which of its instructions torch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"


def _processor() -> str:
    known = CPUINFO.read_text() if CPUINFO.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", known, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()
