"""The bundled tiny language models: how they cut text up, and that what is saved is what was trained."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

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
