"""Best dev losses by mapping network, tuning and seed, and what sentences call these."""

import numpy as np
import pandas as pd

from clipcap_lib.analysis.changes import Change
from clipcap_lib.analysis.loss_curves import seed_interval
from clipcap_lib.runs import Run, summary_table
from clipcap_lib.settings import MAPPINGS
from clipcap_lib.wording import say, term

TUNINGS = ("frozen", "lora", "full")  # in the order in which they are told
Cell = tuple[str, str]  # mapping and tuning


def losses_by_seed(runs: list[Run]) -> pd.DataFrame:
    """Best dev loss by seed (rows) and by mapping and tuning (columns), missing where there is no finite one."""
    table = summary_table(runs).replace(np.inf, np.nan).dropna(subset="best_dev_loss")
    return table.pivot_table(index="seed", columns=["mapping", "tuning"], values="best_dev_loss", sort=False)


def tunings_of(losses: pd.DataFrame) -> list[str]:
    """The tunings that these losses have, in the order in which they are told."""
    return [tuning for tuning in TUNINGS if tuning in losses.columns.get_level_values("tuning")]


def mappings_of(losses: pd.DataFrame) -> list[str]:
    """The mapping networks that these losses have, in the order of the runs."""
    return list(dict.fromkeys(losses.columns.get_level_values("mapping")))


def with_shared_seeds(losses: pd.DataFrame, *cells: Cell) -> pd.DataFrame:
    """The losses of these cells for the seeds that all of them have."""
    return losses.reindex(columns=list(cells)).dropna()


def change_between(losses: pd.DataFrame, before: Cell, after: Cell) -> Change | None:
    """From one cell to another; `None` where they have no seed in common."""
    both = with_shared_seeds(losses, before, after)
    if both.empty:
        return None
    return Change(*both.mean().round(3), seed_interval(both[after] - both[before]))


def mapping_name(mapping: str) -> str:
    """What a sentence calls a mapping network."""
    names = {"transformer": say("the transformer"), "linear": say("the linear mapping")}
    return names.get(mapping) or term(MAPPINGS[mapping])


def tuning_name(tuning: str) -> str:
    """How the language model was trained, in a word or two."""
    return {"frozen": say("frozen"), "lora": say("tuned by LoRA"), "full": say("tuned")}[tuning]


def way_of_tuning(tuning: str, again: bool = False) -> str:
    """How the language model was trained, within a sentence; `again` where the language model has been named before."""
    if again:
        ways = {"frozen": say("with it frozen"), "lora": say("with it tuned by LoRA"), "full": say("with it tuned")}
    else:
        ways = {
            "frozen": say("with the language model frozen"),
            "lora": say("with the language model tuned by LoRA"),
            "full": say("with the language model tuned"),
        }
    return ways[tuning]


def step_between(before: str, after: str) -> str:
    """What is done between two ways of training the language model."""
    steps = {
        ("frozen", "full"): say("tuning the language model"),
        ("frozen", "lora"): say("tuning the language model by LoRA"),
        ("lora", "full"): say("tuning the whole language model in place of LoRA"),
    }
    return steps[before, after]
