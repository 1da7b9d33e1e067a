"""The run folder: what a run leaves behind, where it came from, and how it is read back."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, parameters, summary, loss history and captions."""

    folder: Path
    params: dict[str, Any]
    summary: dict[str, Any]
    history: pd.DataFrame
    captions: pd.DataFrame

    @property
    def name(self) -> str:
        return self.folder.name


def loss_curve(history: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a history that hold the loss of a split over real tokens."""
    return history[(history["split"] == split) & (history["metric"] == "loss")]


def enter_project() -> Path:
    """Make the project's top folder the current one, from wherever the kernel was started; return it."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "experiments").is_dir():
            os.chdir(folder)
            return folder
    raise FileNotFoundError(f"{Path.cwd()} is not inside the workbench: no folder above it holds notebooks/experiments")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def finished_in(folder: Path) -> list[Path]:
    """The folders of finished runs that lie in a folder."""
    return sorted(done.parent for done in folder.glob("*/DONE"))


def read_run(folder: Path) -> Run:
    """Read a finished run."""
    return Run(
        folder, read_json(folder / "params.json"), read_json(folder / "summary.json"),
        pd.read_csv(folder / "history.csv"), pd.read_parquet(folder / "captions.parquet"),
    )  # fmt: skip


def read_runs(folders: list[str]) -> list[Run]:
    """Read the runs of an experiment, in the order given.

    Raises `FileNotFoundError` naming the runs that are not finished.
    """
    missing = [folder for folder in folders if not (Path(folder) / "DONE").exists()]
    if missing or not folders:
        raise FileNotFoundError(
            f"no finished run in: {', '.join(missing) or 'an empty list'}; `clipcap run` makes them"
        )
    return [read_run(Path(folder)) for folder in folders]


def summary_table(runs: list[Run]) -> pd.DataFrame:
    """One row a run: name, mapping, tuning, seed, and the numbers of its summary."""
    keys = ("mapping", "tuning", "seed")
    rows = [{"run": run.name, **{key: run.params[key] for key in keys}, **run.summary} for run in runs]
    return pd.DataFrame(rows)
