"""Alarms on runs made up to raise them, and on their like that must not."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from clipcap_lib.analysis import alarms
from clipcap_lib.decoding.decode import to_text
from clipcap_lib.runs import Run

DIFFERENT = [f"图{number}" for number in range(40)]


def run(dev: dict[int, float], train: dict[int, float] = {}, **params) -> Run:  # noqa: B006
    """A run by its losses at some steps; between them the train loss falls or rises evenly."""
    rows = [(step, "dev", value) for step, value in dev.items()]
    between = pd.Series(train, dtype=float).reindex(range(1, max(dev) + 1)).interpolate().dropna()
    rows += [(step, "train", value + 0.2 * (-1) ** step) for step, value in between.items()]  # every step its own noise
    history = pd.DataFrame(rows, columns=["step", "split", "value"]).assign(metric="loss")
    settings = {"mapping": "mlp", "tuning": "full", "seed": 0, "evaluate_every": 10, "keep": "best", "warmup_steps": 5}
    settings |= {"learning_rate": 2e-3} | params
    return Run(Path("mlp-full-s0"), settings, {"steps": max(dev)}, history, pd.DataFrame())


# --- captions ------------------------------------------------------------------------------------------------------


def naively_shared(texts: list[str]) -> float:
    pairs = list(combinations(texts, 2))
    return sum(one == other for one, other in pairs) / len(pairs)


@pytest.mark.parametrize("captions", [
    ["猫"] * 40, ["猫"] * 20 + ["狗"] * 20, ["猫"] * 22 + DIFFERENT[22:], ["猫", "猫"],
], ids=["one", "two", "one for more than half", "one for two"])  # fmt: skip
def test_captions_that_two_pictures_often_share_have_collapsed(captions):
    found = alarms.collapsed(captions, DIFFERENT[: len(captions)])
    assert found.startswith(
        f"collapsed: two test pictures have the same caption in {naively_shared(captions):.0%} of cases (the same "
        "reference in 0%); "
    )
    assert found.endswith(f"{captions.count('猫')} times “猫”")


@pytest.mark.parametrize(("captions", "references"), [
    (DIFFERENT, DIFFERENT),
    (["猫"] * 10 + DIFFERENT[10:], DIFFERENT),
    (["猫"] * 40, ["猫"] * 40),
    (["猫"] * 22 + ["狗"] * 18, ["狗"] * 21 + ["猫"] * 19),
    (["猫"], ["狗"]),
], ids=["all differ", "some are shared", "all pictures are one", "two kinds of pictures", "one picture"])  # fmt: skip
def test_captions_may_be_shared_as_often_as_references_are(captions, references):
    assert alarms.collapsed(captions, references) is None


# --- the picture ---------------------------------------------------------------------------------------------------


@pytest.fixture
def learned(make_model, make_split):
    """A captioner that knows the captions of twelve pictures by heart, and these."""
    model = make_model("mlp")
    split = make_split(model)
    features, packed = split.batch(split.images, [split.tokens.captions_of[i] for i in split.images], 3)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(features, packed).backward()
        optimizer.step()
    return model.eval(), split


def test_a_model_that_has_learned_its_pictures_is_told_from_one_whose_prefix_is_always_the_same(learned):
    model, split = learned
    assert alarms.ignores_pictures(model, split) is None
    with torch.no_grad():
        for weight in model.mapper.parameters():
            weight.zero_()
    own = alarms.dev_loss(model, split)
    assert alarms.ignores_pictures(model, split) == (
        f"ignores its pictures: over references of 12 test pictures the loss is {own:.3f} nats a token behind their "
        f"own features and {own:.3f} behind those of other pictures"
    )


def test_captions_that_change_with_the_features_may_still_ignore_the_picture(learned):
    """As where features and captions were put together wrongly: another picture's would fit better."""
    model, split = learned
    back = alarms._exchanged(split).features.rows.argsort()  # so that exchanging them puts it right
    wrong = replace(split, features=replace(split.features, rows=back))
    assert alarms.ignores_pictures(model, wrong).startswith("ignores its pictures")


def test_each_picture_gets_the_features_of_another(make_model, make_split):
    split = make_split(make_model())
    rows = alarms._exchanged(split).features.rows
    assert sorted(rows) == list(range(12))
    assert all(rows != split.features.rows)


