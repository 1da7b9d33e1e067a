"""Diversity counted by hand, and at its ends: captions all alike and captions that share nothing."""

import pytest

from clipcap_lib.metrics.diversity import diversity, set_diversity
from clipcap_lib.metrics.reference import DocumentFrequencies


def test_diversity_counts():
    values = diversity(["a b a b", "a b", "a b"], "ptb", {"a b"})
    assert values["unique"] == pytest.approx(2 / 3)
    assert values["novel"] == pytest.approx(1 / 3)
    assert values["distinct-1"] == pytest.approx(2 / 8)
    assert values["distinct-2"] == pytest.approx(2 / 5)
    assert values["rep-1"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert (values["vocabulary"], values["length"]) == (2, pytest.approx(8 / 3))


def test_sets_of_equal_captions_have_no_diversity_and_different_ones_much():
    weights = DocumentFrequencies.of([[["a", "red", "car"]], [["two", "dogs"]], [["old", "park"]], [["sea", "wind"]]])
    same = set_diversity([["a red car here now"] * 4], "ptb", weights)
    words = [["a red car here", "two dogs run fast", "old park at noon", "sea wind blows cold"]]
    varied = set_diversity(words, "ptb", weights)
    assert same["self-CIDEr"] == pytest.approx(0, abs=1e-6)
    assert same["mBLEU-4"] == pytest.approx(1, abs=1e-6)
    assert varied["self-CIDEr"] == pytest.approx(1, abs=1e-6)
    assert varied["Div-1"] == 1.0
    with pytest.raises(ValueError, match="at least two"):
        set_diversity([["one"]], "ptb", weights)
