"""The settings of an experiment by section, checked: data, models, training, decoding; one default for each key."""

from collections.abc import Mapping as Parameters
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from clipcap_lib.decoding.strategies import parse_strategy
from clipcap_lib.system import nearest
from clipcap_lib.wording import say

Language = Literal["zh", "en"]
MAPPINGS = {"mlp": "MLP", "bert": "BERT", "transformer": "transformer", "linear": "linear", "direct": "no mapping"}
"""The known mapping networks by name, with the word for each; `mapping.register_mapper` adds to them."""
BRIDGES = {"prefix": "prefix", "cross-attention": "cross-attention"}
"""The known bridges, likewise; `bridges.register_bridge` adds to them."""
SHARD = ".tar"  # the end of `images` where pictures lie in tar files
RENAMED = {"constants": "clip_length", "images_folder": "images"}  # keys of earlier versions, which are still read


def _one_of(known: dict[str, str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"{name!r} is not one of {', '.join(known)}{nearest(name, list(known))}")
        return name

    return AfterValidator(check)


Mapping = Annotated[str, _one_of(MAPPINGS)]
Bridge = Annotated[str, _one_of(BRIDGES)]
Tuning = Literal["frozen", "lora", "full"]
Duplicates = Literal["bytes", "perceptual"]
FeatureKind = Literal["pooled", "grid"]
COMPARED = [
    "greedy", "beam width:5", "sample top_k:10", "sample top_p:0.9", "sample typical_p:0.9", "sample min_p:0.1",
    "contrastive k:4 alpha:0.1", "contrastive k:4 alpha:0.6", "magic k:4 alpha:0.1 beta:0.5", "best-of-n n:8",
    "mbr n:8",
]  # fmt: skip


class Section(BaseModel):
    """Settings that refuse unknown keys; keys of earlier versions are read under their new names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation in (int, float):
            raise ValueError(f"{value} is no number")
        return value

    @model_validator(mode="before")
    @classmethod
    def _with_new_names(cls, content: Any) -> Any:
        return with_new_names(content) if isinstance(content, dict) else content

    @classmethod
    def of(cls, parameters: Parameters[str, Any]) -> Self:
        """The section among a notebook's or a run's parameters; see `pick`."""
        return pick(cls, dict(parameters))


class Data(Section):
    """The corpus: generated emoji scenes, or your own files (captions, folder of images, optional split file)."""

    corpus: Literal["emoji-scenes", "files"] = Field("emoji-scenes", description="emoji-scenes, or files for your own")
    language: Language = Field("zh", description="zh or en")
    train_images: int = Field(12000, ge=0, description="emoji scenes only: files use what the other splits leave")
    dev_images: int = Field(300, gt=0, description="images that pick the best checkpoint")
    test_images: int = Field(500, gt=0, description="images nobody trains on")
    compositional_images: int = Field(
        500, ge=0, description="emoji scenes only: object pairs and counts never trained on"
    )
    data_seed: int = Field(1, ge=0, description="of the corpus and of the split")
    captions_file: str | None = Field(None, description="files only: a caption file, or training's; empty: in shards")
    dev_captions_file: str | None = Field(None, description="files only: with the next, a caption file for each split")
    test_captions_file: str | None = Field(None, description="files only")
    images: str | None = Field(None, description="files only: a folder, or shards/{000..999}.tar; empty: embeddings")
    splits_file: str | None = Field(None, description="files only: image_id,split; empty splits at random")
    duplicates: Duplicates = Field(
        "bytes", description="files only: which pictures are one; perceptual: those saved anew too"
    )
    dev_split: Literal["image", "caption"] = Field(
        "image", description="caption, as published: dev captions of images that training sees"
    )

    @property
    def has_pictures(self) -> bool:
        """False where embeddings come along instead of pictures: a published pickle, a folder of clip-retrieval."""
        return self.corpus == "emoji-scenes" or self.images is not None

    @property
    def in_shards(self) -> bool:
        """Whether the pictures lie in tar files."""
        return bool(self.images and self.images.endswith(SHARD))

    @property
    def caption_files(self) -> dict[str, Path]:
        """The caption files by split; a single one stands as `train`."""
        named = {"train": self.captions_file, "dev": self.dev_captions_file, "test": self.test_captions_file}
        return {split: Path(name) for split, name in named.items() if name}

    @model_validator(mode="after")
    def _files_are_named(self) -> "Data":
        captions = Path(self.captions_file or "none.txt")  # embeddings: a pickle, or a folder, which has no suffix
        seen = self.images or captions.suffix in (".pkl", "") or captions.is_dir()
        if self.corpus == "files" and not (self.in_shards or (self.captions_file and seen)):
            raise ValueError("corpus: files needs captions_file and images")
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
        ("captions_file", "dev_captions_file", "test_captions_file", "images", "splits_file", "duplicates"),
        "emoji scenes are drawn with their captions and splits",
    ),
}


class Models(Section):
    """The pretrained models and the shape of the mapping network."""

    encoder: str = Field("clip:data/models/tiny-clip.pt", description="clip:<model or .pt> or hf:<id or folder>")
    language_model: str = Field("data/models/tiny-gpt2-zh", description="a causal language model of transformers")
    features: FeatureKind = Field(
        "pooled", description="pooled: one embedding a picture; grid: the encoder's tokens of it"
    )
    bridge: Bridge = Field("prefix", description="prefix: image tokens before the words; or cross-attention")
    cross_attention_width: int = Field(0, ge=0, description="its columns; 0: as many as the language model has")
    prefix_length: int = Field(10, gt=0, description="P: vectors of a mapping; mlp, linear on a grid: T")
    clip_length: int = Field(10, gt=0, description="C: image tokens inside BERT and transformer; of a grid: its own")
    mapper_layers: int = Field(8, gt=0, description="of BERT and transformer; published: 8")
    mapper_heads: int = Field(8, gt=0, description="of BERT and transformer")
    normalize: bool = Field(False, description="L2-normalise the embedding first")
    lora_rank: int = Field(8, gt=0, description="tuning: lora only")
    max_caption_tokens: int = Field(40, gt=1, description="longer captions lose words, never their end")
    stop_token: str | None = Field(
        None, description="ends a caption that holds it, such as '.'; no end token is then trained"
    )


class ClipCapConfig(Models):
    """Everything needed to rebuild a captioner; published sizes are the defaults.

    `clip_size` D: the numbers of an embedding, or of a token of the grid; `grid` T: the tokens of a picture, 0: pooled.
    """

    mapping: Mapping
    tuning: Tuning
    encoder: str
    language_model: str
    clip_size: int
    grid: int = 0
    mapper_layers: int = 8  # 0: an imported mlp, which has none
    language_model_sha256: str | None = None

    @classmethod
    def for_features(cls, models: Models, mapping: Mapping, tuning: Tuning, shape: tuple[int, ...]) -> "ClipCapConfig":
        """A captioner of an experiment, for features of this shape: (D,), or (T, D) of a grid."""
        *grid, clip_size = shape
        return cls(mapping=mapping, tuning=tuning, clip_size=clip_size, grid=sum(grid), **models.model_dump())

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of a picture's features: (D,), or (T, D) of a grid."""
        return (self.grid, self.clip_size) if self.grid else (self.clip_size,)


class OneRun(Section):
    """What tells one run of the grid from the others."""

    mapping: Mapping = Field(description="mlp, bert, transformer, linear, or direct with cross-attention")
    tuning: Tuning = Field(description="what of the language model is trained: frozen, lora or full")
    seed: int = Field(0, description="of weights, order and dropout")


class TrainingSettings(Section):
    """How to train. Published values (ClipCap-Chinese): learning rate 2e-5, 5,000 warm-up steps, 40 captions a step."""

    steps: int = Field(gt=0, description="optimiser steps")
    images_per_step: int = Field(32, gt=0, description="images a step")
    captions_per_image: int = Field(1, gt=0, description="captions packed behind each image's prefix")
    used_images: int = Field(0, ge=0, description="so many of the training images, drawn by data_seed; 0: all")
    learning_rate: float = Field(2e-5, gt=0, description="AdamW peak learning rate of the mapping network")
    language_model_learning_rate: float = Field(
        2e-5, gt=0, description="the same for what is trained of the language model"
    )
    warmup_steps: int = Field(5000, ge=0, description="steps until the peak")
    weight_decay: float = Field(0.0, ge=0, description="AdamW")
    evaluate_every: int = Field(100, gt=0, description="steps between dev losses")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="float32, bf16, or auto: bf16 where the hardware has it"
    )
    patience: int = Field(10, gt=0, description="evaluations without a better dev loss before training stops")
    keep: Literal["best", "last"] = Field("best", description="last: the final weights, and no early stop")
    padding_in_loss: bool = Field(
        False, description="as published: captions filled up to max_caption_tokens, and the filling trained"
    )
    processes: int = Field(1, gt=0, description="share each step's images: a GPU each, or without any the CPU")
    accumulate: int = Field(1, gt=0, description="a process takes its images in so many parts: less memory, same step")
    clip_gradients: float = Field(0.0, ge=0, description="largest norm of all gradients; 0: any")

    @property
    def parts(self) -> int:
        """In how many parts the images of a step are gone through."""
        return self.processes * self.accumulate

    @model_validator(mode="after")
    def _every_part_has_an_image(self) -> "TrainingSettings":
        if self.images_per_step < self.parts:
            given = f"processes × accumulate is {self.processes} × {self.accumulate}"
            raise ValueError(f"{given}, but images_per_step is {self.images_per_step}: each part needs an image")
        return self

    @property
    def warmup_note(self) -> str:
        """What it means that training ends in its warm-up; empty where it does not."""
        if self.steps >= self.warmup_steps:
            return ""
        return say(
            "training ends in its warm-up, at step {steps:,} of {warmup:,}: the learning rate reaches only "
            "{percent:.0f} % of its peak; lower warmup_steps or raise steps",
            steps=self.steps, warmup=self.warmup_steps, percent=100 * self.steps / self.warmup_steps,
        )  # fmt: skip


