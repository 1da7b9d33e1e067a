"""Every strategy alone and in batches, on every device, in any precision, against `generate` or against itself."""

import copy
import math

import pytest
import torch
from oracles import (
    FEATURES,
    KEYS,
    STOP,
    STOPS,
    STRATEGIES,
    TWELVE,
    VOCABULARY,
    Judge,
    Letters,
    agreement,
    captioner,
    families,
    generate,
    tokens,
    until_stop,
)
from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram, WordPiece
from transformers import PreTrainedTokenizerFast

from clipcap_lib.decoding.decode import Constraints, decode, to_text
from clipcap_lib.decoding.strategies import Beam, BestOfN, Contrastive, Greedy, Magic, MinimumBayesRisk, describe
from clipcap_lib.model import ClipCapConfig, ClipCapModel


@torch.inference_mode()
def test_the_bundled_language_models_decode_as_generate_does(project):
    """Trained weights: the tiny GPT-2 of either language behind a random mapping network."""
    for language in ("zh", "en"):
        torch.manual_seed(2)
        config = ClipCapConfig(
            mapping="mlp", tuning="frozen", encoder="none", clip_size=16,
            language_model=str(project / "data" / "models" / f"tiny-gpt2-{language}"),
        )  # fmt: skip
        model = ClipCapModel.build(config).eval()
        constraints = Constraints(max_new_tokens=15, banned_tokens=())
        options = {"max_new_tokens": 15, "eos_token_id": list(model.stop_tokens), "pad_token_id": 0, "do_sample": False}
        for strategy, beams in ((Greedy(), 1), (Beam(width=3), 3), (Beam(), 5)):
            ours = tokens(decode(model, FEATURES[:8], strategy, constraints))
            prefix = model.prefix(FEATURES[:8])
            theirs = model.language_model.generate(inputs_embeds=prefix, num_beams=beams, **options)
            assert ours == [until_stop(row.tolist(), model.stop_tokens) for row in theirs]


@families
@torch.inference_mode()
def test_adapters_are_decoded_as_generate_does(family):
    plain, random = captioner(family), torch.Generator().manual_seed(5)
    config = plain.config.model_copy(update={"tuning": "lora"})
    with torch.inference_mode(False):
        model = ClipCapModel(config, copy.deepcopy(plain.language_model), Letters()).eval()
        model.mapper = plain.mapper
        for name, weight in model.trainable().items():
            if "lora_B" in name:  # zero before training
                weight.data = torch.randn(weight.shape, generator=random) / 10
    for strategy, options in ((Greedy(), {}), (Beam(width=3), {"num_beams": 3})):
        ours = tokens(decode(model, FEATURES[:8], strategy, TWELVE))
        assert ours == generate(model, FEATURES[:8], do_sample=False, **options)
        assert ours != tokens(decode(plain, FEATURES[:8], strategy, TWELVE)), "the adapters should matter"


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_batch_equals_its_rows_alone(family, strategy):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    together = decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers)
    parts = decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers, batch_size=5)
    alone = [decode(model, FEATURES[i : i + 1], strategy, TWELVE, [key], **helpers)[0] for i, key in enumerate(KEYS)]
    assert tokens(together) == tokens(parts) == tokens(alone)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
@pytest.mark.parametrize("images", [0, 1])
def test_no_image_and_a_single_token(strategy, images):
    one = Constraints(max_new_tokens=1, stop_tokens=())
    helpers = {"judge": Judge, "utility": agreement}
    found = decode(captioner("gpt2"), FEATURES[:images], strategy, one, **helpers)
    assert len(found) == images
    assert all(len(caption.tokens) == 1 for captions in found for caption in captions)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_a_model_in_training_decodes_without_dropout_and_goes_on_training(strategy):
    model, helpers = captioner("gpt2"), {"judge": Judge, "utility": agreement}
    training = copy.deepcopy(model).train()
    assert training.language_model.config.resid_pdrop > 0
    found = decode(training, FEATURES[:4], strategy, TWELVE, **helpers)
    assert tokens(found) == tokens(decode(model, FEATURES[:4], strategy, TWELVE, **helpers))
    assert training.training
    assert training.language_model.training


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
def test_every_strategy_works_in_bfloat16(family, strategy, device):
    """Log-probabilities of what was written stay near those that the float32 model gives the same tokens."""
    model, half = captioner(family), copy.deepcopy(captioner(family)).to(device, torch.bfloat16)
    captions = decode(half, FEATURES[:4], strategy, TWELVE, judge=Judge, utility=agreement)
    for feature, row in zip(FEATURES, captions, strict=False):
        for caption in row:
            ids = torch.tensor(caption.tokens, dtype=torch.long)
            words = model.language_model.get_input_embeddings()(ids)[None]
            with torch.inference_mode():
                inputs = torch.cat([model.prefix(feature[None]), words], 1)
                own = model.language_model(inputs_embeds=inputs).logits[0, 3:].log_softmax(-1)
            ours, expected = torch.tensor(caption.log_probabilities[: len(ids)]), own[torch.arange(len(ids)), ids]
            assert all(math.isfinite(value) for value in caption.log_probabilities)
            assert len(ids) == 0 or (ours - expected).abs().mean() < 1.0


