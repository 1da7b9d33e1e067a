"""Any setting as an axis: the runs of an experiment, each by what tells it from the others."""

import itertools
from collections import Counter
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clipcap_lib.settings import Data, Decoding, Mapping, Models, Section, TrainingSettings, Tuning, explain
from clipcap_lib.system import nearest

SECTIONS: dict[str, type[Section]] = {
    "data": Data, "models": Models, "training": TrainingSettings, "decoding": Decoding,
}  # fmt: skip
KEYS = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.model_fields]

ONE_FOR_ALL = ("name", "title", "execution", "report_language")


class Runs(Section):
    """The axes of an experiment: mapping, tuning, seed, and any setting as `section.key`, each a list of values.

    Each value of one goes with each of the others; those that are named `together` go value by value.
    """

    model_config = ConfigDict(extra="allow")

    mapping: list[Mapping] = Field(min_length=1)
    tuning: list[Tuning] = Field(min_length=1)
    seed: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([0], min_length=1)
    together: list[list[str]] = Field([], description="axes that go value by value, not each with each")

    @model_validator(mode="after")
    def _axes_are_settings(self) -> "Runs":
        for key, values in self.further.items():
            if key.partition(".")[0] in ONE_FOR_ALL:
                raise ValueError(f"{key} is no axis: it has one value for all runs")
            if key not in KEYS:
                raise ValueError(f"unknown key {key!r}{nearest(key, [*Runs.model_fields, *KEYS])}")
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: an axis is a list of values, such as [{values}]")
        return self

    @model_validator(mode="after")
    def _what_goes_together_is_as_long(self) -> "Runs":
        axes = self.axes()
        for group in self.together:
            if unknown := [key for key in group if key not in axes]:
                raise ValueError(f"together: {unknown[0]!r} is no axis{nearest(unknown[0], list(axes))}")
            if len(lengths := {len(axes[key]) for key in group}) > 1:
                raise ValueError(f"together: {', '.join(group)} differ in length: {sorted(lengths)}")
        named = Counter(itertools.chain(*self.together))
        if repeated := [key for key, count in named.items() if count > 1]:
            raise ValueError(f"together: {repeated[0]} is named twice")
        return self

    @property
    def further(self) -> dict[str, list[Any]]:
        """The axes beside mapping, tuning and seed."""
        return self.model_extra or {}

    def axes(self) -> dict[str, list[Any]]:
        """The values of every axis by its key, in the order of the file."""
        return {"mapping": self.mapping, "tuning": self.tuning, "seed": self.seed, **self.further}

    def grid(self) -> list[dict[str, Any]]:
        """What is chosen for each run, by key; the last axis changes fastest."""
        axes = self.axes()
        grouped = {key: group for group in self.together for key in group}
        groups = dict.fromkeys(tuple(grouped.get(key, [key])) for key in axes)
        rows = [[dict(zip(keys, values, strict=True)) for values in zip(*(axes[key] for key in keys), strict=True)]
                for keys in groups]  # fmt: skip
        found = [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*rows)]
        return [{key: choice[key] for key in axes} for choice in found]


def chosen_settings(sections: dict[str, BaseModel], runs: Runs, choice: dict[str, Any]) -> dict[str, BaseModel]:
    """The sections of an experiment with the values of one run in them, checked as those of a file.

    `data.train_images` is as large as the largest of its axis, and the run uses so many of them: other corpora would
    have other dev and test pictures. Raises `ValueError` naming the axis and the value.
    """
    changed: dict[str, dict[str, Any]] = {}
    for key in runs.further:
        section, _, name = key.partition(".")
        changed.setdefault(section, {})[name] = choice[key]
    if "train_images" in changed.get("data", {}):
        changed.setdefault("training", {})["used_images"] = changed["data"]["train_images"]
        changed["data"]["train_images"] = max(runs.further["data.train_images"])
    return sections | {name: _checked(name, sections[name], values) for name, values in changed.items()}


def _checked(name: str, section: BaseModel, values: dict[str, Any]) -> BaseModel:
    try:
        return type(section).model_validate(section.model_dump(exclude_unset=True) | values)
    except ValidationError as error:
        told = [f"{name}{'.' if problem['loc'] else ': '}{explain(problem)}" for problem in error.errors()]
        raise ValueError("; ".join(told)) from None


def describe_choice(choice: dict[str, Any]) -> str:
    """What tells a run from others of its mapping, tuning and seed: `learning_rate=0.001,train_images=500`.

    The language model's learning rate is not named where it is that of the mapping network.
    """
    rate, its = "training.learning_rate", "training.language_model_learning_rate"
    same = {its} if choice.get(rate, "") == choice.get(its) else set()
    named = {key.partition(".")[2]: value for key, value in choice.items() if "." in key and key not in same}
    return ",".join(f"{key}={value}" for key, value in named.items())
