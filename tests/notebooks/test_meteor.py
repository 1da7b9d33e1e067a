"""METEOR through Java against its published value; it takes 8 seconds to start, too long for the unit tests."""

import pytest
from published_example import GIVEN, MADE

from clipcap_lib.metrics.java import add_java_metrics, java_version
from clipcap_lib.metrics.reference import score


@pytest.mark.skipif(java_version() is None, reason="METEOR needs Java, which is not on the PATH")
def test_meteor_of_the_public_two_image_example_comes_out():
    scores = add_java_metrics(score(MADE, GIVEN, "ptb"), MADE, GIVEN, "ptb", "en")
    assert scores.corpus["METEOR"] == pytest.approx(0.3444, abs=1e-4)
    assert scores.images["METEOR"].between(0, 1).all()