def test_one_picture_has_none_to_be_exchanged_with(make_model, make_split):
    model = make_model()
    assert alarms.ignores_pictures(model, make_split(model, images=1)) is None


# --- training ------------------------------------------------------------------------------------------------------


def test_a_dev_loss_that_turns_up_while_the_train_loss_falls_is_over_fitting():
    turned = {"dev": {0: 4.0, 10: 2.0, 20: 1.0, 30: 1.2, 40: 1.5}, "train": {1: 3.9, 20: 1.0, 40: 0.6}}
    assert alarms.over_fitted(run(**turned)) == (
        "over-fitted: the dev loss rose from 1.000 at step 20 to 1.500 at step 40, the train loss fell from 1.687 to "
        "0.690 (means of 10 steps); the weights saved are those of step 20"
    )
    assert alarms.over_fitted(run(**turned, keep="last")).endswith("the last ones; keep: best keeps the best")


@pytest.mark.parametrize(("dev", "train"), [
    ({0: 4.0, 10: 2.0, 20: 1.0}, {1: 3.9, 20: 0.5}),
    ({0: 4.0, 10: 1.0, 20: 1.01}, {1: 3.9, 20: 0.5}),
    ({0: 4.0, 10: 1.0, 20: 1.5}, {1: 1.0, 10: 1.0, 20: 1.6}),
], ids=["it still fell", "it rose by less than 2 %", "the train loss rose as well"])  # fmt: skip
def test_what_is_no_over_fitting(dev, train):
    assert alarms.over_fitted(run(dev, train)) is None


def test_a_dev_loss_that_only_ever_rose_is_over_fitting_from_step_0():
    found = alarms.over_fitted(run({0: 1.0, 10: 1.1, 20: 1.3}, {1: 2.0, 20: 0.5}))
    assert "from 1.000 at step 0 to 1.300 at step 20" in found


@pytest.mark.parametrize(("steps", "warmup", "reached"), [
    (20, 80, "step 20 of 80, where the learning rate was 0.0005, 25% of its peak"),
    (20, 20, "step 20 of 20, where the learning rate was 0.002, 100% of its peak"),
])  # fmt: skip
def test_training_that_ends_in_its_warm_up(steps, warmup, reached):
    """The last of n steps had the rate of n / warm-up, as the schedule of `training` counts them."""
    assert alarms.only_warmed_up(run({steps: 1.0}, warmup_steps=warmup)) == (
        f"never left its warm-up: training ended at {reached}; lower warmup_steps or raise steps"
    )


@pytest.mark.parametrize("warmup", [0, 19])
def test_training_that_goes_on_after_its_warm_up(warmup):
    assert alarms.only_warmed_up(run({20: 1.0}, warmup_steps=warmup)) is None


# --- all of them ---------------------------------------------------------------------------------------------------


def test_every_alarm_of_every_run_is_told_with_its_name(learned):
    model, split = learned
    keys, captions = DIFFERENT[:12], [split.tokens.caption(row[0]) for row in split.tokens.captions_of]
    references = pd.Series({key: [to_text(model.tokenizer, ids)] for key, ids in zip(keys, captions, strict=True)})
    pictures = pd.DataFrame({"image_id": keys, "split": "test"})
    good = replace(run({0: 2.0, 20: 1.0}), captions=pictures.assign(caption=keys))
    settings = good.params | {"seed": 1, "warmup_steps": 40}
    bad = replace(good, folder=Path("mlp-full-s1"), captions=pictures.assign(caption="猫"), params=settings)
    corpus = SimpleNamespace(references=lambda: references, test_images=lambda count: pictures)
    results = SimpleNamespace(runs=[good, bad], corpus=corpus, models={"mlp-full-s0": model, "mlp-full-s1": model})
    results.features = lambda model, count: split.features.tensor()
    one, other = alarms.find_alarms(results)
    assert one.startswith("mlp, full, seed 1: collapsed: two test pictures have the same caption in 100% of cases")
    assert other.startswith("mlp, full, seed 1: never left its warm-up: training ended at step 20 of 40")
    assert one.endswith("12 times “猫”.")
    results.runs = [good]
    assert alarms.find_alarms(results) == []
