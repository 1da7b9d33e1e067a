"""Metrics against published values, against pycocoevalcap's own driver, and by their properties."""

import random
import shutil

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from clipcap_lib.metrics.diversity import diversity, set_diversity
from clipcap_lib.metrics.reference import DocumentFrequencies, cider_agreement, protocol, score
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


def test_chinese_tokens():
    assert tokenise(["Ｔ恤 上，有 3 只猫。"], "char") == [["t", "恤", "上", "有", "3", "只", "猫"]]
    assert "".join(tokenise(["一只黑色的狗"], "jieba")[0]) == "一只黑色的狗"
    assert len(tokenise(["一只黑色的狗"], "jieba")[0]) < 6


ENGLISH = [
    "A man's dog doesn't bark.", "Two people (a couple) sit, talking; it's 5.30 p.m.", 'She said "hello" to them!',
    "A red-and-white bus... near a well-known cafe", "They can't, won't, shouldn't gonna go", "1,000 birds & a plane",
    "A man in a suit. He walks on the street.", "black/white cat -- looking up", "O'Neill's 1980's car",
    "Mr. Smith vs. the U.S. team", "A 'stop' sign – at “St. Louis”", '"A dog." it says',
]  # fmt: skip


def test_english_tokens_are_those_of_the_coco_evaluation():
    assert tokenise(ENGLISH[:2], "ptb") == [
        ["a", "man", "'s", "dog", "does", "n't", "bark"],
        ["two", "people", "-lrb-", "a", "couple", "-rrb-", "sit", "talking", "it", "'s", "5.30", "p.m."],
    ]


@pytest.mark.skipif(not shutil.which("java"), reason="the tokeniser to compare with needs Java")
def test_english_tokens_equal_the_java_ones():
    assert tokenise(ENGLISH, "ptb") == tokenise(ENGLISH, "ptb-java")


def test_diversity_counts():
    values = diversity(["a b a b", "a b", "a b"], "ptb", {"a b"})
    assert values["unique"] == pytest.approx(2 / 3)
    assert values["novel"] == pytest.approx(1 / 3)
    assert values["distinct-1"] == pytest.approx(2 / 8)
    assert values["distinct-2"] == pytest.approx(2 / 5)
    assert values["rep-1"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert (values["vocabulary"], values["length"]) == (2, pytest.approx(8 / 3))


def test_sets_of_equal_captions_have_no_diversity_and_different_ones_much():
    weights = DocumentFrequencies.of([[["a", "red", "car"]], [["two", "dogs"]], [["old", "park"]], [["sea", "wind"]]])
    same = set_diversity([["a red car here now"] * 4], "ptb", weights)
    words = [["a red car here", "two dogs run fast", "old park at noon", "sea wind blows cold"]]
    varied = set_diversity(words, "ptb", weights)
    assert same["self-CIDEr"] == pytest.approx(0, abs=1e-6)
    assert same["mBLEU-4"] == pytest.approx(1, abs=1e-6)
    assert varied["self-CIDEr"] == pytest.approx(1, abs=1e-6)
    assert varied["Div-1"] == 1.0
    with pytest.raises(ValueError, match="at least two"):
        set_diversity([["one"]], "ptb", weights)


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
