"""What limits ClipCap: arms at their best rates, and sentences that say of made-up runs what is true of them."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipcap_lib.analysis.limits import LimitsStudy
from clipcap_lib.analysis.limits_answers import answer_limits, conclude_limits
from clipcap_lib.reporting import limits_figures
from clipcap_lib.runs import Run
from clipcap_lib.settings import Data, Decoding, Models, TrainingSettings

DEFAULTS = {key: value for section in (Data(), Models(), TrainingSettings(steps=20), Decoding())
            for key, value in section.model_dump().items()}  # fmt: skip


def run(loss, seconds=10.0, right=0.5, counts=None, pictures=400, **params):
    """A finished run: its losses fall evenly to the last; so many of its captions are right, always the same ones."""
    params = DEFAULTS | {"mapping": "mlp", "tuning": "frozen", "seed": 0} | params
    history = pd.DataFrame({"step": [0, 10, 20], "images": [0, 320, 640], "seconds": [0, seconds / 2, seconds],
                            "split": "dev", "metric": "loss", "value": [4 * loss, 2 * loss, loss]})  # fmt: skip
    correct = (np.arange(pictures) < right * pictures).astype(float)
    counted = (np.arange(pictures) < (right if counts is None else counts) * pictures).astype(float)
    captions = pd.DataFrame({"image_id": [f"{n}.jpg" for n in range(pictures)], "split": "test", "caption": "一只猫",
                             "objects": correct, "count": counted, "all": correct})  # fmt: skip
    summary = {"best_dev_loss": loss, "seconds": seconds, "trainable_parameters": 1000, "test_all": right}
    return Run(Path("runs/made-up"), params, summary, history, captions)


def scaling(lead):
    """The MLP's lead on BERT is `lead[images]`, the same for each of three seeds but for a hundredth of the loss."""
    return [
        run(loss * (1 + 0.002 * seed), mapping=mapping, used_images=images, seed=seed, right=images / 10000)
        for images, seed in product(lead, range(3))
        for mapping, loss in (("mlp", 100 / images), ("bert", 100 / images / (1 - lead[images])))
    ]


def factorial(gains, counts=0.5):
    """The grid's loss, as a share of the pooled one's, for each bridge; counts are named more often with a grid."""
    return [
        run(0.4 * share * (1 + 0.001 * seed), features=features, bridge=bridge, seed=seed, counts=counted)
        for (bridge, gain), seed in product(gains.items(), range(3))
        for features, share, counted in (("pooled", 1, 0.5), ("grid", gain, counts))
    ]


def test_factors_are_what_differs_without_rates_and_seed():
    study = LimitsStudy.of([run(1, seed=s, learning_rate=r, bridge=b)
                            for s, r, b in product((0, 1), (1e-3, 2e-3), ("prefix", "cross-attention"))])  # fmt: skip
    assert (study.factors, study.rates) == (["bridge"], ["learning_rate"])
    assert set(study.table["arm"]) == {"prefix", "cross-attention"}


def test_each_arm_stands_at_its_own_best_rate_by_its_mean_over_seeds():
    losses = {
        ("mlp", 1e-3): (1.0, 1.2),
        ("mlp", 4e-3): (0.9, 1.4),
        ("bert", 1e-3): (2.0, 2.0),
        ("bert", 4e-3): (1.5, 1.6),
    }
    study = LimitsStudy.of([run(loss, mapping=mapping, learning_rate=rate, seed=seed)
                            for (mapping, rate), both in losses.items() for seed, loss in enumerate(both)])  # fmt: skip
    best = study.at_best_rates()
    assert {(r.params["mapping"], r.params["learning_rate"]) for r in best.runs} == {("mlp", 1e-3), ("bert", 4e-3)}
    assert len(best.runs) == 4
    (said,) = [said for said in conclude_limits(study) if said.startswith("Each arm stands")]
    assert "0.001 for mlp; 0.004 for bert" in said
    assert "For 2 of 2 it is at the edge of what was tried" in said


def test_rates_that_go_together_are_one_axis():
    pairs = [(1e-3, 1e-3), (4e-3, 2e-3)]
    study = LimitsStudy.of([run(loss, learning_rate=one, language_model_learning_rate=other)
                            for loss, (one, other) in zip((2.0, 1.0), pairs, strict=True)])  # fmt: skip
    (kept,) = study.at_best_rates().runs
    assert kept.params["learning_rate"] == 4e-3


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        ({500: 0.2, 2000: 0.15, 9000: 0.05}, "its lead shrinks, by 15.0 points (change -15.0, 95 % interval"),
        ({500: 0.05, 2000: 0.1, 9000: 0.2}, "its lead grows, by 15.0 points"),
        ({500: 0.1, 2000: 0.0, 9000: -0.1}, "its lead turns into a lag, by 20.0 points"),
    ],
)
def test_whether_the_mlps_lead_shrinks_with_data(lead, said):
    (sentence,) = [s for s in conclude_limits(LimitsStudy.of(scaling(lead))) if "the MLP's dev loss" in s]
    assert said in sentence
    assert sentence.startswith("With 500 training pictures the MLP's dev loss is 0.200 against BERT's")
    assert "may be chance" not in sentence


