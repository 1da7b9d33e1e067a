"""The conclusion is arithmetic on the runs: checked on runs whose answer is known."""

from pathlib import Path

import pandas as pd
import pytest

from clipcap_lib.comparison import conclude, images_until, loss_table, shapley_shares, still_falling
from clipcap_lib.runs import Run, read_runs

LOSSES = {("mlp", "frozen"): 2.0, ("bert", "frozen"): 3.0, ("mlp", "full"): 1.0, ("bert", "full"): 1.2}


def run(mapping: str, tuning: str, dev: list[float], seed: int = 0) -> Run:
    rows = [(step, step * 10, step * 0.5, "dev", "loss", value) for step, value in enumerate(dev)]
    history = pd.DataFrame(rows, columns=["step", "images", "seconds", "split", "metric", "value"])
    params = {"mapping": mapping, "tuning": tuning, "seed": seed}
    return Run(Path(f"{mapping}-{tuning}-s{seed}"), params, {"best_dev_loss": min(dev)}, history, pd.DataFrame())


@pytest.fixture
def runs() -> list[Run]:
    return [run(mapping, tuning, [5.0, (5 + best) / 2, best]) for (mapping, tuning), best in LOSSES.items()]


def test_the_parts_sum_to_the_gap(runs):
    losses = loss_table(runs)
    mapping, tuning = shapley_shares(losses, ("bert", "frozen"), ("mlp", "full"))
    assert mapping == pytest.approx(((3.0 - 2.0) + (1.2 - 1.0)) / 2)
    assert tuning == pytest.approx(((3.0 - 1.2) + (2.0 - 1.0)) / 2)
    assert mapping + tuning == pytest.approx(3.0 - 1.0)


def test_the_conclusion_names_the_larger_part_and_the_faster_mapping(runs):
    sentences = conclude(runs)
    text = " ".join(sentences)
    assert sentences[0].startswith("Mostly tuning the language model: MLP with a tuned language model ends 2.000")
    assert "tuning the language model accounts for 1.400 (70%) of that" in sentences[0]
    assert "the mapping network accounts for 0.600 (30%) of that" in sentences[0]
    assert "Language model frozen: best dev loss in nats per token, lowest first: MLP 2.000, BERT 3.000" in text
    assert "One seed a run" in text


def test_parts_that_pull_apart_are_said_to():
    losses = {("mlp", "frozen"): 0.2, ("mlp", "full"): 0.1, ("bert", "frozen"): 0.3, ("bert", "full"): 0.5}
    found = conclude([run(mapping, tuning, [5.0, best]) for (mapping, tuning), best in losses.items()])[0]
    assert found.startswith("Mostly the mapping network: MLP with a tuned language model ends 0.200 nats below BERT")
    assert "the mapping network accounts for more than all of that (+0.250)" in found
    assert "tuning the language model, averaged over the two, worked against it (-0.050)" in found


def test_what_tuning_does_is_said_of_every_mapping_network(runs):
    assert conclude(runs)[1] == (
        "Tuning the language model lowers the loss of MLP (2.000 → 1.000), BERT (3.000 → 1.200)."
    )
    losses = {("mlp", "frozen"): 0.2, ("mlp", "full"): 0.1, ("bert", "frozen"): 0.3, ("bert", "full"): 0.5}
    assert conclude([run(mapping, tuning, [5.0, best]) for (mapping, tuning), best in losses.items()])[1] == (
        "Tuning the language model lowers the loss of MLP (0.200 → 0.100), and raises that of BERT (0.300 → 0.500)."
    )


def test_what_the_runs_do_not_hold_is_not_concluded():
    found = conclude([run("mlp", "full", [5.0, 0.1]), run("bert", "frozen", [5.0, 0.3])])
    assert not [sentence for sentence in found if "nan" in sentence or "reached" in sentence or "Mostly" in sentence]
    assert "Language model full: best dev loss in nats per token, lowest first: MLP 0.100." in found
    three = [("mlp", "full", 0.1), ("mlp", "frozen", 0.2), ("bert", "full", 0.3)]
    found = conclude([run(mapping, tuning, [5.0, best]) for mapping, tuning, best in three])
    assert found[0] == "Tuning the language model lowers the loss of MLP (0.200 → 0.100)."
    assert sum("reached" in sentence for sentence in found) == 1


def test_images_until_lies_on_the_curve_between_the_evaluations_around_it():
    slow = run("bert", "full", [8.0, 4.0, 2.0, 3.5, 1.0])
    assert images_until(slow, 4.0) == pytest.approx(10)
    assert images_until(slow, 8**0.5) == pytest.approx(15)
    assert images_until(slow, 2.0) == pytest.approx(20)
    assert 30 < images_until(slow, 1.5) < 40
    assert images_until(slow, 9.0) == 0
    assert images_until(slow, 0.5) is None


def test_speed_is_the_median_of_the_seeds():
    slow = [run("bert", "full", [5.0, 4.0, 3.0, 2.0], seed) for seed in range(3)]
    curves = [5.0, 2.0, 1.0, 0.5], [5.0, 4.0, 2.0, 0.5], [5.0, 4.0, 3.0, 2.0]  # there after 10, 20 and 30 images
    fast = [run("mlp", "full", dev, seed) for seed, dev in enumerate(curves)]
    text = " ".join(conclude(slow + fast))
    assert "MLP reached BERT's best dev loss (2.000) after about 20 images, BERT after 30" in text
    assert "MLP learned about 1.5 times as fast in images (median of 3 seeds, 1.0 to 3.0)" in text
    fast[1] = run("mlp", "full", [5.0, 4.0, 3.0, 2.5], 1)
    fast[0] = run("mlp", "full", [5.0, 0.5], 0)
    fast[2] = run("mlp", "full", [5.0, 0.5], 2)
    assert "MLP did not reach BERT's best dev loss with every seed" in " ".join(conclude(slow + fast))


def test_a_run_that_was_cut_off_while_learning_is_said_to_be(runs):
    assert still_falling(run("bert", "full", [5.0, 3.0, 2.0]))
    assert not still_falling(run("bert", "full", [5.0, 2.0, 1.99]))
    assert not still_falling(run("bert", "full", [5.0, 2.0, 3.0]))
    assert "Still learning when training ended" in " ".join(conclude(runs))
    done = [run("mlp", "full", [5.0, 1.0, 1.0]), run("bert", "full", [5.0, 2.0, 2.0])]
    assert "Still learning" not in " ".join(conclude(done))


def test_unfinished_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="half-done"):
        read_runs([str(tmp_path / "half-done")])
