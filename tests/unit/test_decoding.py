"""Decoding against transformers' `generate` and against an uncached re-computation."""

import pytest
import torch

from clipcap_lib.decoding import Greedy, Sample, decode, to_text

FEATURES = torch.randn(7, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(make_model):
    return make_model("bert").eval()


def banned(model):
    tokenizer = model.tokenizer
    return [tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id]


def generate(model, feature, **options):
    """transformers on one image: tokens up to and without the stop token."""
    output = model.language_model.generate(
        inputs_embeds=model.prefix(feature[None]), max_new_tokens=12, eos_token_id=model.stop_tokens[0],
        pad_token_id=0, suppress_tokens=banned(model), **options,
    )[0].tolist()  # fmt: skip
    return output[: output.index(model.stop_tokens[0])] if model.stop_tokens[0] in output else output


def test_greedy_equals_generate_token_for_token(model):
    ours = decode(model, FEATURES, Greedy(), max_new_tokens=12)
    assert [caption.tokens for caption in ours] == [generate(model, feature, do_sample=False) for feature in FEATURES]


def test_top_k_one_is_greedy(model):
    greedy = decode(model, FEATURES, Greedy(), 12)
    assert [c.tokens for c in decode(model, FEATURES, Sample(top_k=1, top_p=1.0), 12)] == [c.tokens for c in greedy]


@pytest.mark.parametrize("strategy", [Greedy(), Sample(top_p=0.9, seed=4), Sample(top_k=5, temperature=0.7)])
def test_a_batch_equals_its_rows_alone(model, strategy):
    keys = [f"image {i}" for i in range(len(FEATURES))]
    together = decode(model, FEATURES, strategy, 12, keys)
    alone = [decode(model, FEATURES[i : i + 1], strategy, 12, [key])[0] for i, key in enumerate(keys)]
    assert [caption.tokens for caption in together] == [caption.tokens for caption in alone]
    assert len({caption.stopped for caption in together}) >= 1


@torch.inference_mode()
def test_log_probabilities_equal_an_uncached_forward(model):
    for feature, caption in zip(FEATURES, decode(model, FEATURES, Greedy(), 12), strict=True):
        tokens = caption.tokens + ([model.stop_tokens[0]] if caption.stopped == "end" else [])
        words = model.language_model.get_input_embeddings()(torch.tensor(tokens))
        prefix = model.prefix(feature[None])
        logits = model.language_model(inputs_embeds=torch.cat([prefix, words[None]], dim=1)).logits[0]
        logits[:, banned(model)] = float("-inf")
        at = torch.arange(len(tokens)) + prefix.shape[1] - 1
        expected = logits.log_softmax(-1)[at, torch.tensor(tokens)]
        torch.testing.assert_close(torch.tensor(caption.log_probabilities), expected, atol=1e-4, rtol=1e-4)


def test_sampling_draws_from_the_distribution(model):
    """First tokens of 4,000 draws against the softmax: chi-square within six deviations of its mean."""
    n = 4000
    drawn = decode(model, FEATURES[:1].expand(n, -1), Sample(top_p=1.0), 1, batch_size=n)
    first = torch.tensor([(caption.tokens or [model.stop_tokens[0]])[0] for caption in drawn])
    with torch.inference_mode():
        logits = model.language_model(inputs_embeds=model.prefix(FEATURES[:1])).logits[0, -1]
    logits = logits.clone()
    logits[banned(model)] = float("-inf")
    expected = logits.double().softmax(-1) * n
    observed = torch.bincount(first, minlength=len(expected))
    assert not observed[expected == 0].any()
    cells = expected >= 5
    statistic = ((observed[cells] - expected[cells]) ** 2 / expected[cells]).sum().item()
    freedom = int(cells.sum()) - 1
    assert freedom >= 3
    assert statistic < freedom + 6 * (2 * freedom) ** 0.5


def test_a_caption_that_never_ends_stops_at_the_limit(model):
    captions = decode(model, FEATURES, Greedy(), max_new_tokens=2)
    assert all(len(caption.tokens) <= 2 for caption in captions)
    assert {caption.stopped for caption in captions if len(caption.tokens) == 2} <= {"length"}


def test_logits_that_are_not_numbers_are_an_error(model):
    with torch.no_grad():
        model.language_model.transformer.ln_f.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        decode(model, FEATURES, Greedy())


def test_impossible_options_are_refused_before_any_work(model):
    with pytest.raises(ValueError, match="max_new_tokens"):
        decode(model, FEATURES, Greedy(), max_new_tokens=0)
    with pytest.raises(ValueError, match="7 images but 1 keys"):
        decode(model, FEATURES, Greedy(), keys=["a"])
    with pytest.raises(ValueError, match="top_p"):
        Sample(top_p=1.5)


def test_chinese_is_joined_and_english_words_kept_apart(model):
    ids = model.tokenizer.convert_tokens_to_ids(["一", "只", "猫", "dvd", "tv", "，", "狗", "[SEP]"])
    assert to_text(model.tokenizer, ids) == "一只猫dvd tv，狗"
