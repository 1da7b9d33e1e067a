"""Constraints against transformers' processors, and what a caption reports against a forward without a cache."""

from functools import reduce
from operator import or_

import pytest
import torch
from oracles import FEATURES, STOP, TWELVE, VOCABULARY, Letters, captioner, families, generate, tokens

from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import Beam, Contrastive, Greedy, Sample, describe

PENALTIES = [{"min_new_tokens": 5}, {"repetition_penalty": 1.3}, {"no_repeat_ngram": 2}]


@pytest.mark.parametrize("constraints", [*PENALTIES, reduce(or_, PENALTIES)], ids=lambda given: "+".join(given))
@torch.inference_mode()
def test_constraints_equal_those_of_generate(constraints):
    model = captioner("gpt2")
    theirs = {
        "no_repeat_ngram_size" if name == "no_repeat_ngram" else name: given for name, given in constraints.items()
    }
    for strategy, extra in ((Greedy(), {}), (Beam(width=1), {}), (Beam(width=3), {"num_beams": 3})):
        ours = tokens(decode(model, FEATURES[:12], strategy, TWELVE.model_copy(update=constraints)))
        assert ours == generate(model, FEATURES[:12], do_sample=False, **theirs, **extra)
        assert min(map(len, ours)) >= constraints.get("min_new_tokens", 0)


def test_banned_and_stop_tokens_are_kept():
    model = captioner("gpt2")
    free = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12))
    common = max(range(3, VOCABULARY), key=lambda token: sum(token in caption.tokens for (caption,) in free))
    banned = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12, banned_tokens=(common,)))
    assert not any(common in caption.tokens for (caption,) in banned)
    ended = decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=12, stop_tokens=(STOP, common)))
    for (before,), (after,) in zip(free, ended, strict=True):
        cut = before.tokens.index(common) if common in before.tokens else len(before.tokens)
        assert after.tokens == before.tokens[:cut]


def test_a_caption_that_never_ends_stops_at_the_limit():
    captions = decode(captioner("gpt2"), FEATURES, Greedy(), Constraints(max_new_tokens=2, stop_tokens=()))
    assert {(len(caption.tokens), caption.stopped) for (caption,) in captions} == {(2, "length")}


def test_padding_that_the_model_does_not_know_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(Letters, "pad_token_id", VOCABULARY)
    known = TWELVE.model_copy(update={"banned_tokens": (Letters.unk_token_id,)})
    found, expected = (decode(captioner("gpt2"), FEATURES, Greedy(), given) for given in (TWELVE, known))
    assert tokens(found) == tokens(expected)


def test_a_prefix_that_leaves_no_position_is_refused():
    model = captioner("llama")
    model.language_model.config.sliding_window = model.config.prefix_length
    try:
        with pytest.raises(ValueError, match="the prefix takes all 4 positions"):
            decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=None))
    finally:
        del model.language_model.config.sliding_window


def test_a_window_bounds_the_caption_like_the_positions_do():
    model = captioner("llama")
    model.language_model.config.sliding_window = 14
    try:
        with pytest.raises(ValueError, match="14 positions less the prefix leave 10"):
            decode(model, FEATURES, Greedy(), Constraints(max_new_tokens=11))
    finally:
        del model.language_model.config.sliding_window


@pytest.mark.parametrize(
    "strategy", [Greedy(), Sample(), Sample(top_p=0.9), Beam(), Contrastive(k=2, alpha=0.5)], ids=describe
)
def test_constraints_that_leave_no_token_are_an_error(strategy):
    """Eight tokens, none twice, for a caption of twelve."""
    constraints = Constraints(
        max_new_tokens=12, no_repeat_ngram=1, stop_tokens=(), banned_tokens=tuple(range(8, VOCABULARY))
    )
    with pytest.raises(ValueError, match="leave a caption no token to go on with"):
        decode(captioner("gpt2"), FEATURES[:3], strategy, constraints)


@pytest.mark.parametrize("strategy", [Greedy(), Beam(), Contrastive(k=2, alpha=0.5)], ids=describe)
def test_logits_that_are_not_numbers_are_an_error(strategy):
    model = captioner("gpt2")
    bias = model.language_model.transformer.ln_f.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(float("nan"))
    try:
        with pytest.raises(ValueError, match="not finite"):
            decode(model, FEATURES, strategy, TWELVE)
    finally:
        with torch.no_grad():
            bias.copy_(kept)


@families
@pytest.mark.parametrize(
    "strategy", [Greedy(), Beam(width=3), Contrastive(k=4, alpha=0.6), Sample(top_p=0.9)], ids=describe
)
@torch.inference_mode()
def test_log_probabilities_equal_an_uncached_forward(family, strategy):
    model = captioner(family)
    for feature, (caption, *_) in zip(FEATURES, decode(model, FEATURES, strategy, TWELVE), strict=True):
        ids = torch.tensor(caption.tokens, dtype=torch.long)
        prefix = model.prefix(feature[None])
        words = model.language_model.get_input_embeddings()(ids)[None]
        logits = model.language_model(inputs_embeds=torch.cat([prefix, words], dim=1)).logits[0]
        at = torch.arange(len(ids)) + prefix.shape[1] - 1
        expected = logits.log_softmax(-1)[at, ids]
        assert len(caption.log_probabilities) == len(ids) + (caption.stopped == "end")
        ours = torch.tensor(caption.log_probabilities[: len(ids)])
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("strategy", [Greedy(), Beam(width=3, n=3), Contrastive(k=4, alpha=0.6)], ids=describe)
@torch.inference_mode()
def test_log_probabilities_are_the_models_own_under_a_penalty(strategy):
    model = captioner("gpt2")
    constraints = TWELVE.model_copy(update={"repetition_penalty": 1.7, "min_new_tokens": 3})
    for feature, captions in zip(FEATURES, decode(model, FEATURES, strategy, constraints), strict=True):
        for caption in captions:
            ids = torch.tensor(caption.tokens)
            inputs = torch.cat([model.prefix(feature[None]), model.language_model.get_input_embeddings()(ids)[None]], 1)
            own = model.language_model(inputs_embeds=inputs).logits[0, 3:-1].log_softmax(-1)
            expected = own[torch.arange(len(ids)), ids].tolist()
            assert caption.log_probabilities[: len(ids)] == pytest.approx(expected, abs=1e-3)