class Decoding(Section):
    """How captions are made in the report, each strategy as `parse_strategy` reads it."""

    strategy: str = Field("greedy", description="of the captions every run is judged by, such as 'beam width:5'")
    max_new_tokens: int = Field(40, gt=0, description="longest caption")
    strategies: list[str] = Field(COMPARED, min_length=1, description="of notebook 05")
    decoding_images: int = Field(100, gt=0, description="test images that notebooks 05 and 06 caption anew")
    grid_k: list[Annotated[int, Field(gt=0)]] = Field(
        [2, 4, 8], min_length=1, description="candidates of contrastive search"
    )
    grid_alpha: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.0, 0.1, 0.3, 0.6, 0.9], min_length=1, description="its penalty"
    )

    @field_validator("strategy")
    @classmethod
    def _is_a_strategy(cls, text: str) -> str:
        parse_strategy(text)
        return text

    @field_validator("strategies")
    @classmethod
    def _are_strategies(cls, texts: list[str]) -> list[str]:
        return [cls._is_a_strategy(text) for text in texts]


Kind = TypeVar("Kind", bound=BaseModel)


def with_new_names(content: dict[str, Any]) -> dict[str, Any]:
    """Settings of any version under the names of this one."""
    return {RENAMED.get(key, key): value for key, value in content.items()}


