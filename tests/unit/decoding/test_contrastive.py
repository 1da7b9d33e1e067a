"""Contrastive search against its formula, one image at a time in float64, every text read from its beginning."""

import copy

import pytest
import torch
from oracles import FEATURES, STOPS, TWELVE, VOCABULARY, captioner, families, naive_contrastive, tokens

from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import Contrastive, Greedy, describe


@families
@pytest.mark.parametrize("history", ["all", "generated"])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_contrastive_search_equals_its_formula(family, history, k, doubled):
    model, features, alphas = captioner(family), FEATURES[:3], (0.0, 0.1, 0.6, 0.9)
    ours = {
        alpha: tokens(decode(model, features, Contrastive(k=k, alpha=alpha, history=history), TWELVE))
        for alpha in alphas
    }
    double = doubled(model)
    for alpha in alphas:
        assert ours[alpha] == [
            naive_contrastive(double, feature.double(), k, alpha, history, 12) for feature in features
        ]
    assert len({len(caption) for caption in ours[0.6]}) > 1, "some row should stop before the others"


@families
def test_contrastive_search_without_penalty_or_choice_is_greedy(family):
    model = captioner(family)
    greedy = tokens(decode(model, FEATURES, Greedy(), TWELVE))
    assert tokens(decode(model, FEATURES, Contrastive(k=5, alpha=0), TWELVE)) == greedy
    assert tokens(decode(model, FEATURES, Contrastive(k=1, alpha=0.6), TWELVE)) == greedy


@families
@pytest.mark.parametrize(
    "strategy",
    [
        Greedy(n=5), Contrastive(k=4, alpha=0.6, n=5), Contrastive(k=6, alpha=0.9, n=3),
        Contrastive(k=6, alpha=1.0, n=3), Contrastive(k=2, alpha=1.0, n=6),
    ],
    ids=describe,
)  # fmt: skip
def test_of_several_captions_the_first_is_the_searchs_and_the_others_begin_otherwise(family, strategy, doubled):
    model, one = captioner(family), strategy.model_copy(update={"n": 1})
    alone = [caption for (caption,) in decode(model, FEATURES, one, TWELVE)]
    some = [number for number, own in enumerate(alone) if own.tokens][:3]
    found = decode(model, FEATURES[some], strategy, TWELVE)
    double, (k, alpha) = doubled(model), (getattr(strategy, "k", 1), getattr(strategy, "alpha", 0.0))
    unlikely = [number for number in some if alone[number].tokens[0] != likeliest(double, FEATURES[number].double())[0]]
    assert unlikely or alpha < 1, "without a say of the probability, some caption should not begin with the likeliest"
    for number, captions in zip(some, found, strict=True):
        feature, own = FEATURES[number].double(), alone[number].tokens
        others = [token for token in likeliest(double, feature) if token != own[0]]
        assert [caption.tokens for caption in captions] == [own] + [
            [] if token in STOPS else naive_contrastive(double, feature, k, alpha, "all", 12, begin=[token])
            for token in others[: strategy.n - 1]
        ]


@torch.inference_mode()
def likeliest(model, feature):
    """Allowed first tokens, the most probable first."""
    prefix = model.prefix(feature[None])
    logits = model.language_model(inputs_embeds=prefix).logits[0, -1]
    return [token for token in logits.argsort(descending=True).tolist() if token not in (0, 1)]


def test_a_constraint_that_forbids_nothing_changes_nothing_where_probabilities_underflow():
    model = copy.deepcopy(captioner("gpt2"))
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(100)
    free = Constraints(max_new_tokens=6, stop_tokens=())
    bound = free.model_copy(update={"no_repeat_ngram": 6})
    strategy = Contrastive(k=20, alpha=1.0)
    assert tokens(decode(model, FEATURES, strategy, bound)) == tokens(decode(model, FEATURES, strategy, free))


def test_what_processors_forbid_is_not_chosen_for_being_unlike():
    constraints = Constraints(max_new_tokens=4, min_new_tokens=4, stop_tokens=tuple(range(10, VOCABULARY)))
    captions = decode(captioner("gpt2"), FEATURES, Contrastive(k=20, alpha=1.0), constraints)
    assert {len(caption.tokens) for (caption,) in captions} == {4}


def test_contrastive_search_reads_each_token_once():
    """One forward a token beside the prefix's, whatever k is: each reads its tokens' embeddings once."""
    model, calls = captioner("gpt2"), []
    hook = model.language_model.get_input_embeddings().register_forward_hook(lambda *_: calls.append(1))
    decode(model, FEATURES[:3], Contrastive(k=8, alpha=0.6), Constraints(max_new_tokens=6, stop_tokens=()))
    hook.remove()
    assert len(calls) == 6
