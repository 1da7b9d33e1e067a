"""Hidden states and probabilities of written tokens, against the whole model run without a cache."""

import itertools
import math

import numpy as np
import pytest
import torch

from clipcap_lib.analysis import states
from clipcap_lib.analysis.states import token_choices
from clipcap_lib.decoding.decode import Caption, Constraints, decode
from clipcap_lib.decoding.strategies import Greedy

FEATURES = torch.randn(6, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(make_model):
    return make_model("mlp").eval()


@torch.no_grad()
def uncached(model, feature, tokens):
    """transformers' own output for prefix and tokens: last hidden states and logits."""
    words = model.language_model.get_input_embeddings()(torch.tensor(tokens, dtype=torch.long))
    inputs = torch.cat([model.prefix(feature[None])[0], words])[None]
    output = model.language_model(inputs_embeds=inputs, output_hidden_states=True)
    return output.hidden_states[-1][0].double(), output.logits[0].double()


def test_similarity_is_the_cosine_of_the_last_hidden_states(model):
    tokens = [6, 7, 6]
    found = states.token_similarity(model, FEATURES[0], tokens)
    last = uncached(model, FEATURES[0], tokens)[0][model.config.prefix_length :]
    for row, column in itertools.product(range(3), repeat=2):
        expected = torch.cosine_similarity(last[row], last[column], dim=0).item()
        assert found[row, column] == pytest.approx(expected, abs=1e-5)


def test_isotropy_is_one_less_the_mean_cosine_of_different_tokens(model):
    captions = [Caption(tokens=[6, 7, 8]), Caption(tokens=[9]), Caption(tokens=[10, 11])]
    means = []
    for number in (0, 2):  # a single token resembles no other
        last = uncached(model, FEATURES[number], captions[number].tokens)[0][model.config.prefix_length :]
        pairs = itertools.combinations(last, 2)
        means.append(np.mean([torch.cosine_similarity(one, other, dim=0).item() for one, other in pairs]))
    assert states.isotropy(model, FEATURES[:3], captions) == pytest.approx(1 - np.mean(means), abs=1e-5)
    assert math.isnan(states.isotropy(model, FEATURES[:1], [Caption(tokens=[9])]))


def test_the_next_token_is_distributed_as_the_model_says(model):
    found = states.next_token(model, FEATURES[0], [6, 7])
    expected = uncached(model, FEATURES[0], [6, 7])[1][-1].softmax(-1)
    assert found.is_monotonic_decreasing
    assert found.sum() == pytest.approx(1, abs=1e-5)
    for token in (5, 9, 20):
        assert found[model.tokenizer.convert_ids_to_tokens(token)] == pytest.approx(expected[token].item(), abs=1e-6)


def test_choices_are_the_model_s_own_probabilities(make_model):
    model = make_model("mlp").eval()
    feature = torch.randn(16)
    caption = decode(model, feature[None], Greedy(), Constraints(max_new_tokens=6, banned_tokens=()))[0][0]
    choices = token_choices(model, feature, caption, count=3)
    found = np.log(choices["probability"]).tolist()
    assert found[: len(caption.log_probabilities)] == pytest.approx(caption.log_probabilities, abs=1e-4)
    ended = caption.stopped == "end"
    assert len(choices) == len(caption.tokens) + ended
    for row in choices.to_dict("records")[: len(caption.tokens)]:
        assert row["token"] not in dict(row["others"])
        assert row["probability"] >= max(share for _, share in row["others"])


@torch.no_grad()
def test_choices_equal_the_whole_model_run_on_prefix_and_tokens(make_model):
    model = make_model("mlp").eval()
    feature, tokens = torch.randn(16), [6, 7]
    words = model.language_model.get_input_embeddings()(torch.tensor(tokens))
    inputs = torch.cat([model.prefix(feature[None])[0], words])[None]
    expected = model.language_model(inputs_embeds=inputs).logits[0, -2].double().softmax(-1)[7].item()
    assert token_choices(model, feature, Caption(tokens=tokens))["probability"][1] == pytest.approx(expected, abs=1e-6)
