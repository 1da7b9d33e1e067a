"""MAGIC against its formula in float64, and the captions chosen among several against the judge's own numbers."""

import pytest
import torch
from oracles import FEATURES, TWELVE, Judge, Letters, agreement, captioner, naive_contrastive, tokens

from clipcap_lib.decoding.decode import decode
from clipcap_lib.decoding.strategies import BestOfN, Contrastive, Magic, MinimumBayesRisk


def test_magic_equals_its_formula(doubled):
    model, features = captioner("gpt2"), FEATURES[:6]
    ours = tokens(decode(model, features, Magic(k=4, alpha=0.2, beta=3.0), TWELVE, judge=Judge))
    plain = tokens(decode(model, features, Contrastive(k=4, alpha=0.2), TWELVE))
    double = doubled(model)

    def guided(feature):
        def scorer(written, candidates):
            text = [Letters().decode([*written, candidate], True) for candidate in candidates]
            cosines = torch.cosine_similarity(Judge.encode_texts(text).double(), feature.double()[None])
            return (3.0 * (Judge.logit_scale * cosines).softmax(-1)).tolist()

        return scorer

    naive = [naive_contrastive(double, f.double(), 4, 0.2, "all", 12, guided(f)) for f in features]
    assert ours == naive
    assert ours != plain, "the judge should change something"
    several = decode(model.float(), features, Magic(k=4, alpha=0.2, beta=3.0, n=6), TWELVE, judge=Judge)
    assert [captions[0].tokens for captions in several] == ours


def test_best_of_n_keeps_what_the_judge_finds_nearest():
    found = decode(captioner("gpt2"), FEATURES, BestOfN(n=5), TWELVE, judge=Judge)
    for image, captions in zip(FEATURES, found, strict=True):
        cosines = torch.cosine_similarity(Judge.encode_texts([caption.text for caption in captions]), image[None])
        assert cosines.argmax() == 0
        assert [caption.score for caption in captions] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_minimum_bayes_risk_keeps_what_the_others_agree_with():
    for captions in decode(captioner("gpt2"), FEATURES, MinimumBayesRisk(n=5), TWELVE, utility=agreement):
        scores = agreement([caption.text for caption in captions])
        assert scores[0] == max(scores)
