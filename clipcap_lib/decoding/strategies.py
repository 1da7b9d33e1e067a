"""The decoding strategies by name and option: plain settings, checked before any model is loaded."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from clipcap_lib.system import nearest
from clipcap_lib.wording import say


@dataclass(frozen=True)
class Usual:
    """The values of an option that a slider offers, and the one it begins with where that is not the default."""

    lowest: float
    highest: float
    step: float
    first: float | None = None


class _Options(BaseModel):
    """Settings that raise `ValueError`, in one line, for an unknown, a missing or an impossible option.

    `reported`: what the default report gives the options that have no default.
    """

    reported: ClassVar[str] = ""
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            problems = "; ".join(_explain(problem, type(self)) for problem in error.errors())
            raise ValueError(f"{_name(type(self))}: {problems}{_example(type(self), error)}") from None


class Search(_Options):
    """A search without chance or beams: its own caption first, then those with another of the likeliest first tokens.

    Only the first token is forced (top-k branching of Wang & Zhou 2024); the search itself goes on from there.
    """

    n: Annotated[int, Usual(1, 10, 1)] = Field(1, gt=0, description="captions a picture")


class Greedy(Search):
    """Always the most probable token."""

    name: Literal["greedy"] = "greedy"


class Beam(_Options):
    """Beam search: the `n` best of the finished hypotheses, scored by log-probability / tokens ** length_penalty."""

    name: Literal["beam"] = "beam"
    width: Annotated[int, Usual(1, 10, 1)] = Field(5, gt=0, description="hypotheses")
    length_penalty: Annotated[float, Usual(0.0, 2.0, 0.1)] = Field(
        1.0, ge=-10, le=10, description="higher: longer captions"
    )
    n: Annotated[int, Usual(1, 10, 1, first=3)] = Field(1, gt=0, description="captions a picture")

    @field_validator("n")
    @classmethod
    def _within_width(cls, n: int, info: ValidationInfo) -> int:
        if n > info.data.get("width", n):
            raise ValueError(say("input should be at most the width, {width}", width=info.data["width"]))
        return n


class Sampling(_Options):
    temperature: Annotated[float, Usual(0.1, 2.0, 0.1)] = Field(
        1.0, ge=1e-4, description="below 1: likelier tokens"
    )  # far below 1e-4 logits overflow; greedy is the limit
    top_k: Annotated[int, Usual(0, 50, 1)] = Field(0, ge=0, description="0: off; Fan et al. 2018")
    top_p: Annotated[float, Usual(0.05, 1.0, 0.05, first=0.9)] = Field(
        1.0, gt=0, le=1, description="1: off; Holtzman et al. 2020"
    )
    min_p: Annotated[float, Usual(0.0, 0.5, 0.05)] = Field(0.0, ge=0, le=1, description="0: off; Nguyen et al. 2024")
    typical_p: Annotated[float, Usual(0.05, 1.0, 0.05)] = Field(
        1.0, gt=0, le=1, description="1: off; Meister et al. 2023"
    )
    n: Annotated[int, Usual(1, 10, 1, first=3)] = Field(1, gt=0, description="captions a picture")
    seed: Annotated[int, Usual(0, 20, 1)] = Field(0, description="of the draws")


class Sample(Sampling):
    """Draw from the softmax after temperature, top-k, top-p, min-p and locally typical filtering, in that order.

    A draw depends on the seed, the image's key and the caption's number alone, never on the rest of the batch.
    """

    name: Literal["sample"] = "sample"


class _Contrast(Search):
    k: Annotated[int, Usual(1, 10, 1, first=4)] = Field(gt=0, description="candidates a step")
    alpha: Annotated[float, Usual(0.0, 1.0, 0.05, first=0.6)] = Field(ge=0, le=1, description="penalty of likeness")
    history: Literal["all", "generated"] = Field("all", description="likeness to the prefix too, or to tokens only")


class Contrastive(_Contrast):
    """Contrastive search (Su et al. 2022, eq. 5): of the k likeliest tokens, the one least like what stands before it.

    Maximises (1 − α)·p(v) − α·max_j cos(h_v, h_j). `history` says whether h_j runs over the prefix too, as in the
    published code, or over generated tokens only.
    """

    name: Literal["contrastive"] = "contrastive"
    reported: ClassVar[str] = "k:4 alpha:0.1"


class Magic(_Contrast):
    """Contrastive search that also listens to CLIP (Su et al. 2022b, eq. 4).

    Adds β · softmax over the k candidates of (logit scale × CLIP(image) · CLIP(text so far + v)).
    """

    name: Literal["magic"] = "magic"
    reported: ClassVar[str] = "k:4 alpha:0.1 beta:0.5"
    beta: Annotated[float, Usual(0.0, 2.0, 0.1, first=0.5)] = Field(ge=0, description="weight of CLIP")


class _Choice(Sampling):
    top_p: Annotated[float, Usual(0.05, 1.0, 0.05)] = Field(0.9, gt=0, le=1, description="1: off; Holtzman et al. 2020")
    n: Annotated[int, Usual(2, 20, 1)] = Field(10, gt=1, description="captions to choose one from")


class BestOfN(_Choice):
    """Draw n captions an image and keep the one whose CLIP embedding is nearest to the image's."""

    name: Literal["best-of-n"] = "best-of-n"


