"""Decoding strategies side by side: quality, diversity and cost on the same images, and what they say together."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from clipcap_lib.analysis.changes import in_a_row, interval_text, listed
from clipcap_lib.analysis.intervals import paired_difference
from clipcap_lib.analysis.results import Results
from clipcap_lib.decoding.decode import Caption, Constraints, decode
from clipcap_lib.decoding.strategies import Beam, Contrastive, Greedy, Sample, parse_strategy
from clipcap_lib.emoji.attributes import ENOUGH_PICTURES
from clipcap_lib.encoders import Encoder
from clipcap_lib.metrics.clip_score import clip_scores, ref_clip_scores
from clipcap_lib.metrics.diversity import diversity, set_diversity
from clipcap_lib.metrics.reference import (
    DocumentFrequencies,
    Scores,
    cider_agreement,
    score,
    training_frequencies,
)
from clipcap_lib.metrics.tokenizers import DEFAULT, Tokeniser
from clipcap_lib.model import ClipCapModel
from clipcap_lib.settings import Language
from clipcap_lib.wording import say

PASSES, SECONDS = 3, 1.0  # a strategy is timed three times, for 0.2 s are all noise; none is begun after a second
TAIL_RESAMPLES = 10_000  # ten comparisons leave half a percent to both tails of an interval


@dataclass(frozen=True)
class DecodingStudy:
    """The images all strategies caption: what the model reads of them, ids, their references, and what judges need.

    `features` are [N, D], or [N, T, D] of a grid; `embeddings` [N, D].
    """

    model: ClipCapModel
    features: Tensor
    embeddings: Tensor
    keys: list[str]
    references: dict[str, list[str]]
    language: Language
    frequencies: DocumentFrequencies
    judge: Encoder | None
    constraints: Constraints
    training_captions: frozenset[str] = frozenset()

    @classmethod
    def of(cls, results: Results, images: int, max_new_tokens: int) -> "DecodingStudy":
        """The study of the best of some runs on the first test images, with all that strategies and metrics need."""
        corpus, language = results.corpus, results.language
        keys = corpus.test_images(images)["image_id"].tolist()
        train = corpus.table.loc[corpus.table["split"] == "train", "caption"]
        model = ClipCapModel.for_decoding(results.best.folder / "model")
        return cls(
            model=model,
            features=results.features(model, images),
            embeddings=results.embeddings(images),
            keys=keys,
            references=corpus.references()[keys].to_dict(),
            language=language,
            frequencies=training_frequencies(corpus.table, DEFAULT[language]),
            judge=results.encoder.judging(language),
            constraints=Constraints(max_new_tokens=max_new_tokens),
            training_captions=frozenset(train),
        )

    @property
    def tokeniser(self) -> Tokeniser:
        return DEFAULT[self.language]

    def first(self, count: int) -> "DecodingStudy":
        """The same with the first images only."""
        keys, features, embeddings = self.keys[:count], self.features[:count], self.embeddings[:count]
        references = {key: self.references[key] for key in keys}
        return replace(self, features=features, embeddings=embeddings, keys=keys, references=references)


class StrategyResult(NamedTuple):
    """Each image's best caption; quality, diversity and cost; and CIDEr-D by image id, to compare strategies by."""

    captions: list[Caption]
    measures: pd.Series
    cider: pd.Series


def try_strategy(study: DecodingStudy, strategy: str) -> StrategyResult:
    """Caption the images, and measure the captions and what they cost.

    `forwards a token` counts forward passes of the language model over the tokens of the longest caption: 1 is one
    pass a step, whatever the batch. Seconds are the shortest of up to `PASSES` passes and include whatever the strategy
    asks of CLIP.
    """
    forwards: list[None] = []
    caption = partial(_caption, study, strategy)
    with study.model.on_step(lambda: forwards.append(None)):
        found, first = _timed(caption)
    seconds = _shortest(caption, first)
    best = [captions[0] for captions in found]
    steps = max(len(caption.log_probabilities) for captions in found for caption in captions)
    cost = {"captions/s": len(best) / seconds, "forwards a token": (1 + len(forwards)) / steps}
    scores = _scores(study, best)
    return StrategyResult(
        best, pd.concat([_quality(study, best, scores), pd.Series(cost)]).rename(strategy), scores.images["CIDEr-D"]
    )


def compare_strategies(study: DecodingStudy, strategies: Sequence[str]) -> dict[str, StrategyResult]:
    """Try each strategy on the same images; one pass is made before, for the first pays for what all share."""
    _caption(study, strategies[0])
    return {strategy: try_strategy(study, strategy) for strategy in strategies}


def caption_table(results: dict[str, StrategyResult], images: pd.DataFrame) -> pd.DataFrame:
    """The best captions of each strategy, a row an image and strategy, which stands as `run`."""
    rows = {name: [caption.text for caption in result.captions] for name, result in results.items()}
    return pd.concat([images.assign(run=name, caption=texts) for name, texts in rows.items()])


