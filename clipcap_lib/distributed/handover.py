"""What a notebook hands to the processes that train for it: large arrays as files that all of them map."""

import mmap
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipcap_lib.dataset import Split
from clipcap_lib.model import ClipCapModel
from clipcap_lib.settings import ClipCapConfig, TrainingSettings
from clipcap_lib.wording import spoken

LARGE = 100_000  # bytes: a smaller array is copied to every process


@dataclass(frozen=True)
class Task:
    """A training as `clipcap_lib.train` is asked for it, but for the captioner's weights."""

    config: ClipCapConfig
    train_split: Split
    dev_split: Split
    settings: TrainingSettings
    seed: int
    folder: Path
    device: str
    language: str


def hand_over(
    place: Path, model: ClipCapModel, splits: tuple[Split, Split], settings: TrainingSettings, seed: int, folder: Path
) -> None:
    """Write a training into a new folder."""
    task = Task(model.config, *splits, settings, seed, folder.absolute(), model.device.type, spoken())
    place.mkdir()
    torch.save(model.trainable(), place / "weights.pt")
    with (place / "task.pickle").open("wb") as file:
        _Pickler(file, place).dump(task)


def take_over(place: Path) -> tuple[ClipCapModel, Task]:
    """The captioner and the training that `hand_over` wrote; its language model is loaded by its name."""
    with (place / "task.pickle").open("rb") as file:
        task: Task = _Unpickler(file).load()
    model = ClipCapModel.build(task.config).to(task.device)
    model.load_trainable(torch.load(place / "weights.pt", map_location="cpu", weights_only=True), str(place))
    return model, task


@dataclass(frozen=True)
class _Mapped:
    """An array in a file."""

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def open(self) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, np.memmap(self.path, np.uint8, "r"), self.offset, self.strides)


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, place: Path) -> None:
        super().__init__(file)
        self.place, self.count = place, 0

    def persistent_id(self, found: Any) -> _Mapped | None:
        """Where a large array lies; one that a file holds already, such as the feature store's, stays there."""
        if not isinstance(found, np.ndarray) or found.nbytes < LARGE:
            return None
        if not isinstance(found, np.memmap):
            self.count += 1
            path = self.place / f"{self.count}.npy"
            np.save(path, found)
            found = np.load(path, mmap_mode="r")
        start = found.offset - found.offset % mmap.ALLOCATIONGRANULARITY  # of the file's part that is mapped
        begin = np.frombuffer(found._mmap, np.uint8).ctypes.data
        path = str(Path(found.filename).absolute())
        return _Mapped(path, start + found.ctypes.data - begin, found.shape, found.strides, found.dtype)


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, found: _Mapped) -> np.ndarray:
        """The array, mapped."""
        return found.open()
