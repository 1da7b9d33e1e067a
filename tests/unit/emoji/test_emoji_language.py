"""Captions of scenes read back as the scene they tell of; what is not so in one is named and marked, by hand."""

from itertools import islice

import pytest

from clipcap_lib.emoji.language import (
    Group,
    Scene,
    captions,
    read_caption,
    scene_attributes,
    score_caption,
    wrong_spans,
)
from clipcap_lib.emoji.scenes import sample_scenes
from clipcap_lib.reporting import cards

SCENE = Scene("grass", (Group("cat", 1, "big"), Group("car", 2, "small")), "left", 0)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_caption_reads_back_as_the_truth(language):
    for scene in islice(sample_scenes(7), 400):
        texts = captions(scene, language)
        assert len(set(texts)) == 5
        for text in texts:
            assert read_caption(text, language) == scene_attributes(scene), text


@pytest.mark.parametrize(
    ("text", "language", "relation"),
    [
        ("a cat and a dog in the snow, the dog to the left of the cat", "en", ("horizontal", "dog", "cat")),
        ("a cat and a dog in the snow, the cat to the left of the dog", "en", ("horizontal", "cat", "dog")),
        ("in the snow, a cat on the left and a dog on the left", "en", None),
        ("in the snow, a cat on the left and a dog at the top", "en", None),
        ("雪地里左边是一只猫，左边是一只狗", "zh", None),
        ("雪地里左边是一只猫，右边是一只狗", "zh", ("horizontal", "cat", "dog")),
    ],
)
def test_both_halves_of_a_relation_are_read(text, language, relation):
    assert read_caption(text, language).relation == relation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "草地上有一只猫，右边是两辆汽车",
            {"objects": True, "count": True, "size": None, "background": True, "relation": True, "all": True},
        ),
        ("草地上有一只猫，右边是三辆汽车", {"objects": True, "count": False, "relation": True, "all": False}),
        ("草地上有一只猫，左边是两辆汽车", {"objects": True, "count": True, "relation": False, "all": False}),
        ("沙滩上有一只狗，右边是两辆汽车", {"objects": False, "count": True, "background": False, "relation": None}),
        ("草地上有一只大猫，右边是两辆小汽车", {"size": True, "all": True}),
        ("草地上有一只大猫，右边是两辆大汽车", {"size": False, "objects": True, "count": True, "all": False}),
        ("草地上有一只小狗，右边是两辆小汽车", {"size": True, "objects": False}),
        ("一辆汽车的右边是一辆汽车，背景是草地", {"objects": False, "count": True, "size": None}),
        ("一只猫的右边是一只猫，背景是草地", {"objects": False, "count": False}),
        ("三辆汽车在一辆汽车的左边", {"count": False}),
        ("一辆汽车在三辆汽车的左边", {"count": False}),
        ("你好", {"objects": False, "count": None, "background": False, "relation": None, "all": False}),
    ],
)
def test_scores_say_which_attribute_is_wrong(text, expected):
    scores = score_caption(text, SCENE, "zh")
    assert {name: scores[name] for name in expected} == expected


@pytest.mark.parametrize("language", ["zh", "en"])
def test_nothing_is_marked_in_a_true_caption(language):
    for text in captions(SCENE, language):
        assert wrong_spans(text, SCENE, language) == []


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("草地上有一只大狗，右边是两辆小汽车", [("狗", "objects")]),
        ("草地上有三只大猫，右边是两辆小汽车", [("三", "count")]),
        ("沙滩上有一只大猫，右边是两辆小汽车", [("沙滩", "background")]),
        ("草地上有一只大猫，左边是两辆小汽车", [("左边", "relation")]),
        ("草地上有一只小猫，右边是两辆小汽车", [("小", "size")]),
        ("草地上有一只大猫，右边是两辆小汽车，一只猫", [("一", "count"), ("一", "count")]),
    ],
)
def test_the_word_that_is_not_so_is_marked(text, marked):
    spans = wrong_spans(text, SCENE, "zh")
    assert [attribute for _, _, attribute in spans] == [attribute for _, attribute in marked]
    assert all(text[start:end].startswith(word) for (start, end, _), (word, _) in zip(spans, marked, strict=True))
    verdict = score_caption(text, SCENE, "zh")
    assert {attribute for _, attribute in marked} == {name for name in verdict if verdict[name] is False} - {"all"}
    assert cards.marked(text, SCENE, "zh").count("<mark") == len(marked)
