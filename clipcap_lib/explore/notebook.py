"""What notebooks begin and end with: the project's folder, style and threads, run folders, summaries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from clipcap_lib.checkpointing import clear_checkpoints
from clipcap_lib.files import claim
from clipcap_lib.provenance.record import provenance, set_threads
from clipcap_lib.reporting.figures import use_style
from clipcap_lib.runner.experiment import adhoc_run_id
from clipcap_lib.runs import enter_project, write_json
from clipcap_lib.system import chosen_precision
from clipcap_lib.training import Progress

KERNEL_ENDS = 10.0  # seconds in which a kernel whose parent was killed ends


def start_notebook(threads: int | None = None) -> None:
    """Enter the project's folder, set the style of figures and the threads of torch."""
    enter_project()
    use_style()
    if threads:
        set_threads(threads)


def write_summary(output: str, content: Mapping[str, Any]) -> None:
    """Write what later notebooks and the report read into `<output>/summary.json`."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "summary.json", dict(content))


class OpenRun:
    """A run folder that this process fills; no other may until it is finished or the process ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock: FileLock = claim(folder, wait=KERNEL_ENDS)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "DONE").unlink(missing_ok=True)  # until everything has been made anew

    def write_params(self, *settings: Any, **more: Any) -> None:
        """Write the settings of the run, sections and single ones, into `params.json`."""
        params = more | {key: value for section in settings for key, value in section.model_dump().items()}
        write_json(self.folder / "params.json", params)

    def finish(self, progress: Progress, model: nn.Module, precision: str, accuracy: Mapping[str, float],
               **origin: Any) -> dict[str, Any]:  # fmt: skip
        """Write `summary.json` and `provenance.json`, mark the run as done and return the summary.

        `accuracy` is added to the summary; `origin` (data, encoder, seed) to where the run came from.
        """
        summary = {
            "trainable_parameters": sum(weight.numel() for weight in model.trainable().values()),
            "best_dev_loss": progress.best_loss, "best_step": progress.best_step, "steps": progress.step,
            "stopped_early": progress.stopped_early, "seconds": round(progress.seconds, 1),
        }  # fmt: skip
        write_json(self.folder / "summary.json", summary | dict(accuracy))
        origin |= {"seconds": progress.seconds, "precision": chosen_precision(model.device, precision)}
        write_json(self.folder / "provenance.json", provenance(**origin))
        (self.folder / "DONE").touch()  # `compare` and notebooks 04 to 07 read finished runs only
        clear_checkpoints(self.folder)
        self.lock.release()
        return summary


def open_run(output: str, parameters: Mapping[str, Any]) -> OpenRun:
    """The run folder `output`, or, where that is empty, one under reports/adhoc/ whose name says what differs.

    Raises `InUseError` where another process fills it.
    """
    return OpenRun(Path(output or f"reports/adhoc/runs/{adhoc_run_id(dict(parameters))}"))
