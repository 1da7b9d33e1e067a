"""One table of every finished run: what its settings are, what came of it, and where it came from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipcap_lib.analysis.limits import SETTINGS
from clipcap_lib.files import read_json
from clipcap_lib.runs import finished_in
from clipcap_lib.system import nearest

FIRST = ["experiment", "run", "mapping", "tuning", "seed"]
RESULTS = ["best_dev_loss", "steps", "seconds", "trainable_parameters"]
Z = 1.96  # of a 95 % interval


def all_runs(reports: Path, where: str | None = None, sort: str | None = None) -> pd.DataFrame:
    """A row for each finished run of every experiment and of `adhoc`, oldest first, or as `chosen_runs` has it.

    Columns: experiment, run, mapping, tuning, seed; the settings that differ between runs; best dev loss, steps,
    seconds, trained parameters; `right`, the share of test captions that are wholly right, with the ends of its 95 %
    interval, where that is known; the commit and when the run ended. Results that cannot be read are left out. Settings
    that do not differ can be asked for, too. Raises `ValueError` as `chosen_runs` does.
    """
    folders = [run for experiment in sorted(reports.glob("*/runs")) for run in finished_in(experiment)]
    rows = [row for folder in folders if (row := _row(folder))]
    table = pd.DataFrame(rows, columns=list(dict.fromkeys([*FIRST, *(key for row in rows for key in row)])))
    alike = [key for key in SETTINGS if key in table and key not in FIRST and table[key].astype(str).nunique() < 2]
    if not rows:
        return table
    return chosen_runs(table.sort_values("ended", ignore_index=True), where, sort).drop(columns=alike)


def _row(folder: Path) -> dict[str, Any] | None:
    try:
        params, summary, origin = (read_json(folder / f"{name}.json") for name in ("params", "summary", "provenance"))
    except (OSError, ValueError):
        return None
    known = {key: params.get(key) for key in SETTINGS if key in params}
    names = {"experiment": folder.parents[1].name, "run": folder.name}
    results = {key: summary.get(key) for key in RESULTS} | _right(summary.get("test_all"), params.get("test_images"))
    ended = pd.Timestamp.fromtimestamp((folder / "DONE").stat().st_mtime)  # of this place
    return names | known | results | {"commit": (origin.get("git_commit") or "")[:10], "ended": ended.round("s")}


def _right(share: float | None, pictures: int | None) -> dict[str, float]:
    """A share with its Wilson interval (Wilson 1927), which needs no captions to be read."""
    if share is None or not pictures:
        return {}
    middle = (share + Z**2 / (2 * pictures)) / (1 + Z**2 / pictures)
    half = Z * np.sqrt(share * (1 - share) / pictures + Z**2 / (4 * pictures**2)) / (1 + Z**2 / pictures)
    return {"right": share, "right_low": middle - half, "right_high": middle + half}


def chosen_runs(table: pd.DataFrame, where: str | None, sort: str | None) -> pd.DataFrame:
    """The rows for which an expression over the columns holds, such as `mapping == "mlp" and seed < 3`, in an order.

    `sort` is a column, lowest first, or `-column`. Raises `ValueError` for what cannot be asked of this table.
    """
    try:
        chosen = table.eval(where, local_dict={}, global_dict={}) if where else pd.Series(True, table.index)
    except Exception as error:  # whatever pandas makes of a text that is no expression
        raise ValueError(f"--where {where}: {error}; the columns are {', '.join(table.columns)}") from None
    if not isinstance(chosen, pd.Series) or chosen.dtype != bool:
        raise ValueError(f"--where {where}: write a condition, such as 'seed < 3'")
    table, column = table[chosen], (sort or "").removeprefix("-")
    if sort and column not in table:
        raise ValueError(f"--sort {sort}: no column{nearest(column, list(table.columns))}")
    return table.sort_values(column, ascending=sort == column) if column else table
