"""Metrics against published values, against pycocoevalcap's own driver, and by their properties."""

import random

import numpy as np
import pandas as pd
import pytest
from published_example import GIVEN, MADE
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from clipcap_lib.metrics.reference import (
    DocumentFrequencies,
    cider_agreement,
    protocol,
    score,
    training_agreement,
    training_frequencies,
)
from clipcap_lib.metrics.tokenizers import tokenise


def test_cider_of_the_public_audio_captioning_example():
    made = {"1": "a man is speaking", "2": "rain falls"}
    references = {
        "1": ["a man speaks.", "someone speaks.", "a man is speaking while a bird is chirping in the background"],
        "2": ["rain is falling hard on a surface"],
    }
    scores = score(made, references, "ptb")
    assert scores.corpus["CIDEr-D"] == pytest.approx(0.9614, abs=1e-4)
    assert scores.images["CIDEr-D"].tolist() == pytest.approx([1.3641, 0.5587], abs=1e-4)


WORDS = [
    "a",
    "man",
    "the",
    "dog",
    "is",
    "on",
    "red",
    "car",
    ".",
    ",",
    "two",
    "!",
    "bench",
    "'s",
    "don't",
    "(",
    "park",
    ")",
    '"',
    "sitting",
    "🐕",
    "near",
    "it",
]


def sentence(rng, least=1):
    return " ".join(rng.choices(WORDS, k=rng.randint(least, 12)))


@pytest.mark.parametrize("seed", range(12))
def test_scores_equal_those_of_the_library_driver(seed):
    """Random English with punctuation, emoji, duplicate references, empty captions and, at times, a single image."""
    rng = random.Random(seed)
    images = [f"image {i}" for i in range(1 if seed == 0 else 15)]
    references = {image: [sentence(rng, 3) for _ in range(rng.randint(1, 5))] for image in images}
    references[images[0]] *= 2
    made = {image: "" if rng.random() < 0.1 else sentence(rng) for image in images}
    ours = score(made, references, "ptb", resamples=2)
    res = {image: [" ".join(tokenise([made[image]], "ptb")[0])] for image in images}
    gts = {image: [" ".join(words) for words in tokenise(references[image], "ptb")] for image in images}
    bleu, per_image = Bleu(4).compute_score(gts, res, verbose=0)
    assert ours.corpus[["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]].tolist() == pytest.approx(bleu, abs=1e-9)
    assert ours.images["BLEU-4"].tolist() == pytest.approx(per_image[3], abs=1e-9)
    assert ours.corpus["CIDEr-D"] == pytest.approx(Cider().compute_score(gts, res)[0], abs=1e-9)
    whole = {image: words for image, words in res.items() if words != [""]}  # the driver divides by zero for the others
    rouge = Rouge().compute_score({image: gts[image] for image in whole}, whole)[1]
    assert ours.images.loc[list(whole), "ROUGE-L"].tolist() == pytest.approx(list(rouge), abs=1e-9)
    assert (ours.images.loc[[image for image in images if image not in whole], "ROUGE-L"] == 0).all()


def test_intervals_hold_the_value_and_narrow_with_more_images():
    rng = random.Random(1)
    widths = []
    for count in (20, 320):
        references = {str(i): [sentence(rng, 4) for _ in range(3)] for i in range(count)}
        made = {image: texts[0] if rng.random() < 0.5 else sentence(rng) for image, texts in references.items()}
        scores = score(made, references, "ptb", resamples=300)
        low, high = scores.intervals["low"], scores.intervals["high"]
        assert (low <= scores.corpus + 1e-9).all()
        assert (scores.corpus <= high + 1e-9).all()
        widths.append((high - low)["CIDEr-D"])
    assert widths[1] < widths[0] / 2


def test_given_document_frequencies_make_a_score_independent_of_the_other_images():
    references = {"a": ["a red car", "the red car"], "b": ["two dogs on a bench"], "c": ["a man in a park"]}
    made = {"a": "a red car", "b": "a dog on a bench", "c": "a red man"}
    weights = DocumentFrequencies.of([tokenise(texts, "ptb") for texts in references.values()])
    together = score(made, references, "ptb", weights).images["CIDEr-D"]
    alone = [score({k: made[k]}, {k: references[k]}, "ptb", weights).images["CIDEr-D"].iloc[0] for k in made]
    assert together.tolist() == pytest.approx(alone)
    assert "idf of 3 other images" in protocol(references, "ptb", weights)


@pytest.mark.parametrize("tokeniser", ["jieba", "char"])
def test_chinese_scores_do_not_depend_on_spaces_and_punctuation(tokeniser):
    references = {"a": ["一只黑色的狗在草地上奔跑。"], "b": ["两个男人坐在长椅上，正在聊天"]}
    plain = score({"a": "一只狗在草地上", "b": "两个男人在聊天"}, references, tokeniser)
    spaced = score({"a": "一只 狗，在草地上。", "b": "两个男人　在聊天！"}, references, tokeniser)
    assert spaced.corpus.tolist() == pytest.approx(plain.corpus.tolist())
    assert plain.corpus["CIDEr-D"] > 0


def test_agreement_prefers_what_the_others_say():
    weights = DocumentFrequencies.of([[["a", "dog", "runs"]], [["a", "cat", "sits"]], [["two", "cars"]]])
    scores = cider_agreement(weights, "ptb")(["a dog runs", "a dog runs fast", "two cars"])
    assert np.argmax(scores) == 0
    assert np.argmin(scores) == 2


@pytest.mark.parametrize(
    ("made", "references", "message"),
    [
        ({"a": "x"}, {"a": ["x"], "b": ["y"]}, r"1 images have references but no caption: b \(caption them, or"),
        ({"a": "x", "c": "z"}, {"a": ["x"]}, r"1 captions have no reference: c \(take them out, or"),
        ({"a": "x"}, {"a": []}, "empty list of references: a"),
        ({}, {}, "nothing to score"),
    ],
)
def test_captions_and_references_of_different_images_are_refused(made, references, message):
    with pytest.raises(ValueError, match=message):
        score(made, references, "ptb")


PUBLISHED = {"BLEU-1": 0.6667, "BLEU-2": 0.4899, "BLEU-3": 0.3469, "BLEU-4": 0.0, "ROUGE-L": 0.4280, "CIDEr-D": 0.5637}


def test_the_public_two_image_example_comes_out():
    assert score(MADE, GIVEN, "ptb").corpus.to_dict() == pytest.approx(PUBLISHED, abs=1e-4)


def test_words_are_weighed_by_training_captions_alone():
    captions = pd.DataFrame({
        "image_id": ["a", "a", "b", "c"], "caption": ["一只猫", "一只狗", "一辆车", "一只猫"],
        "split": ["train", "train", "train", "test"],
    })  # fmt: skip
    frequencies = training_frequencies(captions, "char")
    assert frequencies.images == 2
    assert (frequencies.counts[("猫",)], frequencies.counts[("一",)], frequencies.counts[("草",)]) == (1, 2, 0)
    by_hand = DocumentFrequencies.of([[["一只", "猫"], ["一只", "狗"]], [["一辆车"]]])
    texts = ["一只猫", "一只狗", "一辆车"]
    assert cider_agreement(by_hand, "jieba")(texts) == training_agreement(captions, "zh")(texts)
