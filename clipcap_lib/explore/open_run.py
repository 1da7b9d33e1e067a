"""The run folder that notebook 03 fills: taken for this process, finished with its summary and where it came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from clipcap_lib.checkpointing import clear_checkpoints
from clipcap_lib.files import claim, write_json
from clipcap_lib.model import ClipCapModel
from clipcap_lib.provenance.record import provenance
from clipcap_lib.runner.experiment import adhoc_run_id
from clipcap_lib.system import chosen_precision
from clipcap_lib.training import KERNEL_ENDS, Progress


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

    def finish(self, progress: Progress, model: ClipCapModel, precision: str, accuracy: Mapping[str, float],
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
        (self.folder / "DONE").touch()  # `compare` and notebooks 04 to 08 read finished runs only
        clear_checkpoints(self.folder)
        self.lock.release()
        return summary


def open_run(output: str, parameters: Mapping[str, Any]) -> OpenRun:
    """The run folder `output`, or, where that is empty, one under reports/adhoc/ whose name says what differs.

    Raises `InUseError` where another process fills it.
    """
    return OpenRun(Path(output or f"reports/adhoc/runs/{adhoc_run_id(dict(parameters))}"))
