"""One experiment file: what data, which encoder, which language model, which runs, how to train and decode."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clipcap_lib.corpus.text_files import read_text
from clipcap_lib.runner.axes import SECTIONS, Runs, chosen_settings, describe_choice
from clipcap_lib.runner.overrides import with_overrides
from clipcap_lib.settings import (
    WITHOUT_EFFECT,
    Data,
    Decoding,
    Language,
    Models,
    OneRun,
    Section,
    TrainingSettings,
    explain,
    pick,
)

EXPERIMENTS = Path("notebooks/experiments")
DEFAULT = EXPERIMENTS / "emoji-zh.yaml"


class Execution(Section):
    """How notebooks are run: processes side by side, threads each, seconds a cell may take."""

    workers: int = Field(1, gt=0)
    threads: int = Field(2, gt=0, description="threads torch may use")
    cell_timeout: int = Field(7200, gt=0)


# What the public implementations do, ClipCap-Chinese for Chinese and rmokady's for English, and we by default do not.
PUBLISHED: dict[Language, dict[str, dict[str, Any]]] = {
    "zh": {"data": {"dev_split": "caption"}, "training": {"padding_in_loss": True, "keep": "last"}},
    "en": {"models": {"stop_token": "."}, "training": {"keep": "last"}},
}


class Experiment(Section):
    """A whole experiment file. Unknown keys and ill-typed values are refused before any work.

    `fidelity: published` sets the options of `PUBLISHED` that the file does not set itself.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    report_language: Language | None = Field(None, description="of what is said and shown: zh or en")
    fidelity: Literal["corrected", "published"] = "corrected"
    data: Data
    models: Models
    runs: Runs
    training: TrainingSettings
    decoding: Decoding = Decoding()
    execution: Execution = Execution()

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("fidelity") != "published":
            return content
        sections = {
            name: content[name] for name in ("data", "models", "training") if isinstance(content.get(name), dict)
        }
        options = PUBLISHED.get(sections.get("data", {}).get("language", "zh"), {})
        return content | {name: options.get(name, {}) | section for name, section in sections.items()}

    @model_validator(mode="after")
    def _every_run_is_possible(self) -> "Experiment":
        if len(names := [self.run_name(choice) for choice in self.run_grid()]) > len(set(names)):
            raise ValueError(f"runs: two are alike: {next(name for name in names if names.count(name) > 1)}")
        for choice in self.run_grid() if self.runs.further else []:
            self.of_run(choice)
        return self

    def run_grid(self) -> list[dict[str, Any]]:
        """What is chosen for each run: mapping, tuning, seed, and further axes as `section.key`."""
        return self.runs.grid()

    def run_name(self, choice: dict[str, Any]) -> str:
        """The name of a run's folder."""
        return named(run_id(choice["mapping"], choice["tuning"], choice["seed"]), describe_choice(choice))

    def of_run(self, choice: dict[str, Any]) -> "Experiment":
        """The experiment with the settings of one of its runs."""
        sections = {name: getattr(self, name) for name in SECTIONS}
        return self.model_copy(update=chosen_settings(sections, self.runs, choice))

    def flat(self) -> dict[str, Any]:
        """All settings but the grid by their own names, as notebooks take them; `None` becomes an empty string."""
        sections = (self.data, self.models, self.training, self.decoding, self.execution)
        values = {key: value for section in sections for key, value in section.model_dump().items()}
        values["report_language"] = self.report_language or self.data.language
        return {key: "" if value is None else value for key, value in values.items()}


class ExperimentError(ValueError):
    """An experiment file that cannot be used; the message names file, key and what would be valid."""


def run_id(mapping: str, tuning: str, seed: int) -> str:
    """The name of a run's folder."""
    return f"{mapping}-{tuning}-s{seed}"


def named(name: str, what_differs: str) -> str:
    """A name with what differs behind it, as a file may be called."""
    return f"{name}-{_as_file_name(what_differs)}" if what_differs else name


def adhoc_run_id(parameters: dict[str, Any]) -> str:
    """The name of a run outside experiments, by notebook 03's parameters: what differs from the default is in it."""
    default = load_experiment(DEFAULT).flat()
    sections = [pick(kind, parameters) for kind in (Data, Models, TrainingSettings, Decoding)]
    values = {key: value for section in sections for key, value in section.model_dump(exclude_unset=True).items()}
    given = {key: "" if value is None else value for key, value in values.items()}
    changed = ",".join(f"{key}={value}" for key, value in given.items() if value != default[key])
    return named(run_id(**pick(OneRun, parameters).model_dump()), changed)


def _as_file_name(text: str) -> str:
    """Short and without odd characters; where that loses something, a hash keeps different texts apart."""
    plain = re.sub(r"[^\w.=,+-]+", "_", text, flags=re.ASCII)
    if plain == text and len(text) <= 60:
        return text
    return f"{plain[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def find_experiment(name: Path) -> Path:
    """The file of an experiment given as a path or by its bare name; call it before leaving the caller's folder."""
    bare = name.suffix == "" and name.parent == Path() and not name.exists()
    return EXPERIMENTS / f"{name}.yaml" if bare else name.absolute()


def load_experiment(path: Path, overrides: Sequence[str] = (), name: str | None = None) -> Experiment:
    """Read an experiment file (YAML 1.2, so that `1e-4` is a number), with settings in place of its own.

    `overrides` are `key=value`, and `name` what the experiment is then called; see `with_overrides`.
    Raises `ExperimentError` for a missing file, a YAML error, an unknown key or an ill-typed value; each is named with
    the nearest valid key or the valid choices.
    """
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("[!.]*.yaml"))) or "none"
        raise ExperimentError(f"{path}: there is no such experiment file; in {path.parent}: {known}")
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise ExperimentError(f"{path}: expected keys and values, such as `name: my-experiment`")
    try:
        content = with_overrides(content, overrides, name) if overrides or name else content
        experiment = Experiment.model_validate(content)
        problems = _without_effect(experiment.data)
    except ValidationError as error:
        problems = [explain(problem, _keys(problem)) for problem in error.errors()]
    except ValueError as error:  # an override that is none
        problems = [str(error)]
    if problems:
        raise ExperimentError(f"{path}:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return experiment


def _without_effect(data: Data) -> list[str]:
    """What a file sets although its corpus does not use it; notebooks pass every key, so they are not asked."""
    reasons = WITHOUT_EFFECT[data.corpus]
    keys = [key for key in reasons if key in data.model_fields_set and getattr(data, key) is not None]
    return [f"data.{key} has no effect under `corpus: {data.corpus}`: {reasons[key]}; take it out" for key in keys]


def _read_yaml(path: Path) -> Any:
    try:
        text = read_text(path)
    except ValueError as error:
        raise ExperimentError(str(error)) from None
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise ExperimentError(f"{path}: not readable as YAML: {error}") from error


def _keys(problem: dict[str, Any]) -> list[str]:
    """The keys that an unknown one may stand for: those of its section, or of all where it stands at the top."""
    if problem["type"] != "extra_forbidden":
        return []
    sections = {name: field.annotation.model_fields for name, field in Experiment.model_fields.items()
                if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)}  # fmt: skip
    *place, key = problem["loc"]
    if homes := [f"{name}.{key}" for name, fields in sections.items() if not place and key in fields]:
        return homes
    return list(sections[place[0]]) if place else [*Experiment.model_fields, *itertools.chain(*sections.values())]
