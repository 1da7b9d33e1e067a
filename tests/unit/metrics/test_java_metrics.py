"""A Java metric that cannot run has a reason, and METEOR is never given an empty line."""

import pytest
from published_example import GIVEN, MADE

from clipcap_lib.metrics import java as java_metrics
from clipcap_lib.metrics.java import add_java_metrics
from clipcap_lib.metrics.reference import score


def test_meteor_is_never_given_an_empty_line(monkeypatch):
    lines = []

    def meteor(made, given):
        lines.extend([*made, *(text for image in given for text in image)])
        return 0, 0

    monkeypatch.setattr(java_metrics, "java_version", lambda: 17)
    monkeypatch.setattr(java_metrics, "_meteor", meteor)
    add_java_metrics(score(MADE, GIVEN, "ptb"), MADE | {"image1": ""}, GIVEN | {"image2": ["…"]}, "ptb", "en")
    assert len(lines) == 6
    assert all(lines)


@pytest.mark.parametrize(
    ("version", "language", "reasons"),
    [
        (None, "en", {"METEOR": "no Java", "SPICE": "no Java"}),
        (17, "zh", {"METEOR": "for English", "SPICE": "for English"}),
        (11, "zh", {"METEOR": "for English", "SPICE": "for English"}),
    ],
)
def test_what_was_not_run_says_why(monkeypatch, version, language, reasons):
    monkeypatch.setattr(java_metrics, "java_version", lambda: version)
    scores = add_java_metrics(score(MADE, GIVEN, "ptb"), MADE, GIVEN, "ptb", language)
    assert scores.not_run.keys() == reasons.keys()
    assert all(part in scores.not_run[name] for name, part in reasons.items())
    assert not {"METEOR", "SPICE"} & set(scores.corpus.index)


@pytest.mark.parametrize(("version", "part"), [(17, "needs Java 8 to 15"), (11, "language model is missing")])
def test_spice_says_what_it_lacks(monkeypatch, version, part):
    monkeypatch.setattr(java_metrics, "java_version", lambda: version)
    assert part in java_metrics._spice_obstacle("en")
