"""One experiment file: what data, which encoder, which language model, which runs, how to train and decode."""

import hashlib
import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clipcap_lib.scene_language import Language
from clipcap_lib.spelling import nearest
from clipcap_lib.strategies import parse_strategy
from clipcap_lib.text_files import read_text

EXPERIMENTS = Path("notebooks/experiments")
DEFAULT = EXPERIMENTS / "emoji-zh.yaml"
Mapping = Literal["mlp", "bert", "transformer", "linear"]
Tuning = Literal["frozen", "lora", "full"]
Duplicates = Literal["bytes", "perceptual"]
COMPARED = [
    "greedy", "beam width:5", "sample top_k:10", "sample top_p:0.9", "sample typical_p:0.9", "sample min_p:0.1",
    "contrastive k:4 alpha:0.1", "contrastive k:4 alpha:0.6", "magic k:4 alpha:0.1 beta:0.5", "best-of-n n:8",
    "mbr n:8",
]  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """The corpus: generated emoji scenes, or your own files (captions, folder of images, optional split file)."""

    corpus: Literal["emoji-scenes", "files"] = "emoji-scenes"
    language: Language = "zh"
    train_images: int = Field(12000, ge=0, description="emoji scenes only: files use what the other splits leave")
    dev_images: int = Field(300, gt=0)
    test_images: int = Field(500, gt=0)
    compositional_images: int = Field(500, ge=0, description="emoji scenes only: held-out pairs and counts")
    data_seed: int = 1
    captions_file: str | None = None
    dev_captions_file: str | None = Field(None, description="with test_captions_file: a file for each split")
    test_captions_file: str | None = None
    images_folder: str | None = Field(None, description="not needed for a .pkl, which brings its embeddings")
    splits_file: str | None = None
    duplicates: Duplicates = Field(
        "bytes", description="files only: which pictures are one and stay in one split; perceptual: saved anew too"
    )
    dev_split: Literal["image", "caption"] = Field(
        "image", description="caption, as published: dev captions drawn from all captions, so training saw their images"
    )

    @property
    def has_pictures(self) -> bool:
        """False where a published pickle brings embeddings and no pictures."""
        return self.corpus == "emoji-scenes" or self.images_folder is not None

    @property
    def caption_files(self) -> dict[str, Path]:
        """The caption files by split; a single one stands as `train`."""
        named = {"train": self.captions_file, "dev": self.dev_captions_file, "test": self.test_captions_file}
        return {split: Path(name) for split, name in named.items() if name}

    @model_validator(mode="after")
    def _files_are_named(self) -> "Data":
        pickled = bool(self.captions_file and self.captions_file.endswith(".pkl"))
        if self.corpus == "files" and not (self.captions_file and (self.images_folder or pickled)):
            raise ValueError("corpus: files needs captions_file and images_folder")
        if (self.dev_captions_file is None) != (self.test_captions_file is None):
            raise ValueError("dev_captions_file and test_captions_file go together: a file for each split")
        if self.splits_file and self.test_captions_file:
            raise ValueError("the splits come from splits_file or from a caption file each, not from both")
        return self


WITHOUT_EFFECT = {
    "files": {
        "train_images": "training takes the images that dev and test leave",
        "compositional_images": "only emoji scenes have a compositional test",
    },
    "emoji-scenes": dict.fromkeys(
        ("captions_file", "dev_captions_file", "test_captions_file", "images_folder", "splits_file", "duplicates"),
        "emoji scenes are drawn with their captions and splits",
    ),
}


class Models(_Section):
    """The pretrained models and the shape of the mapping network."""

    encoder: str = "clip:data/models/tiny-clip.pt"
    language_model: str = "data/models/tiny-gpt2-zh"
    prefix_length: int = Field(10, gt=0)
    constants: int = Field(10, gt=0)
    mapper_layers: int = Field(8, gt=0)
    mapper_heads: int = Field(8, gt=0)
    normalize: bool = False
    lora_rank: int = Field(8, gt=0)
    max_caption_tokens: int = Field(40, gt=1)
    stop_token: str | None = Field(
        None, description="ends a caption that holds it, such as '.'; no end is then trained"
    )


class Runs(_Section):
    """The grid: every mapping × every tuning × every seed is one run."""

    mapping: list[Mapping] = Field(min_length=1)
    tuning: list[Tuning] = Field(min_length=1)
    seed: list[int] = Field([0], min_length=1)


class OneRun(_Section):
    """What tells one run of the grid from the others."""

    mapping: Mapping
    tuning: Tuning
    seed: int = 0


class TrainingSettings(_Section):
    """How to train. Published values (ClipCap-Chinese): learning rate 2e-5, 5,000 warm-up steps, 40 captions a step."""

    steps: int = Field(gt=0, description="optimiser steps")
    images_per_step: int = Field(32, gt=0)
    captions_per_image: int = Field(1, gt=0, description="captions packed behind each image's prefix")
    learning_rate: float = Field(2e-5, gt=0, description="AdamW peak learning rate of the mapping network")
    language_model_learning_rate: float = Field(
        2e-5, gt=0, description="the same for what is tuned of the language model"
    )
    warmup_steps: int = Field(5000, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    evaluate_every: int = Field(100, gt=0, description="steps")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="auto: bf16 where the hardware has it")
    patience: int = Field(10, gt=0, description="evaluations without a better dev loss before training stops")
    keep: Literal["best", "last"] = Field("best", description="last: the final weights, and no early stop")
    padding_in_loss: bool = Field(
        False, description="captions filled up to max_caption_tokens, and the filling trained"
    )

    @property
    def warmup_note(self) -> str:
        """What it means that training ends in its warm-up; empty where it does not."""
        if self.steps >= self.warmup_steps:
            return ""
        return (
            f"training ends in its warm-up, at step {self.steps:,} of {self.warmup_steps:,}: the learning rate reaches "
            f"only {100 * self.steps / self.warmup_steps:.0f} % of its peak; lower warmup_steps or raise steps"
        )


