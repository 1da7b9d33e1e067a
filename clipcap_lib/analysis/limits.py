"""Runs that differ in any settings, each arm at the learning rate with its lowest dev loss."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.runs import Run, loss_curve
from clipcap_lib.settings import Data, Decoding, Models, OneRun, TrainingSettings

RATES = ["learning_rate", "language_model_learning_rate"]
SETTINGS = [key for section in (OneRun, Models, Data, TrainingSettings, Decoding) for key in section.model_fields]
NAMED = ("mapping", "tuning", "features", "bridge")  # whose values say by themselves what they are of


@dataclass(frozen=True)
class LimitsStudy:
    """Finished runs and what tells them apart.

    `factors` are the settings that differ, without learning rates and seed; an arm is one choice of all of them.
    """

    runs: Sequence[Run]
    factors: list[str] = field(default_factory=list)
    rates: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "LimitsStudy":
        """The study of runs, with the settings that differ in the order of `settings`."""
        varied = [key for key in SETTINGS if len({str(run.params.get(key)) for run in runs}) > 1]
        factors = [key for key in varied if key not in (*RATES, "seed")]
        return cls(list(runs), factors, [key for key in varied if key in RATES] or RATES[:1])

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a run: its arm, factors, rates and seed, and the numbers of its summary."""
        keys = [*self.factors, *self.rates, "seed"]
        rows = [{"arm": self.arm(run)} | {key: run.params[key] for key in keys} | run.summary for run in self.runs]
        return pd.DataFrame(rows)

    def arm(self, run: Run) -> str:
        """The factors of a run in words, such as `mlp, frozen, used_images 500`."""
        return describe_arm({key: run.params[key] for key in self.factors})

    def by_rate(self) -> pd.DataFrame:
        """The mean best dev loss over seeds: a row an arm, a column a learning rate, or a pair that goes together."""
        return self.table.pivot_table(index="arm", columns=self.rates, values="best_dev_loss", sort=False)

    def at_best_rates(self) -> "LimitsStudy":
        """The runs of each arm at the learning rate where its mean dev loss over seeds is lowest."""
        best, rates = self.by_rate().idxmin(axis=1), self.rates
        kept = [run for run in self.runs if _rate(run, rates) == best[self.arm(run)]]
        return LimitsStudy(kept, self.factors, rates)

    def where(self, **chosen: Any) -> "LimitsStudy":
        """The runs with these values of some factors."""
        kept = [run for run in self.runs if all(run.params[key] == value for key, value in chosen.items())]
        return LimitsStudy(kept, self.factors, self.rates)

    def values(self, factor: str) -> list[Any]:
        """The values of a factor, numbers in order, words as the runs come."""
        found = list(dict.fromkeys(run.params[factor] for run in self.runs))
        return sorted(found) if all(isinstance(value, int | float) for value in found) else found

    def losses(self) -> pd.Series:
        """The best dev loss by seed, the mean where several runs have one."""
        return self.table.groupby("seed")["best_dev_loss"].mean() if self.runs else pd.Series(dtype=float)

    def captions(self) -> pd.DataFrame:
        """What captions of test pictures name rightly, 0 to 1, the mean over these runs: a row a picture.

        Without columns where the corpus does not tell what is true of a picture.
        """
        tables = [run.captions[run.captions["split"] == "test"].set_index("image_id") for run in self.runs]
        known = [name for name in ATTRIBUTES if tables and name in tables[0]]
        found = pd.concat([table[known].astype(float) for table in tables]) if known else pd.DataFrame()
        return found.groupby(level=0, sort=False).mean() if known else found

    def costs(self) -> pd.DataFrame:
        """Of each arm, the mean over its seeds of trained parameters, seconds, dev loss, and that at equal time.

        Equal time is the training time of the quickest arm.
        """
        quickest = self.table.groupby("arm")["seconds"].mean().min()
        table = self.table.assign(**{"at equal time": [_lowest_within(run, quickest) for run in self.runs]})
        columns = ["trainable_parameters", "seconds", "best_dev_loss", "at equal time"]
        return table.groupby("arm", sort=False)[columns].mean().sort_values("best_dev_loss")


def describe_arm(chosen: dict[str, Any]) -> str:
    """A choice of factors in words, such as `mlp, frozen, used_images 500`."""
    return ", ".join(str(value) if key in NAMED else f"{key} {value}" for key, value in chosen.items())


def _rate(run: Run, rates: list[str]) -> Any:
    own = tuple(run.params[key] for key in rates)
    return own if len(own) > 1 else own[0]


def _lowest_within(run: Run, seconds: float) -> float:
    """The lowest dev loss of a run's evaluations in its first seconds of training."""
    dev = loss_curve(run.history, "dev")
    return dev.loc[dev["seconds"] <= seconds * (1 + 1e-9), "value"].min()
