"""The bundled tiny language models: what they read, how they cut it up, and that what is saved is what was trained."""

import math
import random
import re
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from clipcap_lib.emoji.language import Group, Scene, kinds, read_caption, scene_attributes
from clipcap_lib.emoji.scenes import is_held_out, sample_scenes
from clipcap_lib.settings import Language
from clipcap_lib.tiny import text as tiny_text
from clipcap_lib.tiny.gpt2 import (
    SHAPES,
    TrainState,
    broad_text,
    build_tokenizer,
    end_token_id,
    perplexity,
    save,
    train_gpt2,
)

LANGUAGES: tuple[Language, ...] = ("zh", "en")
Trained = tuple[GPT2LMHeadModel, PreTrainedTokenizerBase]


def texts(language: Language, seed: int, n: int) -> list[str]:
    return list(islice(broad_text(language, seed), n))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=LANGUAGES)
def trained(request: pytest.FixtureRequest) -> tuple[Trained, list[TrainState]]:
    states: list[TrainState] = []
    small = {"layers": 1, "width": 32, "heads": 2}
    made = train_gpt2(
        request.param, 30, 8, 1e-2, 0, **small, every=10, on_state=lambda state, model: states.append(state)
    )
    return made, states


# --- text ----------------------------------------------------------------------------------------------------------


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


# --- tokenizers ----------------------------------------------------------------------------------------------------


def test_chinese_goes_by_character_and_knows_every_one() -> None:
    tokenizer = build_tokenizer("zh")
    assert len(tokenizer) <= 2500
    ids = tokenizer(texts("zh", 5, 8000), add_special_tokens=False)["input_ids"]
    assert not [row for row in ids if tokenizer.unk_token_id in row]
    assert tokenizer.tokenize("两只猫和DVD。") == ["两", "只", "猫", "和", "d", "##v", "##d", "。"]
    assert tokenizer.unk_token_id not in tokenizer("".join(tiny_text.chinese_characters()))["input_ids"]


def test_english_comes_back_as_it_was() -> None:
    tokenizer = build_tokenizer("en")
    assert len(tokenizer) == 2000
    assert tokenizer.get_vocab() == build_tokenizer("en").get_vocab()
    for text in [*texts("en", 5, 500), "Ünknown wörds 猫"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


# --- models --------------------------------------------------------------------------------------------------------


def test_thirty_steps_lower_the_loss(trained: tuple[Trained, list[TrainState]]) -> None:
    (model, tokenizer), states = trained
    assert [state.step for state in states] == [10, 20, 30]
    assert states[-1].loss < states[0].loss - 0.5
    assert not model.training
    assert model.config.eos_token_id == end_token_id(tokenizer)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (train_gpt2("zh", 2, 2, 1e-3, seed, 1, 32, 2)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    assert not torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


def test_perplexity_is_that_of_a_token_by_token_count(trained: tuple[Trained, list[TrainState]]) -> None:
    (model, tokenizer), _ = trained
    language: Language = "zh" if tokenizer.sep_token else "en"
    sample, total, n = texts(language, 6, 20), 0.0, 0
    for text in sample:
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], end_token_id(tokenizer)]
        for i in range(1, len(ids)):
            logits = model(input_ids=torch.tensor([ids[:i]])).logits[0, -1]
            total, n = total - logits.log_softmax(-1)[ids[i]].item(), n + 1
    assert perplexity(model, tokenizer, sample, batch_size=7) == pytest.approx(math.exp(total / n), rel=1e-4)


def test_perplexity_says_what_it_cannot_read(trained: tuple[Trained, list[TrainState]]) -> None:
    (model, tokenizer), _ = trained
    for bad in ([], [""], ["cat " * 200]):
        with pytest.raises(ValueError, match="1 to 127 tokens"):
            perplexity(model, tokenizer, bad)


def test_what_is_saved_is_what_was_trained(trained: tuple[Trained, list[TrainState]], tmp_path: Path) -> None:
    (model, tokenizer), _ = trained
    save(model, tokenizer, tmp_path)
    assert model.dtype == torch.float32
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float16
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    ids = torch.randint(len(tokenizer), (2, 20))
    torch.testing.assert_close(loaded.float()(ids).logits, model(ids).logits, atol=1e-2, rtol=1e-2)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(tokenizer)
    assert again("一只 cat 10")["input_ids"] == tokenizer("一只 cat 10")["input_ids"]


@pytest.mark.parametrize(("language", "megabytes"), [("zh", 6.5), ("en", 4.0)])
def test_the_bundled_size_fits(language: Language, megabytes: float, tmp_path: Path) -> None:
    _, width, heads = SHAPES[language]
    assert width % 8 == 0 and width % heads == 0 and width // heads >= 24
    save(*train_gpt2(language, 1, 1, 1e-3, 0), tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= megabytes * 1e6
