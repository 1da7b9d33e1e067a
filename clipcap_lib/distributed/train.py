"""Training as notebooks ask for it: here, or by several processes that end when this one does."""

import builtins
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from clipcap_lib import training
from clipcap_lib.checkpointing import Checkpoints
from clipcap_lib.dataset import Split
from clipcap_lib.distributed import launch
from clipcap_lib.distributed.handover import hand_over
from clipcap_lib.distributed.parts import PartTrainer
from clipcap_lib.distributed.ranks import MARK
from clipcap_lib.files import claimed, read_json
from clipcap_lib.model import ClipCapModel
from clipcap_lib.provenance.sources import PACKAGE
from clipcap_lib.settings import TrainingSettings
from clipcap_lib.training import Progress

ENDS = 10.0  # seconds: processes notice within one or two that they shall end
SHOWN = 2000  # characters of what processes wrote where nothing else says why they failed
OUTPUT = "output.txt"


def train(
    model: ClipCapModel, train_split: Split, dev_split: Split, settings: TrainingSettings, seed: int, folder: Path,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Progress:  # fmt: skip
    """Train a captioner in place as `training.train` does, each step in `processes` × `accumulate` parts.

    The pictures of each step, the losses and the history are those of one process that takes each step whole, but for
    rounding and for dropout in a language model that is tuned. Processes have a GPU each where the captioner is on one,
    and share this process's threads where it is not. When this process ends, however it does, they end.
    Raises, besides what `training.train` does, `ValueError` where there are fewer GPUs than processes, and
    `RuntimeError` that names the process that failed; called again, it resumes.
    """
    if settings.parts == 1:
        return training.train(model, train_split, dev_split, settings, seed, folder, on_progress)
    with claimed(folder, wait=training.KERNEL_ENDS):
        if settings.processes == 1:
            return PartTrainer(model, train_split, dev_split, settings, seed, folder, on_progress).fit()
        _check_gpus(model, settings.processes)
        with _emptied(folder / ".ranks") as place:
            hand_over(place, model, (train_split, dev_split), settings, seed, folder)
            progress = _follow(place, _environment(model, settings.processes), settings.processes, on_progress)
    model.load_trainable(Checkpoints(folder, "").best(progress.best_step), "the best checkpoint")
    return progress


def _check_gpus(model: ClipCapModel, processes: int) -> None:
    if model.device.type == "cuda" and (there := torch.cuda.device_count()) < processes:
        raise ValueError(f"processes is {processes}, but there are {there} GPUs: one for each is needed")


@contextmanager
def _emptied(place: Path) -> Iterator[Path]:
    """A folder that is not there yet, and is gone afterwards."""
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _environment(model: ClipCapModel, processes: int) -> dict[str, str]:
    """This library first, this process's threads divided, and no GPU where the captioner is on none."""
    path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    changed = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes))}
    return os.environ | changed | ({"CUDA_VISIBLE_DEVICES": ""} if model.device.type == "cpu" else {})


def _follow(place: Path, environment: dict[str, str], processes: int, on_progress: Callable[[str], None]) -> Progress:
    """Start the processes and pass on what the first tells until they have ended."""
    progress: dict[str, Any] | None = None
    command = [sys.executable, "-m", launch.__name__, str(place), str(processes)]
    with (place / OUTPUT).open("w") as output, _process(command, environment, output) as process:
        for line in process.stdout:
            if line.startswith(MARK):
                kind, content = json.loads(line.removeprefix(MARK))
                match kind:
                    case "line":
                        on_progress(content)
                    case "warning":
                        warnings.warn(content, stacklevel=4)
                    case "progress":
                        progress = content
        if process.wait() or progress is None:
            raise failure_of(place, processes, process.returncode)
    return Progress(**progress)


@contextmanager
def _process(command: list[str], environment: dict[str, str], output: Any) -> Iterator[subprocess.Popen]:
    """A process that ends with the block; its ranks end when its input closes, as when this process ends."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
    )
    try:
        yield process
    finally:
        try:
            process.communicate(timeout=ENDS)  # closes its input, and waits until no rank has its output open
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def failure_of(place: Path, processes: int, code: int) -> Exception:
    """The error to raise: the first rank's, unless something was killed, after which the others have errors, too."""
    codes = read_json(place / launch.FAILED) if (place / launch.FAILED).exists() else {}
    ended = {f"process {rank} of {processes}": its for rank, its in codes.items()} | {"torchrun": code}
    for name, its in ended.items():
        if its < 0:
            return RuntimeError(f"{name} was ended by {signal.Signals(-its).name}; run it again, and it resumes")
    errors = sorted((read_json(path) for path in place.glob("error-*.json")), key=lambda error: error["time"])
    if not errors:
        return RuntimeError(f"{processes} processes: exit code {code}: {(place / OUTPUT).read_text()[-SHOWN:]}")
    first = errors[0]
    kind = getattr(builtins, first["kind"], None)
    if isinstance(kind, type) and issubclass(kind, ArithmeticError | ValueError):
        return kind(first["message"])
    return RuntimeError(f"process {first['rank']} of {processes}: {first['kind']}: {first['message']}")
