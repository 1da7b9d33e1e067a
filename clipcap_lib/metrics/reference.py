"""How good captions are against references, each number with the protocol it was computed under."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs
from pycocoevalcap.rouge.rouge import Rouge

from clipcap_lib.metrics.tokenizers import DEFAULT, Tokeniser, tokenise
from clipcap_lib.settings import Language

REFERENCE_METRICS = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"]
RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """Corpus values, intervals (2.5 % and 97.5 %, images drawn again), per-image scores, and the protocol.

    `not_run` says of each metric that was asked for and has no value why it has none.
    """

    corpus: pd.Series
    intervals: pd.DataFrame
    images: pd.DataFrame
    protocol: str
    not_run: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many of `images` images' references each n-gram occurs: what CIDEr-D weighs words by."""

    counts: Counter
    images: int

    @classmethod
    def of(cls, references: Sequence[Sequence[list[str]]]) -> "DocumentFrequencies":
        """From the tokenised references of each image."""
        counts: Counter = Counter()
        for image in references:
            counts.update({ngram for cooked in cook_refs([" ".join(words) for words in image]) for ngram in cooked})
        return cls(counts, len(references))


class _FixedCider(CiderScorer):
    """pycocoevalcap's CIDEr-D with given document frequencies, so that one image or a resample keeps its weights."""

    def __init__(self, frequencies: DocumentFrequencies) -> None:
        super().__init__()
        self.document_frequency = frequencies.counts
        self.fixed_length = math.log(frequencies.images)

    @property
    def ref_len(self) -> float:
        return self.fixed_length

    @ref_len.setter
    def ref_len(self, _: float | None) -> None:
        pass  # the library sets it to the number of images scored


def cider(
    candidates: list[list[str]], references: list[list[list[str]]], frequencies: DocumentFrequencies | None = None
) -> np.ndarray:
    """CIDEr-D of each image [images] (Vedantam et al. 2015), times 10; by default with their own frequencies."""
    scorer = _FixedCider(frequencies or DocumentFrequencies.of(references))
    for words, image in zip(candidates, references, strict=True):
        scorer += (" ".join(words), [" ".join(reference) for reference in image])
    return np.array(scorer.compute_cider())


def score(
    candidates: dict[str, str], references: dict[str, list[str]], tokeniser: Tokeniser,
    frequencies: DocumentFrequencies | None = None, resamples: int = RESAMPLES, seed: int = 0,
) -> Scores:  # fmt: skip
    """Score one caption an image against its references.

    CIDEr-D weighs words by `frequencies`, or by the references given. Intervals draw images again with these weights
    fixed. Raises `ValueError`, with counts and examples, where captions and references are not of the same images.
    """
    check_pairs(candidates, references)
    images = list(references)
    made = tokenise([candidates[image] for image in images], tokeniser)
    given = tokenise_references(references, tokeniser)
    ngrams = image_ngrams(made, given)
    rouge = np.array([_rouge(words, image) for words, image in zip(made, given, strict=True)])
    table = pd.DataFrame({"ROUGE-L": rouge, "CIDEr-D": cider(made, given, frequencies)}, index=images)
    for n, column in enumerate(bleu(ngrams).T, start=1):
        table[f"BLEU-{n}"] = column
    everything = np.ones((1, len(images)))
    drawn_again = bootstrap_draws(len(images), resamples, seed)
    corpus, resampled = (_corpus(weights, ngrams, table) for weights in (everything, drawn_again))
    edges = resampled.quantile([0.025, 0.975]).T.set_axis(["low", "high"], axis=1)
    return Scores(corpus.iloc[0], edges, table[REFERENCE_METRICS], protocol(references, tokeniser, frequencies))