def pick(kind: type[Kind], parameters: dict[str, Any]) -> Kind:
    """The section whose fields stand, by name, among a notebook's or a run's parameters; an empty string is `None`.

    Raises `ValueError`, in one line, naming each parameter that does not fit.
    """
    named = with_new_names(parameters)
    known = {key: named[key] for key in kind.model_fields if key in named}
    try:
        return kind(**{key: None if value == "" else value for key, value in known.items()})
    except ValidationError as error:
        raise ValueError("; ".join(map(explain, error.errors()))) from None


def explain(problem: dict[str, Any], keys: list[str] | None = None) -> str:
    """A problem that pydantic found, in one plain line; `keys` are the valid ones where a key is unknown."""
    place, given = ".".join(map(str, problem["loc"])), problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {place!r}{nearest(str(problem['loc'][-1]), keys or [])}"
        case "missing":
            return f"key {place!r} is missing"
        case "literal_error":
            choices = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{place}: {given!r} is not one of {', '.join(choices)}{nearest(str(given), choices)}"
        case "value_error":  # our own words, which name what was given
            return ": ".join(filter(None, (place, problem["msg"].removeprefix("Value error, "))))
        case _:
            return f"{place or 'file'}: {problem['msg']}" + ("" if isinstance(given, dict) else f", not {given!r}")
