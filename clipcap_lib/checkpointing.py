"""The checkpoints of a running training: the last two, and the best weights that they refer to."""

import hashlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipcap_lib.dataset import Split
from clipcap_lib.files import remove_temporaries, replacing
from clipcap_lib.settings import ClipCapConfig, TrainingSettings

KEPT = 2  # if the newest is damaged, the one before it is used


class Checkpoints:
    """`checkpoint-<step>-best-<step>.pt` and `best-<step>.pt` in a run folder, each written whole or not at all.

    `stamp` says what a training depends on; checkpoints with another one are not this training's.
    """

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder, self.stamp = folder, stamp
        remove_temporaries(folder)

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Write the best weights so far, each [...] of its own shape; those of earlier steps stay until `save`."""
        _write(weights, self._best(step))

    def save(self, step: int, best_step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint, and remove what neither it nor the one before it needs."""
        _write(state | {"stamp": self.stamp}, self.folder / f"checkpoint-{step}-best-{best_step}.pt")
        newest = _newest_first(self.folder)
        needed = {self._best_of(path) for path in newest[:KEPT]}
        for path in [*newest[KEPT:], *set(self.folder.glob("best-*.pt")) - needed]:
            path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint of this training that is whole, and whose best weights are; `None` if there is none.

        Warns of each damaged file.
        """
        for path in _newest_first(self.folder):
            if _is_whole(path):
                state = _read(path)
                if state["stamp"] != self.stamp:
                    return None
                if _is_whole(self._best_of(path)):
                    return state
        return None

    def best(self, step: int) -> dict[str, Tensor]:
        """The weights of the best evaluation, each in its own shape [...]."""
        return _read(self._best(step))

    def _best(self, step: int | str) -> Path:
        return self.folder / f"best-{step}.pt"

    def _best_of(self, checkpoint: Path) -> Path:
        return self._best(checkpoint.stem.rpartition("-")[2])


def clear_checkpoints(folder: Path) -> None:
    """Remove what only a resume needs; call it when everything made from the trained model has been written."""
    for pattern in ("checkpoint*.pt", "best*.pt"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def training_stamp(config: ClipCapConfig, splits: tuple[Split, ...], settings: TrainingSettings, seed: int) -> str:
    """A hash of what a history depends on besides the library and the language model's own weights."""
    digest = hashlib.sha256(repr((config, settings, seed)).encode())
    for split in splits:
        vectors = split.features.vectors[split.features.rows[split.images]]  # the store may hold other splits too
        for array in (vectors, split.images, split.tokens.ids, split.tokens.bounds):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    found = folder.glob("checkpoint-*-best-*.pt")
    return sorted(found, key=lambda path: int(path.stem.split("-")[1]), reverse=True)


def _is_whole(path: Path) -> bool:
    """Whether a file holds what was written: torch's own format has a checksum of every part."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                return True
    except (OSError, zipfile.BadZipFile):
        pass
    warnings.warn(f"{path} is damaged or missing; training goes on from an earlier checkpoint, if any", stacklevel=4)
    return False


def _write(content: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        torch.save(content, temporary)


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)