class MinimumBayesRisk(_Choice):
    """Draw n captions an image and keep the one that the others agree with most, by CIDEr-D (Eikema & Aziz 2022)."""

    name: Literal["mbr"] = "mbr"


Strategy = Greedy | Beam | Sample | Contrastive | Magic | BestOfN | MinimumBayesRisk


def _name(kind: type[_Options]) -> str:
    return kind.model_fields["name"].default if "name" in kind.model_fields else kind.__name__.lower()


_BY_NAME = {_name(kind): kind for kind in get_args(Strategy)}
NAMES = tuple(_BY_NAME)


def options(name: str) -> dict[str, FieldInfo]:
    """The options of a strategy: type, default, description, bounds, and `Usual` values among the metadata."""
    return {option: field for option, field in _BY_NAME[name].model_fields.items() if option != "name"}


class Constraints(_Options):
    """What every caption must keep to, whichever strategy writes it.

    `banned_tokens` default to the tokenizer's unknown, mask, padding and class tokens; `stop_tokens` to the model's
    own. `max_new_tokens: None` leaves the length to the stop tokens and to the positions the model has.
    """

    max_new_tokens: int | None = Field(60, gt=0)
    min_new_tokens: int = Field(0, ge=0)
    repetition_penalty: float = Field(1.0, gt=0)
    no_repeat_ngram: int = Field(0, ge=0)
    banned_tokens: tuple[int, ...] | None = None
    stop_tokens: tuple[int, ...] | None = None


def build_strategy(name: str, **options: Any) -> Strategy:
    """The strategy of that name; raises `ValueError`, in one line, for an unknown name or option, or a missing one."""
    if name not in _BY_NAME:
        raise ValueError(f"decoding strategy {name!r} is unknown{nearest(name, list(_BY_NAME))}")
    return _BY_NAME[name](**options)


def parse_strategy(text: str) -> Strategy:
    """Read `"contrastive k:4 alpha:0.6"`: a name, then options; raises `ValueError` like `build_strategy`."""
    name, *words = text.split() or [""]
    given = dict(word.partition(":")[::2] for word in words)
    if bare := [word for word in words if ":" not in word or word.startswith("name:")]:
        raise ValueError(f"decoding strategy {text!r}: write options as option:value, not {bare[0]!r}")
    if len(given) < len(words):
        raise ValueError(f"decoding strategy {text!r}: an option is given twice")
    return build_strategy(name, **given)


def describe(strategy: Strategy) -> str:
    """The text `parse_strategy` reads, with the options that differ from their defaults and those without one."""
    fields = type(strategy).model_fields
    chosen = {key: value for key, value in strategy if key != "name" and value != fields[key].default}
    return " ".join([strategy.name, *(f"{key}:{value}" for key, value in chosen.items())])


def _example(kind: type[_Options], error: ValidationError) -> str:
    # No default stands in for these options, for it would decide the result.
    lacking = any(problem["type"] == "missing" for problem in error.errors())
    return f"; the default report uses {kind.reported}" if lacking else ""


def _explain(problem: dict[str, Any], kind: type[_Options]) -> str:
    option = str(problem["loc"][0])
    match problem["type"]:
        case "extra_forbidden":
            return f"it has no option {option!r}{nearest(option, [key for key in kind.model_fields if key != 'name'])}"
        case "missing":
            return f"option {option!r} is required"
    why = problem["msg"].removeprefix("Value error, ").lower()
    return say("{option}: {why}, not {value!r}", option=option, why=why, value=problem["input"])
