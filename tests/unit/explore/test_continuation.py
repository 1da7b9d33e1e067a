"""A caption with a chosen beginning: without a change nothing changes, behind one the likeliest follows."""

import pytest
import torch

from clipcap_lib.analysis.states import next_token
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import Greedy
from clipcap_lib.explore.continuation import continued

FREE = Constraints(max_new_tokens=8, banned_tokens=())


@pytest.fixture(params=["pooled", "grid"])
def captioner(request, make_model, grid_model):
    """A model and the features of six pictures."""
    model = grid_model if request.param == "grid" else make_model("mlp").eval()
    return model, torch.randn(6, *model.config.feature_shape, generator=torch.Generator().manual_seed(7))


def test_taking_the_token_that_was_written_anyway_changes_nothing(captioner):
    model, features = captioner
    for feature, (expected,) in zip(features, decode(model, features, Greedy(), FREE), strict=True):
        for length in range(len(expected.tokens) + 1):
            found = continued(model, feature, expected.tokens[:length], FREE)
            assert (found.text, found.tokens, found.stopped) == (expected.text, expected.tokens, expected.stopped)
            assert found.log_probabilities == pytest.approx(expected.log_probabilities, abs=1e-4)


def test_behind_another_token_the_likeliest_is_written_each_time(captioner):
    model, features = captioner
    for feature in features:
        written = continued(model, feature, [11, 7], FREE).tokens
        assert written[:2] == [11, 7]
        for at in range(2, len(written)):
            best = next_token(model, feature, written[:at]).index[0]
            assert model.tokenizer.convert_ids_to_tokens(written[at]) == best


def test_a_taken_end_ends_the_caption(captioner):
    model, features = captioner
    found = continued(model, features[0], [11, *model.stop_tokens], FREE)
    assert (found.tokens, found.stopped, len(found.log_probabilities)) == ([11], "end", 2)
