"""The step that notebook 05 takes apart is the step that `decode` takes."""

import pytest
import torch

from clipcap_lib.analysis.contrastive_step import contrastive_step
from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.strategies import Contrastive


@pytest.mark.parametrize("history", ["all", "generated"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
def test_the_highest_score_is_the_token_that_decode_writes(make_model, alpha, history):
    model = make_model(seed=3).eval()
    features = torch.randn(4, model.config.clip_size, generator=torch.Generator().manual_seed(0))
    strategy = Contrastive(k=4, alpha=alpha, history=history)
    limits = Constraints(max_new_tokens=6, banned_tokens=(), stop_tokens=())
    for feature, (caption,) in zip(features, decode(model, features, strategy, limits), strict=True):
        for step, token in enumerate(caption.tokens):
            table = contrastive_step(model, feature, caption.tokens[:step], strategy)
            best = table.loc[table["score"].idxmax()]
            assert best["token"] == model.tokenizer.convert_ids_to_tokens(token)
            assert best["probability"] == pytest.approx(
                torch.tensor(caption.log_probabilities[step]).exp().item(), rel=1e-4
            )


def test_the_parts_are_those_of_the_formula(make_model):
    model = make_model(seed=1).eval()
    feature = torch.randn(model.config.clip_size, generator=torch.Generator().manual_seed(1))
    table = contrastive_step(model, feature, [5, 6], Contrastive(k=3, alpha=0.6))
    assert table["score"].tolist() == pytest.approx((0.4 * table["probability"] - 0.6 * table["similarity"]).tolist())
    assert (table["similarity"].abs() <= 1 + 1e-5).all()
    assert table["probability"].is_monotonic_decreasing