@families
@pytest.mark.parametrize("strategy", STRATEGIES, ids=describe)
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_a_gpu_writes_what_the_cpu_writes(family, strategy, device):
    model, helpers = captioner(family), {"judge": Judge, "utility": agreement}
    on_gpu = decode(copy.deepcopy(model).to(device), FEATURES, strategy, TWELVE, KEYS, **helpers)
    assert tokens(on_gpu) == tokens(decode(model, FEATURES, strategy, TWELVE, KEYS, **helpers))


# --- bad input -----------------------------------------------------------------------------------------------------


ALL_BUT_STOP = tuple(token for token in range(VOCABULARY) if token != STOP)
NOTHING_LEFT = Constraints(max_new_tokens=5, min_new_tokens=2, stop_tokens=(STOP,), banned_tokens=ALL_BUT_STOP)


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        (Contrastive(k=61, alpha=0.6), {}, "61 candidates a step, but the vocabulary allows 58"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=None, stop_tokens=())}, "would never end"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=61)}, "64 positions less the prefix leave 60"),
        (Greedy(), {"constraints": Constraints(max_new_tokens=5, min_new_tokens=6)}, "above the limit"),
        (Greedy(), {"constraints": Constraints(banned_tokens=(99,))}, "token 99 is not in the vocabulary"),
        ("greedy", {}, r"strategy is 'greedy'; build one, such as Greedy\(\)"),
        (Greedy(), {"keys": ["a"]}, "32 images but 1 keys"),
        (Greedy(), {"batch_size": 0}, "batch_size is 0"),
        (Greedy(), {"constraints": NOTHING_LEFT}, "1 candidates a step, but the vocabulary allows 0"),
        (Beam(width=2), {"constraints": NOTHING_LEFT}, "2 candidates a step, but the vocabulary allows"),
        (
            Contrastive(k=1, alpha=0.5),
            {"constraints": NOTHING_LEFT},
            "1 candidates a step, but the vocabulary allows 0",
        ),
        (Beam(width=61), {}, "61 candidates a step, but the vocabulary allows 58"),
        (
            Greedy(n=54),
            {"constraints": Constraints(min_new_tokens=1, stop_tokens=STOPS)},
            "n is 54, but only 53 tokens may",
        ),
        (Greedy(), {"constraints": Constraints(stop_tokens=(9,), banned_tokens=(9,))}, "is banned and ends captions"),
        (Magic(k=4, alpha=0.1, beta=1), {}, "magic needs an encoder that reads the captions"),
        (BestOfN(), {}, "best-of-n needs an encoder that reads the captions"),
        (MinimumBayesRisk(), {}, "mbr needs utility="),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_before_the_first_forward(strategy, options, message):
    model = captioner("gpt2")
    hook = model.mapper.register_forward_pre_hook(lambda *_: pytest.fail("a forward pass was made"))
    try:
        with pytest.raises(ValueError, match=message):
            decode(model, FEATURES, strategy, **options)
    finally:
        hook.remove()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3, 17), r"must be \[images, 16\]"),
        (torch.zeros(16), r"must be \[images, 16\]"),
        (torch.zeros(3, 16).index_fill(0, torch.tensor(1), math.nan), "features of image 1 are not finite"),
    ],
)
def test_features_that_are_none_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        decode(captioner("gpt2"), features, Greedy(), TWELVE)


# --- text ----------------------------------------------------------------------------------------------------------


def test_chinese_is_joined_and_english_words_kept_apart(make_model):
    tokenizer = make_model("mlp").tokenizer
    ids = tokenizer.convert_tokens_to_ids(["一", "只", "猫", "dvd", "tv", "，", "狗", "[SEP]"])
    assert to_text(tokenizer, ids) == "一只猫dvd tv，狗"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a dog , a café bar !", "a dog, a café bar!"),
        ("a man ' s black - and - white hat : cute", "a man's black-and-white hat: cute"),
        ("“ 你 好 ” 3 只 dog , 一 只 猫", "“你好”3只dog,一只猫"),
        ("高 3 . 5 米 ， 50 % 的 人 ， 10 : 30 ， 1 , 000", "高3.5米，50%的人，10:30，1,000"),
        ("猫 … … 狗 — — t - 恤", "猫……狗——t-恤"),
        ("강아지 한 마리", "강아지 한 마리"),
    ],
)
def test_only_chinese_loses_its_spaces(written, expected):
    words = {word: number for number, word in enumerate(dict.fromkeys(["[UNK]", *written.split()]))}
    made = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece(cleanup=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")
    assert to_text(tokenizer, [words[word] for word in written.split()]) == expected


def test_text_with_spaces_of_its_own_keeps_them():
    """XGLM's tokenizer has a sep_token too, and is no WordPiece."""
    vocabulary = [("<unk>", 0.0), ("</s>", 0.0), ("▁tête", -1.0), ("▁énorme", -1.0), (",", -1.0)]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(Unigram(vocabulary, unk_id=0)), sep_token="</s>", eos_token="</s>"
    )
    tokenizer.backend_tokenizer.decoder = decoders.Metaspace()
    assert to_text(tokenizer, [2, 4, 3, 1]) == "tête, énorme"