class Decoding(_Section):
    """How captions are made in the report, each strategy as `parse_strategy` reads it."""

    strategy: str = Field("greedy", description="of the captions every run is judged by")
    max_new_tokens: int = Field(40, gt=0)
    strategies: list[str] = Field(COMPARED, min_length=1, description="compared by notebook 05 on the best run")
    decoding_images: int = Field(100, gt=0, description="test images that notebooks 05 and 06 caption anew")
    grid_k: list[Annotated[int, Field(gt=0)]] = Field(
        [2, 4, 8], min_length=1, description="of contrastive search, with grid_alpha"
    )
    grid_alpha: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.0, 0.1, 0.3, 0.6, 0.9], min_length=1)

    @field_validator("strategy")
    @classmethod
    def _is_a_strategy(cls, text: str) -> str:
        parse_strategy(text)
        return text

    @field_validator("strategies")
    @classmethod
    def _are_strategies(cls, texts: list[str]) -> list[str]:
        return [cls._is_a_strategy(text) for text in texts]


class Execution(_Section):
    """How notebooks are run: processes side by side, threads each, seconds a cell may take."""

    workers: int = Field(1, gt=0)
    threads: int = Field(2, gt=0)
    cell_timeout: int = Field(7200, gt=0)


# What the public implementations do, ClipCap-Chinese for Chinese and rmokady's for English, and we by default do not.
PUBLISHED: dict[Language, dict[str, dict[str, Any]]] = {
    "zh": {"data": {"dev_split": "caption"}, "training": {"padding_in_loss": True, "keep": "last"}},
    "en": {"models": {"stop_token": "."}, "training": {"keep": "last"}},
}


class Experiment(_Section):
    """A whole experiment file. Unknown keys and ill-typed values are refused before any work.

    `fidelity: published` sets the options of `PUBLISHED` that the file does not set itself.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
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

    def run_grid(self) -> list[dict[str, Any]]:
        """One `{mapping, tuning, seed}` a run, in the order of the file."""
        grid = itertools.product(self.runs.mapping, self.runs.tuning, self.runs.seed)
        return [{"mapping": mapping, "tuning": tuning, "seed": seed} for mapping, tuning, seed in grid]

    def flat(self) -> dict[str, Any]:
        """All settings but the grid by their own names, as notebooks take them; `None` becomes an empty string."""
        sections = (self.data, self.models, self.training, self.decoding, self.execution)
        values = {key: value for section in sections for key, value in section.model_dump().items()}
        return {key: "" if value is None else value for key, value in values.items()}


Section = TypeVar("Section", bound=BaseModel)


def pick(kind: type[Section], parameters: dict[str, Any]) -> Section:
    """The section whose fields stand, by name, among a notebook's or a run's parameters; an empty string is `None`.

    Raises `ValueError`, in one line, naming each parameter that does not fit.
    """
    known = {key: parameters[key] for key in kind.model_fields if key in parameters}
    try:
        return kind(**{key: None if value == "" else value for key, value in known.items()})
    except ValidationError as error:
        raise ValueError("; ".join(map(_explain, error.errors()))) from None


class ExperimentError(ValueError):
    """An experiment file that cannot be used; the message names file, key and what would be valid."""


def run_id(mapping: str, tuning: str, seed: int) -> str:
    """The name of a run's folder."""
    return f"{mapping}-{tuning}-s{seed}"


def adhoc_run_id(parameters: dict[str, Any]) -> str:
    """The name of a run outside experiments, by notebook 03's parameters: what differs from the default is in it."""
    default = load_experiment(DEFAULT).flat()
    sections = [pick(kind, parameters) for kind in (Data, Models, TrainingSettings, Decoding)]
    values = {key: value for section in sections for key, value in section.model_dump(exclude_unset=True).items()}
    given = {key: "" if value is None else value for key, value in values.items()}
    changed = ",".join(f"{key}={value}" for key, value in given.items() if value != default[key])
    name = run_id(**pick(OneRun, parameters).model_dump())
    return f"{name}-{_as_file_name(changed)}" if changed else name


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


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file (YAML 1.2, so that `1e-4` is a number).

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
        experiment = Experiment.model_validate(content)
        problems = _without_effect(experiment.data)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
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


def _explain(problem: dict[str, Any]) -> str:
    place, given = ".".join(map(str, problem["loc"])), problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {place!r}{nearest(str(problem['loc'][-1]), _keys(problem['loc'][:-1]))}"
        case "missing":
            return f"key {place!r} is missing"
        case "literal_error":
            choices = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{place}: {given!r} is not one of {', '.join(choices)}{nearest(str(given), choices)}"
        case "value_error":  # our own words, which name what was given
            return ": ".join(filter(None, (place, problem["msg"].removeprefix("Value error, "))))
        case _:
            return f"{place or 'file'}: {problem['msg']}" + ("" if isinstance(given, dict) else f", not {given!r}")


def _keys(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Experiment
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        section = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    own = list(section.model_fields)
    return (
        own
        if location
        else own + [key for field in section.model_fields.values() for key in _fields_of(field.annotation)]
    )


def _fields_of(annotation: Any) -> list[str]:
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