def test_more_data_is_told_with_its_captions():
    sentences = conclude_limits(LimitsStudy.of(scaling({500: 0.1, 9000: 0.1})))
    (said,) = [s for s in sentences if s.startswith("From 500 to 9,000 training pictures MLP's loss")]
    assert "captions are wholly right in 90% against 5% of 400 pictures (+85 points" in said


def test_a_small_difference_of_captions_is_not_printed_as_none():
    runs = [run(1.0 + seed / 100, used_images=images, seed=seed, right=share)
            for images, share in ((300, 0.015), (9600, 0.0025)) for seed in range(3)]  # fmt: skip
    (said,) = [s for s in conclude_limits(LimitsStudy.of(runs)) if "are wholly right" in s]
    assert "are wholly right in 0.2% against 1.5% of 400 pictures (-1.2 points, -2.5 to -0.2)" in said


def test_losses_of_other_tokens_are_not_compared_without_a_word():
    models = ("data/models/tiny-gpt2-zh", "data/models/tiny-gpt2-en")
    runs = [run(loss, language_model=model) for loss, model in zip((1.0, 6.0), models, strict=True)]
    assert conclude_limits(LimitsStudy.of(runs))[0] == (
        "These runs differ in language_model: their losses are measured on other pictures or in other tokens, so that "
        "the lower one need not be the better."
    )
    assert not [s for s in conclude_limits(LimitsStudy.of(scaling({500: 0.1, 9000: 0.1}))) if "other tokens" in s]


def test_a_lead_that_differs_by_seed_may_be_chance():
    runs = [run(loss, mapping=mapping, used_images=images, seed=seed)
            for images, seed, mapping, loss in [
                (500, 0, "mlp", 1.0), (500, 0, "bert", 1.1), (500, 1, "mlp", 1.0), (500, 1, "bert", 1.3),
                (9000, 0, "mlp", 0.5), (9000, 0, "bert", 0.6), (9000, 1, "mlp", 0.5), (9000, 1, "bert", 0.55),
            ]]  # fmt: skip
    (sentence,) = [s for s in conclude_limits(LimitsStudy.of(runs)) if "the MLP's dev loss" in s]
    assert "which may be chance" in sentence


def test_the_bottleneck_is_named_with_its_attributes():
    headline, _, *rest = conclude_limits(LimitsStudy.of(factorial({"prefix": 0.8, "cross-attention": 0.9}, counts=0.7)))
    assert headline == (
        "The pooled vector limits these runs: in 2 of 2 comparisons grid has the lower dev loss "
        "(prefix: -0.080, 95 % interval -0.080 to -0.080; cross-attention: -0.040, 95 % interval -0.040 to -0.040)."
    )
    assert rest[0].startswith("With prefix, grid has a dev loss of 0.320 against 0.400 with pooled (difference -0.080")
    assert "name the count rightly in 70% against 50% of 400 pictures (+20 points" in rest[0]
    assert "objects" not in rest[0]


def test_no_difference_is_a_result():
    study = LimitsStudy.of(factorial({"prefix": 1.0, "cross-attention": 1.0}))
    headline, other, first, *_ = conclude_limits(study)
    assert answer_limits(study) == [headline, other]  # of the vector and of the bridge
    assert headline.startswith("The pooled vector does not limit these runs as far as they show")
    assert "prefix: +0.000, 95 % interval +0.000 to +0.000" in headline
    assert "may be chance" in first
    assert "no difference of captions is more than chance may do" in first


def test_which_bridge_is_told_by_tuning():
    runs = [run(loss * (1 + 0.001 * seed), tuning=tuning, bridge=bridge, seed=seed)
            for seed, (tuning, bridge, loss) in product(range(3), [
                ("frozen", "prefix", 0.5), ("frozen", "cross-attention", 0.4),
                ("full", "prefix", 0.3), ("full", "cross-attention", 0.4)])]  # fmt: skip
    headline = conclude_limits(LimitsStudy.of(runs))[0]
    assert headline == (
        "The prefix limits these runs: in 1 of 2 comparisons cross-attention has the lower dev loss (frozen: -0.101, "
        "95 % interval -0.100 to -0.100), in 1 of 2 cross-attention has the higher (full: +0.100, 95 % interval +0.100 "
        "to +0.100)."
    )


def test_equal_time_is_that_of_the_quickest_arm():
    study = LimitsStudy.of([run(0.4, seconds=40, bridge="cross-attention"), run(0.5, seconds=10, bridge="prefix")])
    costs = study.costs()
    assert costs["at equal time"].to_dict() == {"cross-attention": 1.6, "prefix": 0.5}
    (said,) = [s for s in conclude_limits(study) if s.startswith("After the 10 s")]
    assert "no longer leads: prefix does (0.500)" in said


def test_one_seed_is_said():
    sentences = conclude_limits(LimitsStudy.of([run(0.4, bridge="cross-attention"), run(0.5, bridge="prefix")]))
    assert any("one seed, so that an effect cannot be told from chance" in said for said in sentences)


def test_every_figure_is_drawn_for_every_kind_of_study():
    for runs in (scaling({500: 0.2, 9000: 0.1}), factorial({"prefix": 0.8, "cross-attention": 0.9})):
        study = LimitsStudy.of(runs)
        assert limits_figures.rate_curves(study).axes
        assert limits_figures.factorial_dots(study).axes
    assert limits_figures.attribute_bars(study).axes
    assert limits_figures.scaling_curves(LimitsStudy.of(scaling({500: 0.2, 9000: 0.1}))).axes
