"""Pictures to captions with a finished run: what `clipcap caption` and the explorer call."""

from collections.abc import Iterable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from clipcap_lib.analysis.unlike import SeenPictures, seen_by
from clipcap_lib.corpus.corpus import prepare_corpus
from clipcap_lib.decoding.decode import STANDARD, Caption, Constraints, decode, resolve_constraints
from clipcap_lib.decoding.reranking import Utility
from clipcap_lib.decoding.strategies import BestOfN, Magic, MinimumBayesRisk, Strategy, parse_strategy
from clipcap_lib.encoders import Encoder, load_encoder
from clipcap_lib.files import read_json
from clipcap_lib.images import open_picture
from clipcap_lib.metrics.reference import training_agreement
from clipcap_lib.model import ClipCapModel
from clipcap_lib.project import find_project
from clipcap_lib.runs import finished_in
from clipcap_lib.settings import Data, pick
from clipcap_lib.system import nearest
from clipcap_lib.wording import say


@dataclass(frozen=True)
class Captioner:
    """A trained model with the encoder whose embeddings it reads, and the parameters of its run."""

    model: ClipCapModel
    encoder: Encoder
    params: dict
    project: Path  # in which the paths of `params` are looked up
    folder: Path

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Captioner":
        """Load a run folder, of whichever project; paths that the run names are looked up in that project.

        Raises `FileNotFoundError`, with the runs there are, where it holds no finished run, and `ValueError` where it
        cannot be loaded: damaged, of another language model, written by something else.
        """
        folder = Path(folder).absolute()
        project = find_project(folder) if _needs_project(folder) else Path.cwd()
        with chdir(project):
            return cls._load(folder, project)

    @classmethod
    def _load(cls, folder: Path, project: Path) -> "Captioner":
        if not (folder / "model" / "config.json").exists() or not (folder / "params.json").exists():
            raise FileNotFoundError(_why_no_run(folder))
        try:
            params = read_json(folder / "params.json")
            name, model = params["encoder"], ClipCapModel.for_decoding(folder / "model")
            pick(Data, params)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"{folder} cannot be loaded ({type(error).__name__}): {why:.300}") from error
        return cls(model, load_encoder(name), params, project, folder)

    @torch.inference_mode()
    def embed(self, pictures: Iterable[Image.Image]) -> Tensor:
        """The features of a batch of pictures that the model reads: embeddings [N, D], or grids [N, T, D]."""
        return self.encoder.encode(self._pixels(pictures), self.model.config.features)

    @torch.inference_mode()
    def pooled(self, pictures: Iterable[Image.Image]) -> Tensor:
        """Embeddings [N, D] of a batch of pictures, with which those of captions can be compared."""
        return self.encoder.encode_images(self._pixels(pictures))

    def _pixels(self, pictures: Iterable[Image.Image]) -> Tensor:
        return torch.stack([self.encoder.preprocess(picture) for picture in pictures])

    def caption(self, picture: str | Path | Image.Image, strategy: str = "greedy", **constraints: Any) -> str:
        """The caption of one picture; `strategy` as in experiments, such as `"contrastive k:4 alpha:0.1"`.

        `constraints` are those of `Constraints`. Raises `ValueError` for a picture that cannot be read and for options
        that cannot be met.
        """
        opened = picture if isinstance(picture, Image.Image) else open_picture(Path(picture))
        found = self.caption_all([opened], ["picture"], parse_strategy(strategy), Constraints(**constraints))
        return found[0][0].text

    def caption_all(
        self, pictures: Iterable[Image.Image], keys: Sequence[str], strategy: Strategy,
        constraints: Constraints = STANDARD,
    ) -> list[list[Caption]]:  # fmt: skip
        """The captions of each picture, as `decode` orders them; see `features_and_captions`."""
        return self.features_and_captions(pictures, keys, strategy, constraints)[1]

    def features_and_captions(
        self, pictures: Iterable[Image.Image], keys: Sequence[str], strategy: Strategy,
        constraints: Constraints = STANDARD,
    ) -> tuple[Tensor, list[list[Caption]]]:  # fmt: skip
        """What the model reads of each picture, [N, D] or [N, T, D], and its captions, as `decode` orders them.

        `keys` are the pictures' names, to the sampler. All pictures go through the encoder at once: give as many as
        memory has room for.
        """
        utility = self._utility if isinstance(strategy, MinimumBayesRisk) else None
        judge = self._judge(strategy)
        resolve_constraints(self.model, strategy, constraints, judge, utility)  # before a picture is embedded
        pictures, config = list(pictures), self.model.config
        # Whatever the model reads, these two compare captions with embeddings.
        judged = self.pooled(pictures) if config.features == "grid" and isinstance(strategy, Magic | BestOfN) else None
        features = self.embed(pictures)
        return features, decode(self.model, features, strategy, constraints, keys, judge, utility, judged=judged)

    @cached_property
    def seen(self) -> SeenPictures | None:
        """The training pictures, by which one unlike them all is told; `None` for an imported checkpoint, without any.

        Raises `LookupError` where they are gone; see `seen_by`.
        """
        if "corpus" not in self.params:
            return None
        with chdir(self.project):
            return seen_by(self.folder, self.params, self.encoder)

    def _judge(self, strategy: Strategy) -> Encoder:
        """The encoder, with its text side where that reads these captions; refuses a strategy that needs it to."""
        judge = self.encoder.judging(self.data.language)
        if isinstance(strategy, Magic | BestOfN) and judge.encode_texts is None:
            names = {"strategy": strategy.name, "encoder": judge.name}
            unread = say(
                "{strategy} compares captions with the picture, but {encoder} does not read the language of these "
                "captions; choose another strategy",
                **names,
            )
            raise ValueError(unread)
        return judge

    @cached_property
    def _utility(self) -> Utility:
        if "corpus" not in self.params:
            raise ValueError(
                say("mbr weighs words by the training captions; an imported checkpoint comes without them")
            )
        with chdir(self.project):
            return training_agreement(prepare_corpus(self.data).table, self.data.language)

    def token_texts(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token alone."""
        return [self.model.tokenizer.decode([token]) for token in tokens]

    @property
    def data(self) -> Data:
        """The corpus it was trained on."""
        return pick(Data, self.params)


def _needs_project(folder: Path) -> bool:
    """Whether a run's models and corpus are paths in the workbench; an imported checkpoint comes without any."""
    try:
        return "corpus" in read_json(folder / "params.json")
    except (OSError, ValueError, TypeError):
        return False  # no run: `_load` says why


def _why_no_run(folder: Path) -> str:
    if not folder.is_dir():
        beside = [run.name for run in finished_in(folder.parent)]
        return f"{folder}: there is no such folder" + (nearest(folder.name, beside) if beside else "")
    if runs := [run.name for run in finished_in(folder / "runs")]:
        return f"{folder} holds several runs; name one of {folder / 'runs'}: {', '.join(runs)}"
    return f"{folder} is not the folder of a finished run: it has no model/ or no params.json"
