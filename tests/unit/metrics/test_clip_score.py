"""CLIPScore by hand, on an encoder whose embeddings are known."""

import pytest
import torch

from clipcap_lib.metrics.clip_score import clip_scores, ref_clip_scores

VECTORS = {"cat": [1.0, 0.0], "both": [1.0, 1.0], "no": [-1.0, 0.0], "猫": [2.0, 0.0]}


class Judge:
    name = "judge"

    @staticmethod
    def encode_texts(texts):
        return torch.tensor([VECTORS[text.removeprefix("A photo depicts ")] for text in texts])


def test_scores_are_those_of_the_formula():
    images = torch.tensor([[3.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    assert clip_scores(["cat", "both", "no"], images, Judge, "en").tolist() == pytest.approx([2.5, 2.5 * 0.5**0.5, 0])


def test_only_english_is_prompted(monkeypatch):
    seen = []
    monkeypatch.setattr(Judge, "encode_texts", staticmethod(lambda texts: seen.extend(texts) or torch.ones(1, 2)))
    for text, language in (("猫", "zh"), ("cat", "en")):
        clip_scores([text], torch.ones(1, 2), Judge, language)
    assert seen == ["猫", "A photo depicts cat"]


def test_an_encoder_without_a_text_side_is_refused(monkeypatch):
    monkeypatch.setattr(Judge, "encode_texts", None)
    with pytest.raises(ValueError, match="judge has none"):
        clip_scores(["cat"], torch.ones(1, 2), Judge, "en")


def test_ref_clip_score_is_the_harmonic_mean_with_the_nearest_reference():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = ref_clip_scores(["both", "cat"], [["cat", "no"], ["no"]], images, Judge, "en").tolist()
    plain, nearest = 2.5 * 0.5**0.5, 0.5**0.5
    assert found == pytest.approx([2 * plain * nearest / (plain + nearest), 0])
