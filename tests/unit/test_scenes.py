"""Emoji scenes: reproducible, true captions, and compositions that training never has."""

import hashlib
from itertools import islice
from pathlib import Path

import pytest

from clipcap_lib.emoji.language import Scene, captions, kinds, read_caption, scene_attributes, score_caption
from clipcap_lib.emoji.scenes import _cells, _regions, draw, is_held_out, read_scenes, sample_scenes, write_corpus

SIZES = {"train": 6, "dev": 2, "test": 2, "test_compositional": 2}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def scenes(n: int, held_out: bool = False) -> list[Scene]:
    return list(islice(sample_scenes(7, held_out), n))


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, SIZES, seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")
    assert len(read_scenes(tmp_path / "a")) == 12


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_caption_reads_back_as_the_truth(language):
    for scene in scenes(400):
        texts = captions(scene, language)
        assert len(set(texts)) == 5
        for text in texts:
            assert read_caption(text, language) == scene_attributes(scene), text


def test_held_out_compositions_are_never_trained_on():
    def compositions(scene: Scene) -> set:
        groups = {(group.kind, group.count) for group in scene.groups if group.count > 1}
        return groups | ({frozenset(group.kind for group in scene.groups)} if scene.relation else set())

    trained = set().union(*(compositions(scene) for scene in scenes(20_000)))
    assert all(compositions(scene) - trained for scene in scenes(300, held_out=True))
    assert all(is_held_out(scene) for scene in scenes(50, held_out=True))


def test_drawings_never_overlap():
    for scene in scenes(300):
        cells = [
            cell
            for group, region in zip(scene.groups, _regions(scene), strict=True)
            for cell in _cells(region, group.count)
        ]
        for i, (x, y, w, h) in enumerate(cells):
            assert w >= 42 and h >= 42  # the biggest drawing fits
            for x2, y2, w2, h2 in cells[i + 1 :]:
                assert x + w <= x2 + 1e-6 or x2 + w2 <= x + 1e-6 or y + h <= y2 + 1e-6 or y2 + h2 <= y + 1e-6


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


def test_there_are_80_to_150_drawable_kinds_with_measure_words():
    assert 80 <= len(kinds()) <= 150
    assert all(kind.measure and kind.zh and kind.plural for kind in kinds().values())
    assert len({kind.zh for kind in kinds().values()}) == len(kinds())
    assert draw(scenes(1)[0]).size == (128, 128)


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
    from clipcap_lib.emoji.language import Group

    scene = Scene("grass", (Group("cat", 1, "big"), Group("car", 2, "small")), "left", 0)
    scores = score_caption(text, scene, "zh")
    assert {name: scores[name] for name in expected} == expected
