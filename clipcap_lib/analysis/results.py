"""The captions of finished runs of one corpus, read once for every table and figure about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from torch import Tensor

from clipcap_lib.analysis.intervals import interval_table
from clipcap_lib.corpus.corpus import PreparedCorpus, load_corpus
from clipcap_lib.corpus.features import corpus_features
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import parse_strategy
from clipcap_lib.encoders import Encoder, FeatureKind, load_encoder
from clipcap_lib.metrics.reference import DocumentFrequencies, cider_agreement, score, training_frequencies
from clipcap_lib.metrics.tokenizers import DEFAULT, Tokeniser
from clipcap_lib.model import ClipCapModel
from clipcap_lib.runs import Run
from clipcap_lib.settings import Language


@dataclass(frozen=True)
class Results:
    """Finished runs of one corpus; `best` is the one with the lowest dev loss."""

    runs: list[Run]

    @cached_property
    def corpus(self) -> PreparedCorpus:
        return load_corpus(self.runs[0].params)

    @property
    def language(self) -> Language:
        return self.runs[0].params["language"]

    @property
    def best(self) -> Run:
        return min(self.runs, key=lambda run: run.summary["best_dev_loss"])

    @property
    def same_seed(self) -> list[Run]:
        """The runs with the seed of the best one, so that each mapping and tuning stands once."""
        return [run for run in self.runs if run.params["seed"] == self.best.params["seed"]]

    @property
    def captions(self) -> pd.DataFrame:
        """The captions of all runs, a row each, with the run's label and seed."""
        return pd.concat([run.captions.assign(run=run.label, seed=run.params["seed"]) for run in self.runs])

    @cached_property
    def protocols(self) -> dict[Tokeniser, DocumentFrequencies]:
        """The tokenisers to score with, each with the document frequencies of the training captions."""
        own = DEFAULT[self.language]
        tokenisers = [own, "char"] if self.language == "zh" else [own]
        return {tokeniser: training_frequencies(self.corpus.table, tokeniser) for tokeniser in tokenisers}

    @cached_property
    def encoder(self) -> Encoder:
        return load_encoder(self.runs[0].params["encoder"])

    @cached_property
    def models(self) -> dict[str, ClipCapModel]:
        """The captioners of `same_seed` by the run's name."""
        return {run.name: ClipCapModel.for_decoding(run.folder / "model") for run in self.same_seed}

    def embeddings(self, images: int) -> Tensor:
        """The embeddings [images, D] of the first test images."""
        return self._features(images, "pooled")

    def features(self, model: ClipCapModel, images: int) -> Tensor:
        """What a model reads of the first test images: embeddings [images, D], or grids [images, T, D]."""
        return self._features(images, model.config.features)

    def _features(self, images: int, kind: FeatureKind) -> Tensor:
        return corpus_features(self.corpus, self.encoder, self.corpus.test_images(images), kind).tensor()

    def against_references(self) -> pd.DataFrame:
        """Metrics with 95 % intervals of what each run wrote for all test images, under each protocol."""
        texts = {run.name: of_test(run).to_dict() for run in self.runs}
        return interval_table(texts, self._references(next(iter(texts.values()))), self.protocols)

    def decoded(self, decoders: Sequence[str], images: int, max_new_tokens: int) -> pd.DataFrame:
        """The same for the first test images, a row a run of `same_seed` and decoder."""
        keys, texts = self.corpus.test_images(images)["image_id"].tolist(), {}
        own = DEFAULT[self.language]
        judge, utility = self.encoder.judging(self.language), cider_agreement(self.protocols[own], own)
        limit, judged = Constraints(max_new_tokens=max_new_tokens), self.embeddings(images)
        for name, model in self.models.items():
            features = self.features(model, images)
            for decoder in decoders:
                strategy = parse_strategy(decoder)
                found = decode(model, features, strategy, limit, keys, judge, utility, judged=judged)
                texts[f"{name}, {decoder}"] = {key: row[0].text for key, row in zip(keys, found, strict=True)}
        return interval_table(texts, self._references(keys), {own: self.protocols[own]})

    def ranked(self) -> pd.Series:
        """CIDEr-D of the best run's caption of each test image, lowest first, by image id."""
        own, texts = DEFAULT[self.language], of_test(self.best).to_dict()
        return score(texts, self._references(texts), own, self.protocols[own]).images["CIDEr-D"].sort_values()

    def _references(self, images: Sequence[str] | dict[str, str]) -> dict[str, list[str]]:
        return self.corpus.references()[list(images)].to_dict()


def of_test(run: Run) -> pd.Series:
    """A run's captions of test images by image id."""
    return run.captions[run.captions["split"] == "test"].set_index("image_id")["caption"]
