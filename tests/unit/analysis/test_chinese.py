"""Conclusions in Chinese: no sentence is left in English, whatever it is made of."""

import re

import numpy as np
import pandas as pd
import pytest
from made_up_runs import run
from test_limits import factorial, scaling

from clipcap_lib.analysis import alarms
from clipcap_lib.analysis.accuracy import describe_accuracy
from clipcap_lib.analysis.conclusion import conclude
from clipcap_lib.analysis.decoding import conclude as conclude_decoding
from clipcap_lib.analysis.limits import LimitsStudy
from clipcap_lib.analysis.limits_answers import conclude_limits
from clipcap_lib.analysis.prefixes import PrefixMeaning
from clipcap_lib.emoji.attributes import ATTRIBUTES
from clipcap_lib.wording import speak

NAMES = re.compile(r"beam width|keep: best")  # of settings, which have no other name
ENGLISH = re.compile(r"[a-z]{2,}(?: [a-z]{2,})+")  # arms are names that commas part


@pytest.fixture(autouse=True)
def chinese():
    speak("zh")
    yield
    speak("en")


def mlp_or_bert() -> list[str]:
    """Three seeds, three tunings, captions that contradict the loss, and runs that were still learning."""
    losses = {
        ("mlp", "frozen"): 0.3, ("bert", "frozen"): 0.4, ("linear", "frozen"): 0.5, ("mlp", "full"): 0.2,
        ("bert", "full"): 0.45, ("linear", "full"): 0.5, ("mlp", "lora"): 0.25, ("bert", "lora"): 0.25,
    }  # fmt: skip
    runs = [run(*cell, [5.0, 2 * loss, loss + (seed - 1) ** 2 * 0.002], seed)
            for cell, loss in losses.items() for seed in range(3)]  # fmt: skip
    right = np.arange(60) % 10
    scores = [pd.DataFrame({name: (right < 10 * each.summary["best_dev_loss"]).astype(float)
                            for name in ("count", "all", "CIDEr-D")}) for each in runs]  # fmt: skip
    return conclude(runs, scores)


def decoding() -> list[str]:
    base = np.linspace(0.5, 1.5, 40)
    cider = pd.DataFrame({"greedy": base, "beam width:5": base + 0.1, "contrastive k:4 alpha:0.6": base - 0.2})
    table = pd.DataFrame({"CIDEr-D": cider.mean(), "captions/s": 50.0, "distinct-2": 0.2, "all": 0.7})
    return conclude_decoding(table, cider)


def accuracy() -> list[str]:
    shares = dict.fromkeys(ATTRIBUTES, 0.5) | {f"n_{name}": 40 for name in ATTRIBUTES} | {"n_relation": 6}
    return describe_accuracy(pd.DataFrame([shares | {"split": "test"}], index=["mlp"]), "mlp")


def raised_alarms() -> list[str]:
    rows = [(0, 2.0, 3.0), (10, 1.0, 2.0), (20, 1.3, 1.0)]
    history = pd.DataFrame([(step, split, "loss", value) for step, *values in rows
                            for split, value in zip(("dev", "train"), values, strict=True)],
                           columns=["step", "split", "metric", "value"])  # fmt: skip
    settings = {"evaluate_every": 10, "keep": "best", "warmup_steps": 40}
    made = run("mlp", "full", [1.0])
    made = type(made)(made.folder, made.params | settings, {"steps": 20}, history, made.captions)
    return [
        alarms.collapsed(["猫"] * 40, [f"图{number}" for number in range(40)]),
        alarms.over_fitted(made),
        alarms.only_warmed_up(made),
    ]


def prefixes() -> list[str]:
    return [PrefixMeaning(pd.DataFrame(), cosine, 2.0, 1.0).describe("mlp") for cosine in (0.2, 0.9)]


@pytest.mark.parametrize("concluded", [
    mlp_or_bert, lambda: conclude([run("mlp", "full", [5.0, 1.0]), run("bert", "full", [5.0, 1.0])]),
    lambda: conclude_limits(LimitsStudy.of(scaling({500: 0.2, 9000: 0.05}))),
    lambda: conclude_limits(LimitsStudy.of(factorial({"prefix": 0.9, "cross-attention": 1.1}, counts=0.9))),
    decoding, accuracy, raised_alarms, prefixes,
], ids=["three seeds", "one seed", "data", "bridges", "decoding", "accuracy", "alarms", "prefixes"])  # fmt: skip
def test_no_run_of_english_words_is_left(concluded):
    sentences = concluded()
    assert sentences
    assert {sentence: found for sentence in sentences if (found := ENGLISH.findall(NAMES.sub("", sentence)))} == {}
    assert all(re.search(r"[\u4e00-\u9fff]", sentence) for sentence in sentences)
