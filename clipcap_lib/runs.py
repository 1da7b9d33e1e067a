"""The run folder: what a run leaves behind, where it came from, and how it is read back."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clipcap_lib.files import replacing


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


def find_project(*places: Path) -> Path:
    """The top folder of the project that one of these places lies in, the first that does, or this library's source.

    Raises `FileNotFoundError` where there is none.
    """
    for place in (*(path.absolute() for path in places), Path(__file__)):
        for folder in (place, *place.parents):
            if (folder / "notebooks" / "experiments").is_dir():
                return folder
    where = Path.cwd()
    raise FileNotFoundError(f"{where} is not inside the workbench: `cd` into your clone, which holds notebooks/")


def enter_project(*named: Path) -> Path:
    """Make the top folder of the project that one is in, or else of what was `named`, the current one; return it."""
    folder = find_project(Path.cwd(), *named)
    os.chdir(folder)
    return folder


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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all; NaN and infinity become null, for JSON has no word for them."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _finite(content: Any) -> Any:
    match content:
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case float() if not math.isfinite(content):
            return None
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
