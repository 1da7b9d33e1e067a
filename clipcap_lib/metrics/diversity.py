"""Metrics without references: how varied captions are, of many images and of one."""

import numpy as np
import pandas as pd

from clipcap_lib.metrics.reference import DocumentFrequencies, bleu, cider, image_ngrams
from clipcap_lib.metrics.tokenizers import Tokeniser, tokenise


def diversity(captions: list[str], tokeniser: Tokeniser, training_captions: set[str] | None = None) -> pd.Series:
    """How varied captions of many images are.

    `distinct-n`: distinct n-grams over all n-grams of the corpus (compare at equal numbers of captions). `rep-n`: mean
    share of a caption's n-grams that repeat within it. `unique`: share of different captions. `novel`: share that no
    training caption equals. `vocabulary` and `length` count tokens.
    """
    words = tokenise(captions, tokeniser)
    values: dict[str, float] = {"unique": len(set(captions)) / len(captions)}
    if training_captions is not None:
        values["novel"] = sum(caption not in training_captions for caption in captions) / len(captions)
    values |= {f"distinct-{n}": _distinct([gram for row in words for gram in _ngrams(row, n)]) for n in (1, 2)}
    values |= {f"rep-{n}": float(np.mean([1 - _distinct(_ngrams(row, n)) for row in words])) for n in (1, 2)}
    values["vocabulary"] = len({word for row in words for word in row})
    values["length"] = float(np.mean([len(row) for row in words]))
    return pd.Series(values)


def set_diversity(captions: list[list[str]], tokeniser: Tokeniser, frequencies: DocumentFrequencies) -> pd.Series:
    """How varied several captions of one image are, averaged over images.

    `Div-n`: distinct n-grams of the set over its words (Shetty et al. 2017). `mBLEU-4`: mean BLEU-4 of each caption
    against the others; lower is more varied. `self-CIDEr`: −log of the largest share of an eigenvalue of √CIDEr-D
    between the captions, over log of their number (Wang & Chan 2019); 1 is most varied. Raises `ValueError` for sets of
    fewer than two.
    """
    if min(map(len, captions)) < 2:
        raise ValueError("diversity within an image needs at least two captions of each")
    sets = [tokenise(row, tokeniser) for row in captions]
    values = {f"Div-{n}": float(np.mean([_div(row, n) for row in sets])) for n in (1, 2)}
    values["mBLEU-4"] = float(np.mean([_mutual_bleu(row) for row in sets]))
    values["self-CIDEr"] = float(np.mean([_self_cider(row, frequencies) for row in sets]))
    return pd.Series(values)


def _ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _distinct(grams: list[tuple[str, ...]]) -> float:
    return len(set(grams)) / len(grams) if grams else 1.0


def _div(rows: list[list[str]], n: int) -> float:
    total = sum(map(len, rows))
    return len({gram for row in rows for gram in _ngrams(row, n)}) / total if total else 0.0


def _mutual_bleu(rows: list[list[str]]) -> float:
    others = [rows[:i] + rows[i + 1 :] for i in range(len(rows))]
    return float(bleu(image_ngrams(rows, others))[:, 3].mean())


def _self_cider(rows: list[list[str]], frequencies: DocumentFrequencies) -> float:
    size = len(rows)
    similarity = np.array([cider([row] * size, [[other] for other in rows], frequencies) for row in rows]) / 10
    values = np.linalg.eigvalsh(np.clip((similarity + similarity.T) / 2, 0, None))
    roots = np.sqrt(np.clip(values, 0, None))
    return float(-np.log(roots.max() / roots.sum()) / np.log(size)) if roots.sum() else 0.0
