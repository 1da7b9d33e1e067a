"""The run folder: what a run leaves behind, where it came from, and how it is read back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clipcap_lib.files import read_json


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

    @property
    def label(self) -> str:
        """How the run is named in figures and tables: mapping, tuning, and what else its folder is named by."""
        mapping, tuning, seed = (self.params[key] for key in ("mapping", "tuning", "seed"))
        further = self.name.removeprefix(f"{mapping}-{tuning}-s{seed}") if self.name.startswith(mapping) else ""
        told = further.strip("-").replace("=", " ").replace(",", ", ")
        return f"{mapping}, {tuning}" + (f", {told}" if told else "")


def loss_curve(history: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a history that hold the loss of a split over real tokens."""
    return history[(history["split"] == split) & (history["metric"] == "loss")]


def listed(value: Any) -> list[Any]:
    """The items of a notebook's list parameter, which plain papermill gives as text: `greedy`, or `["a", "b"]`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            raise ValueError(f'{value}: expected a list such as ["a", "b"]') from None
    return value if isinstance(value, list) else [value] if value != "" else []


def run_folders(value: Any) -> list[str]:
    """The run folders that a notebook's `runs` names; the folder of an experiment stands for its finished runs."""
    named = [Path(folder) for folder in listed(value)]
    return [run.as_posix() for folder in named for run in (finished_in(folder / "runs") or [folder])]


def finished_in(folder: Path) -> list[Path]:
    """The folders of finished runs that lie in a folder."""
    return sorted(done.parent for done in folder.glob("[!.]*/DONE"))


def read_run(folder: Path) -> Run:
    """Read a finished run."""
    return Run(
        folder, read_json(folder / "params.json"), read_json(folder / "summary.json"),
        pd.read_csv(folder / "history.csv"), pd.read_parquet(folder / "captions.parquet"),
    )  # fmt: skip


def read_runs(named: Any) -> list[Run]:
    """Read the runs that a notebook's `runs` names, in the order given; see `run_folders`.

    Raises `FileNotFoundError` naming the runs that are not finished.
    """
    folders = run_folders(named)
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
