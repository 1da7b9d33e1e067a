"""The history of a training: `history.csv`, mirrored to TensorBoard."""

import csv
import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from clipcap_lib.files import replacing

HISTORY_COLUMNS = ["step", "images", "seconds", "split", "metric", "value"]


class History:
    """`history.csv`, appended and flushed as training goes, and the same numbers in `tensorboard/`."""

    def __init__(self, folder: Path, text: str = "", step: int = 0) -> None:
        """Begin with the rows that a checkpoint of this step holds; what was written after it is forgotten."""
        self.path, board = folder / "history.csv", folder / "tensorboard"
        if not text:
            text = ",".join(HISTORY_COLUMNS) + "\n"
            shutil.rmtree(board, ignore_errors=True)
        with replacing(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self.board = SummaryWriter(str(board), purge_step=step + 1)

    def add(self, step: int, images: int, seconds: float, split: str, metric: str, value: float) -> None:
        """Append a row; `seconds` are those of training, without evaluation."""
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(
                [step, images, round(seconds, 3), split, metric, repr(value)]
            )
        self.board.add_scalar(f"{split}/{metric}", value, step)

    def text(self) -> str:
        """Everything so far, for a checkpoint; TensorBoard's part is written out, too."""
        self.board.flush()
        return self.path.read_text(encoding="utf-8")
