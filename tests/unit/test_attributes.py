"""Attribute accuracy in words: shares of one run, where they were judged."""

import pandas as pd

from clipcap_lib.attributes import ATTRIBUTES, attribute_accuracy, describe_accuracy


def test_a_sentence_a_split_names_the_shares_of_the_run_that_were_judged():
    judged = pd.DataFrame({
        "run": ["a", "a", "a", "b"], "split": ["test", "test", "test_compositional", "test"],
        "objects": [1, 0, 1, 0], "count": [1, 1, pd.NA, 0], "size": [pd.NA, 1, pd.NA, 0], "background": [1, 1, 0, 0],
        "relation": [pd.NA, pd.NA, pd.NA, 0], "all": [1, 0, 0, 0],
    }).astype(dict.fromkeys(ATTRIBUTES, "Float64"))  # fmt: skip
    accuracy = attribute_accuracy(judged, ["split", "run"]).set_index("run")
    assert describe_accuracy(accuracy, "a") == [
        "On held-out pictures, captions of the best run (a) are right in: "
        "objects 50.0%, count 100.0%, size 100.0%, background 100.0%, all 50.0%.",
        "On never-trained object pairs and counts, captions of the best run (a) are right in: "
        "objects 100.0%, background 0.0%, all 0.0%.",
    ]