def bootstrap_draws(images: int, resamples: int, seed: int) -> np.ndarray:
    """How often each image is drawn in each resample of a bootstrap [resamples, images]."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)


def protocol(references: dict[str, list[str]], tokeniser: Tokeniser, frequencies: DocumentFrequencies | None = None,
             say: Callable[..., str] = str.format) -> str:  # fmt: skip
    """What must be equal before two numbers may be compared; in English, or as `wording.say` says it to a reader."""
    sizes = sorted({len(texts) for texts in references.values()})
    each = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"
    source = say("idf of {n:,} other images", n=frequencies.images) if frequencies else say("idf of these references")
    numbers = {"images": len(references), "each": each, "tokeniser": tokeniser, "source": source}
    return say("{images:,} images × {each} references, {tokeniser} tokens, {source}", **numbers)


def check_pairs(candidates: dict[str, str], references: dict[str, list[str]]) -> None:
    """Raise `ValueError` unless every image has one caption and at least one reference."""
    made, given = candidates.keys(), references.keys()
    empty = {image for image, texts in references.items() if not texts}
    problems = (
        (given - made, "images have references but no caption", "caption them, or take their references out"),
        (made - given, "captions have no reference", "take them out, or give both files the same ids"),
        (empty, "images have an empty list of references", "give them one"),
    )
    found = [f"{len(ids):,} {what}: {', '.join(sorted(ids)[:3])} ({remedy})" for ids, what, remedy in problems if ids]
    if found or not references:
        raise ValueError("; ".join(found) or "there is nothing to score")


def tokenise_references(references: dict[str, list[str]], tokeniser: Tokeniser) -> list[list[list[str]]]:
    """Words of every reference of every image."""
    flat = iter(tokenise([text for texts in references.values() for text in texts], tokeniser))
    return [[next(flat) for _ in texts] for texts in references.values()]


def _rouge(words: list[str], image: list[list[str]]) -> float:
    # The library divides by zero for an empty caption; sharing nothing is 0.
    references = [" ".join(reference) for reference in image if reference]
    return float(Rouge().calc_score([" ".join(words)], references)) if words and references else 0.0


def image_ngrams(made: list[list[str]], given: list[list[list[str]]]) -> np.ndarray:
    """Per image [images, 10]: caption length, length of the closest reference, n-grams guessed 1–4 and right 1–4."""
    rows = []
    for words, image in zip(made, given, strict=True):
        parts = BleuScorer(" ".join(words), [" ".join(reference) for reference in image]).ctest[0]
        closest = min((abs(length - parts["testlen"]), length) for length in parts["reflen"])[1]
        rows.append([parts["testlen"], closest, *parts["guess"], *parts["correct"]])
    return np.array(rows, dtype=float)


def bleu(parts: np.ndarray) -> np.ndarray:
    """BLEU-1 … BLEU-4 [rows, 4] of summed parts [rows, 10] (Papineni et al. 2002), smoothed as pycocoevalcap does."""
    length, closest, guessed, right = parts[:, 0], parts[:, 1], parts[:, 2:6], parts[:, 6:]
    precision = ((right + 1e-15) / (guessed + 1e-9)).cumprod(1) ** (1 / np.arange(1, 5))
    ratio = (length + 1e-15) / (closest + 1e-9)
    with np.errstate(over="ignore", under="ignore"):
        return precision * np.exp(np.minimum(0, 1 - 1 / ratio))[:, None]


def _corpus(weights: np.ndarray, ngrams: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Corpus values for each row of image weights [draws, images]."""
    values = pd.DataFrame(bleu(weights @ ngrams), columns=REFERENCE_METRICS[:4])
    means = weights @ table[["ROUGE-L", "CIDEr-D"]].to_numpy() / weights.sum(1, keepdims=True)
    return values.assign(**{"ROUGE-L": means[:, 0], "CIDEr-D": means[:, 1]})


def cider_agreement(frequencies: DocumentFrequencies, tokeniser: Tokeniser) -> Callable[[list[str]], list[float]]:
    """The utility of minimum Bayes risk: CIDEr-D of each caption with all the others as references."""

    def utility(texts: list[str]) -> list[float]:
        words = tokenise(texts, tokeniser)
        others = [words[:i] + words[i + 1 :] for i in range(len(words))]
        return cider(words, others, frequencies).tolist()

    return utility


def training_frequencies(captions: pd.DataFrame, tokeniser: Tokeniser) -> DocumentFrequencies:
    """Document frequencies of the training references; `captions` has image_id, caption and split."""
    train = captions[captions["split"] == "train"]
    words = pd.Series(tokenise(train["caption"].tolist(), tokeniser), index=train["image_id"].to_numpy())
    return DocumentFrequencies.of(words.groupby(level=0, sort=False).agg(list).tolist())


def training_agreement(captions: pd.DataFrame, language: Language) -> Callable[[list[str]], list[float]]:
    """Agreement in CIDEr-D for minimum Bayes risk; the training captions, which weigh the words, are counted once."""
    tokeniser = DEFAULT[language]
    frequencies = cache(lambda: training_frequencies(captions, tokeniser))  # not before a caption asks
    return lambda texts: cider_agreement(frequencies(), tokeniser)(texts)