def keep_captions(output: str, captions: pd.DataFrame) -> None:
    """Write a `caption_table` into `<output>/captions.parquet`, for the report: image_id, strategy, caption."""
    kept = captions.rename(columns={"run": "strategy"})[["image_id", "strategy", "caption"]]
    kept.to_parquet(Path(output) / "captions.parquet", index=False)


def _caption(study: DecodingStudy, strategy: str) -> list[list[Caption]]:
    return decode(
        study.model, study.features, parse_strategy(strategy), study.constraints, study.keys, study.judge,
        cider_agreement(study.frequencies, study.tokeniser), batch_size=len(study.keys), judged=study.embeddings,
    )  # fmt: skip


def _timed(caption: Callable[[], list[list[Caption]]]) -> tuple[list[list[Caption]], float]:
    started = time.perf_counter()
    return caption(), time.perf_counter() - started


def _shortest(caption: Callable[[], list[list[Caption]]], first: float) -> float:
    times = [first]
    while len(times) < PASSES and sum(times) < SECONDS:
        times.append(_timed(caption)[1])
    return min(times)


def _scores(study: DecodingStudy, captions: list[Caption]) -> Scores:
    made = {key: caption.text for key, caption in zip(study.keys, captions, strict=True)}
    return score(made, study.references, study.tokeniser, study.frequencies, resamples=1)


def _quality(study: DecodingStudy, captions: list[Caption], scores: Scores) -> pd.Series:
    texts = [caption.text for caption in captions]
    quality = scores.corpus[["CIDEr-D", "BLEU-4"]]
    if study.judge and study.judge.encode_texts:
        given, judged = list(study.references.values()), (study.embeddings, study.judge, study.language)
        quality["CLIPScore"] = float(clip_scores(texts, *judged).mean())
        quality["RefCLIPScore"] = float(ref_clip_scores(texts, given, *judged).mean())
    return pd.concat([quality, diversity(texts, study.tokeniser, study.training_captions)])


def conclude(table: pd.DataFrame, cider: pd.DataFrame) -> list[str]:
    """What a table of strategies, a row of `try_strategy` each, says of the best and of contrastive search.

    The first row is what the others are measured by. `cider`: CIDEr-D by image, a column a strategy. What is clear is
    decided by intervals that hold for all comparisons together.
    """
    plain, pictures = table.iloc[0], len(cider)
    if pictures < ENOUGH_PICTURES:
        return [_too_few(pictures)]
    own = {"strategy": plain.name, "cider": plain["CIDEr-D"], "speed": plain["captions/s"]}
    if len(table) == 1:
        return [_only(pictures, own)]
    edges = _edges(plain.name, cider[table.index])
    better, worse = edges.index[edges["low"] > 0], edges.index[edges["high"] < 0]
    sentences = [_better(table, edges, better, pictures) if len(better) else _nothing_better(table, edges, pictures)]
    if len(worse):
        sentences.append(say("Clearly worse: {strategies}.", strategies=_listed(table, edges, worse)))
    winner = table["CIDEr-D"].idxmax()
    told = [name for name in table.index[1:] if name == winner or name.startswith("contrastive")]
    return [
        *sentences,
        say("{strategy} has a CIDEr-D of {cider:.2f} at {speed:.0f} captions a second.", **own),
        *[_beside(table, name, cider, edges) for name in told],
    ]


def _too_few(pictures: int) -> str:
    return say(
        "{pictures} test pictures are too few to rank strategies: at least {enough} are needed.",
        pictures=pictures,
        enough=ENOUGH_PICTURES,
    )


def _only(pictures: int, own: dict[str, Any]) -> str:
    return say(
        "On {pictures} test pictures {strategy}, the only strategy tried, has a CIDEr-D of {cider:.2f} at {speed:.0f} "
        "captions a second.",
        pictures=pictures,
        **own,
    )


def _edges(plain: str, cider: pd.DataFrame) -> pd.DataFrame:
    """The interval (low, high) of each strategy's difference from the plain one, Bonferroni's share of 5 % each."""
    others = [name for name in cider if name != plain]
    confidence = 1 - 0.05 / len(others)
    rows = {name: paired_difference(cider[plain], cider[name], confidence, TAIL_RESAMPLES)[1:] for name in others}
    return pd.DataFrame.from_dict(rows, "index", columns=["low", "high"])


def _better(table: pd.DataFrame, edges: pd.DataFrame, better: pd.Index, pictures: int) -> str:
    return say(
        "Clearly better than {plain} on {pictures} test pictures: {strategies}; intervals are {level}.",
        plain=table.index[0],
        pictures=pictures,
        strategies=_listed(table, edges, better),
        level=_level(edges),
    )


