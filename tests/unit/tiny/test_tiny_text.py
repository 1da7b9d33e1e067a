"""The text that tiny language models read: short, whole, varied, true where it tells of scenes, nothing held out."""

import math
import random
import re
from itertools import combinations, islice

import pytest

from clipcap_lib.emoji.language import Group, Scene, kinds, read_caption, scene_attributes
from clipcap_lib.emoji.scenes import is_held_out, sample_scenes
from clipcap_lib.settings import Language
from clipcap_lib.tiny import text as tiny_text

LANGUAGES: tuple[Language, ...] = ("zh", "en")


def texts(language: Language, seed: int, n: int) -> list[str]:
    return list(islice(tiny_text.broad_text(language, seed), n))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_seed_gives_one_stream(language: Language) -> None:
    assert texts(language, 1, 300) == texts(language, 1, 300)
    assert texts(language, 1, 300) != texts(language, 2, 300)


@pytest.mark.parametrize(("language", "limit"), [("zh", 80), ("en", 64)])
def test_texts_are_short_whole_and_varied(language: Language, limit: int) -> None:
    sample = texts(language, 3, 5000)
    sizes = [len(text) if language == "zh" else len(text.split()) for text in sample]
    assert sum(size <= limit for size in sizes) > 0.99 * len(sample)
    assert not [text for text in sample if re.search(r"[{}]|  |^\s|\s$|^$", text)]
    assert len(set(sample)) > 0.85 * len(sample)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_retelling_is_of_one_scene(language: Language) -> None:
    rng, separator = random.Random(0), "。" if language == "zh" else "; "
    for scene in islice(sample_scenes(5), 50):
        told = tiny_text._retelling(scene, language, rng).split(separator)
        assert len(set(told)) == len(told) >= 2
        assert all(read_caption(text, language) == scene_attributes(scene) for text in told)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_can_be_filled(language: Language) -> None:
    sections = tiny_text.TEMPLATES[language].items()
    templates = [(section, line) for section, lines in sections for line in lines.strip().splitlines()]
    assert len(set(templates)) >= 150
    assert set(tiny_text.SHARES) == {"caption", "retelling", *tiny_text.TEMPLATES[language]}
    assert math.isclose(sum(tiny_text.SHARES.values()), 1)
    rng = random.Random(0)
    for section, template in templates:
        facts = tiny_text.FACTS.get(section, lambda rng, language: {})
        assert "{" not in tiny_text._fill(template, facts(rng, language), language, rng)


def test_every_kind_of_the_corpus_is_a_noun() -> None:
    named = {noun.kind for group in tiny_text.nouns().values() for noun in group}
    assert set(kinds()) <= named


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_names_a_held_out_composition(language: Language) -> None:
    read = 0
    for text in texts(language, 4, 6000):
        for told in re.split("。|; ", text):  # several of one scene may stand side by side
            for name, count in read_caption(told, language).counts.items():
                assert not is_held_out(Scene("grass", (Group(name, count, "big"),), None, 0)), text
        kinds_named = read_caption(text, language).counts
        for a, b in combinations(sorted(kinds_named), 2):
            assert not is_held_out(Scene("grass", (Group(a, 1, "big"), Group(b, 1, "big")), "left", 0)), text
        read += len(kinds_named) == 2
    assert read > 1000


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_kind_is_counted_as_only_held_out_scenes_do(language: Language) -> None:
    rng, counted = random.Random(0), 0
    for noun in tiny_text.nouns()["animal"] * 20:
        counts = read_caption(tiny_text._inflect(noun, "n", language, rng), language).counts
        for name, count in counts.items():
            assert not is_held_out(Scene("grass", (Group(name, count, "big"),), None, 0))
            counted += count > 1
    assert counted > 100


def test_a_held_out_pair_is_noticed_wherever_it_stands() -> None:
    apart = [Scene("grass", (Group("cat", 1, "big"), Group(name, 1, "big")), "left", 0) for name in kinds()]
    name = next(scene.groups[1].kind for scene in apart if is_held_out(scene))
    assert tiny_text.names_held_out_pair(f"cats like {kinds()[name].plural}", "en")
    assert tiny_text.names_held_out_pair(f"猫喜欢{kinds()[name].zh}", "zh")
    assert not tiny_text.names_held_out_pair("two cats", "en")


@pytest.mark.parametrize(("n", "zh", "en"), [(0, "零", "zero"), (15, "十五", "fifteen"), (40, "四十", "forty")])
def test_numbers_in_words(n: int, zh: str, en: str) -> None:
    assert (tiny_text.number_word(n, "zh"), tiny_text.number_word(n, "en")) == (zh, en)


def test_sums_are_right() -> None:
    value = {tiny_text.number_word(n, "zh"): n for n in range(100)}
    rng = random.Random(0)
    for sentence in (tiny_text._other_text("sum", "zh", rng) for _ in range(100)):
        if found := re.fullmatch("(.+)加(.+)等于(.+)。", sentence):
            x, y, z = (value[word] for word in found.groups())
            assert x + y == z