def _nothing_better(table: pd.DataFrame, edges: pd.DataFrame, pictures: int) -> str:
    plain, winner = table.index[0], table["CIDEr-D"].idxmax()
    parts = {"plain": plain, "pictures": pictures, "cider": table.at[winner, "CIDEr-D"]}
    if winner == plain:
        return say(
            "Nothing is clearly better than {plain} on {pictures} test pictures: it has the highest CIDEr-D itself, "
            "{cider:.2f}.",
            **parts,
        )
    low, high = edges.loc[winner]
    return say(
        "Nothing is clearly better than {plain} on {pictures} test pictures: {winner} has the highest CIDEr-D, "
        "{cider:.2f} against {other:.2f}, but the difference of {difference:+z.2f} may be chance (interval "
        "{low:+z.2f} to {high:+z.2f}, {level}).",
        **parts,
        winner=winner,
        other=table.at[plain, "CIDEr-D"],
        difference=_more(table, winner),
        low=low,
        high=high,
        level=_level(edges),
    )


def _listed(table: pd.DataFrame, edges: pd.DataFrame, names: pd.Index) -> str:
    """Strategies with their CIDEr-D against the first one's, the highest first."""
    order = table.loc[names, "CIDEr-D"].sort_values(ascending=False, kind="stable").index
    return listed([_against(table, edges, name) for name in order])


def _against(table: pd.DataFrame, edges: pd.DataFrame, name: str) -> str:
    return say(
        "{strategy}, CIDEr-D {cider:.2f} against {other:.2f} ({difference:+z.2f}, interval {low:+z.2f} to "
        "{high:+z.2f})",
        strategy=name,
        cider=table.at[name, "CIDEr-D"],
        other=table["CIDEr-D"].iloc[0],
        difference=_more(table, name),
        low=edges.at[name, "low"],
        high=edges.at[name, "high"],
    )


def _more(table: pd.DataFrame, name: str) -> float:
    """CIDEr-D above the first strategy's, of the rounded numbers: those of a sentence add up."""
    return round(table.at[name, "CIDEr-D"], 2) - round(table["CIDEr-D"].iloc[0], 2)


def _level(edges: pd.DataFrame) -> str:
    if len(edges) == 1:
        return "95 %"
    return say("95 % for all {count} comparisons together, Bonferroni", count=len(edges))


def _beside(table: pd.DataFrame, name: str, cider: pd.DataFrame, edges: pd.DataFrame) -> str:
    """Against the plain strategy, image by image, with what else changes."""
    row, plain = table.loc[name], table.iloc[0]
    _, low, high = paired_difference(cider[plain.name], cider[name])
    changed = [say("distinct-2 {points:+z.1f} points", points=100 * (row["distinct-2"] - plain["distinct-2"]))]
    if "all" in row:
        changed.append(say("wholly right captions {points:+z.1f} points", points=100 * (row["all"] - plain["all"])))
    chance = _chance(low, high, edges, name)
    interval = [interval_text((low, high), form="+z.2f"), *([chance] if chance else [])]
    return say(
        "{strategy} against {plain}, picture by picture: CIDEr-D {difference:+z.2f} ({interval}), {changed}, at "
        "{speed:.2f} of its speed.",
        strategy=name,
        plain=plain.name,
        difference=_more(table, name),
        interval=in_a_row(interval),
        changed=in_a_row(changed),
        speed=row["captions/s"] / plain["captions/s"],
    )


def _chance(low: float, high: float, edges: pd.DataFrame, name: str) -> str | None:
    """What there is to doubt about a difference."""
    if low <= 0 <= high:
        return say("so it may be chance")
    together = edges.loc[name]
    if together["low"] <= 0 <= together["high"]:
        return say("not clear among {count} comparisons", count=len(edges))
    return None


def contrastive_grid(
    study: DecodingStudy, ks: Sequence[int], alphas: Sequence[float], metrics: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Metrics of quality and diversity for every k (rows) and α (columns) of contrastive search."""

    def quality(k: int, alpha: float) -> pd.Series:
        best = [row[0] for row in _caption(study, f"contrastive k:{k} alpha:{alpha}")]
        return _quality(study, best, _scores(study, best))

    tried = {(k, alpha): quality(k, alpha) for k in ks for alpha in alphas}
    grids = {metric: [[tried[k, alpha][metric] for alpha in alphas] for k in ks] for metric in metrics}
    return {
        metric: pd.DataFrame(rows, index=pd.Index(ks, name="k"), columns=pd.Index(alphas, name="α"))
        for metric, rows in grids.items()
    }


def diversity_of_sets(study: DecodingStudy, strategies: Sequence[str], captions: int = 5) -> pd.DataFrame:
    """How varied several captions of an image are: rows are strategies that write several, but `magic`."""
    rows = {}
    for name in strategies:
        strategy = parse_strategy(name)
        if isinstance(strategy, Sample | Greedy | Contrastive) or (
            isinstance(strategy, Beam) and strategy.width >= captions
        ):
            several = strategy.model_copy(update={"n": captions})
            found = decode(study.model, study.features, several, study.constraints, study.keys)
            texts = [[caption.text for caption in row] for row in found]
            rows[name] = set_diversity(texts, study.tokeniser, study.frequencies)
    return pd.DataFrame(rows).T
