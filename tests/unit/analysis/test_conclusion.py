"""The conclusion is arithmetic on the runs: checked on made-up runs whose answer is known, sentence by sentence."""

import math
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from made_up_runs import RATES, run

from clipcap_lib.analysis.conclusion import conclude
from clipcap_lib.analysis.loss_curves import still_falling
from clipcap_lib.runs import Run

PUBLISHED = {
    ("mlp", "frozen"): 0.232, ("mlp", "full"): 0.186, ("bert", "frozen"): 0.359, ("bert", "full"): 0.433,
    ("transformer", "frozen"): 0.253, ("transformer", "full"): 0.232,
}  # fmt: skip
ONE_SEED = (
    "This rests on one seed, so an effect cannot be told from chance, and on one learning rate for all runs, "
    "which need not suit each equally"
)


def grid(losses: dict[tuple[str, str], float | list[float]]) -> list[Run]:
    """Runs that had learned all they could; a list of losses is one a seed."""
    return [
        run(*cell, [5.0, loss, loss], seed)
        for cell, found in losses.items()
        for seed, loss in enumerate(found if isinstance(found, list) else [found])
    ]


def two_by_two(*losses: float | list[float]) -> list[Run]:
    """MLP frozen and full, BERT frozen and full."""
    cells = ("mlp", "frozen"), ("mlp", "full"), ("bert", "frozen"), ("bert", "full")
    return grid(dict(zip(cells, losses, strict=True)))


# --- one seed ------------------------------------------------------------------------------------------------------


def test_the_headline_ranks_and_the_next_sentence_qualifies():
    falling = [run(*cell, [5.0, 2 * loss, loss]) for cell, loss in PUBLISHED.items()]
    assert conclude(falling)[:5] == [
        "MLP is ahead of BERT under either tuning: dev loss 0.232 against 0.359 with the language model frozen, "
        "0.186 against 0.433 with it tuned.",
        f"{ONE_SEED}; all 6 runs were still learning when training ended.",
        "Mapping networks, lowest dev loss (nats per token) first: MLP 0.232, the transformer 0.253, BERT 0.359 "
        "with the language model frozen; MLP 0.186, the transformer 0.232, BERT 0.433 with it tuned.",
        "In these runs the effect of tuning the language model depends on the mapping network: it lowers the loss of "
        "MLP by 0.046 (0.232 → 0.186) and of the transformer by 0.021 (0.253 → 0.232), and raises that of BERT by "
        "0.074 (0.359 → 0.433); its effects on MLP and BERT differ by 0.120.",
        "The published comparison changes two things at once: from BERT, frozen, to MLP, tuned, the loss falls by "
        "0.173. Changing the mapping network first lowers it by 0.127 and tuning then lowers it by 0.046; the other "
        "way round, tuning BERT first raises it by 0.074 and changing to MLP then lowers it by 0.247.",
    ]


def test_an_order_that_differs_between_tunings_is_said_to():
    assert conclude(two_by_two(0.2, 0.5, 0.3, 0.4))[0] == (
        "Which of MLP and BERT is ahead depends on the tuning: MLP is ahead with the language model frozen, dev loss "
        "0.200 against 0.300; BERT is ahead with it tuned, dev loss 0.400 against 0.500."
    )


def test_a_pure_main_effect_is_said_plainly():
    found = conclude(two_by_two(0.3, 0.2, 0.402, 0.3))
    assert found[2] == (
        "In these runs tuning the language model does about the same to MLP and BERT: it lowers the loss of MLP by "
        "0.100 (0.300 → 0.200) and of BERT by 0.102 (0.402 → 0.300); its effects on MLP and BERT differ by 0.002."
    )
    assert "depends" not in " ".join(found)


def test_a_pure_interaction_has_no_average():
    found = conclude(two_by_two(0.4, 0.3, 0.4, 0.5))
    assert found[2] == (
        "In these runs the effect of tuning the language model depends on the mapping network: it lowers the loss of "
        "MLP by 0.100 (0.400 → 0.300), and raises that of BERT by 0.100 (0.400 → 0.500); its effects on MLP and BERT "
        "differ by 0.200."
    )
    assert found[0] == (
        "MLP is not clearly ahead of BERT under every tuning: which is ahead may be chance with the language model "
        "frozen, dev loss MLP 0.400 against BERT 0.400; MLP is ahead with it tuned, dev loss 0.300 against 0.500."
    )
    assert "Mostly" not in " ".join(found)
    assert "averag" not in " ".join(found)


def test_one_seed_does_not_tell_effects_of_like_size_apart():
    assert conclude(two_by_two(2.0, 1.0, 3.0, 1.2))[2] == (
        "Tuning the language model lowers the loss of MLP by 1.000 (2.000 → 1.000) and of BERT by 1.800 "
        "(3.000 → 1.200); its effects on MLP and BERT differ by 0.800, which one seed cannot tell from chance."
    )


def test_effects_that_are_next_to_nothing_are_no_interaction_though_their_signs_differ():
    assert conclude(two_by_two(0.3, 0.299, 0.4, 0.401))[2] == (
        "Tuning the language model has an effect that may be chance on the loss of MLP (0.300 → 0.299) and of BERT "
        "(0.400 → 0.401); its effects on MLP and BERT differ by 0.002, which one seed cannot tell from chance."
    )


def test_effects_that_may_be_chance_are_not_called_the_same():
    sentence = conclude(two_by_two(0.987, 0.962, 0.995, 0.970))[2]
    assert sentence.startswith("Tuning the language model has an effect that may be chance on the loss of MLP")
    assert sentence.endswith("differ by 0.000, which one seed cannot tell from chance.")


def test_one_seed_gives_no_winner_where_the_losses_are_nearly_the_same():
    found = conclude(grid({("mlp", "full"): 0.891, ("bert", "full"): 0.893, ("transformer", "full"): 0.95}))
    assert found[0] == (
        "Which of MLP and BERT is ahead may be chance: dev loss MLP 0.891 against BERT 0.893 with the language model "
        "tuned."
    )
    assert "MLP 0.891, BERT 0.893 (the gap to MLP may be chance), the transformer 0.950 with" in found[2]


def test_differences_add_up_as_printed():
    # Unrounded, the gap is 0.1732 and would be printed beside 0.359 and 0.186 all the same; the steps would not add up.
    text = " ".join(conclude(two_by_two(0.2324, 0.1862, 0.3594, 0.4334)))
    assert "0.232 → 0.186" in text
    assert "MLP by 0.046" in text
    assert "BERT by 0.074" in text
    assert "falls by 0.173" in text
    assert "lowers it by 0.127 and tuning then lowers it by 0.046" in text
    assert "raises it by 0.074 and changing to MLP then lowers it by 0.247" in text


def test_learning_rates_that_differ_are_named():
    runs = [
        run("mlp", "full", [5.0, 0.1, 0.1]),
        run("bert", "full", [5.0, 0.2, 0.2], rates={**RATES, "learning_rate": 1}),
    ]
    assert conclude(runs)[1] == (
        "This rests on one seed, so an effect cannot be told from chance, and on learning rates that differ between "
        "the runs."
    )


# --- several seeds -------------------------------------------------------------------------------------------------


def test_three_seeds_are_paired_and_give_intervals():
    found = conclude(two_by_two([0.2, 0.21, 0.22], [0.1, 0.11, 0.12], [0.3, 0.32, 0.34], [0.5, 0.51, 0.52]))
    # MLP and BERT, frozen: differences 0.10, 0.11, 0.12; mean 0.11, sd 0.01: ± 4.303 · 0.01 / √3 = 0.0248.
    assert found[0] == (
        "MLP is ahead of BERT under either tuning: dev loss 0.210 against 0.320 with the language model frozen "
        "(difference 0.110, 95 % interval 0.085 to 0.135), 0.110 against 0.510 with it tuned (difference 0.400, "
        "95 % interval 0.400 to 0.400)."
    )
    assert found[1] == (
        "This rests on 3 seeds (means, with 95 % t-intervals of differences paired by seed), and on one learning "
        "rate for all runs, which need not suit each equally."
    )
    assert found[2] == (
        "The effect of tuning the language model depends on the mapping network: it lowers the loss of MLP by 0.100 "
        "(0.210 → 0.110, 95 % interval 0.100 to 0.100), and raises that of BERT by 0.190 (0.320 → 0.510, 95 % "
        "interval 0.165 to 0.215); its effects on MLP and BERT differ by 0.290 (95 % interval 0.265 to 0.315)."
    )
    assert "loss falls by 0.210 (95 % interval 0.185 to 0.235)" in found[3]


def test_a_tie_within_the_interval_is_not_a_win():
    found = conclude(two_by_two([0.2, 0.25, 0.21], [0.1, 0.15, 0.14], [0.22, 0.21, 0.26], [0.13, 0.12, 0.17]))
    low, high = by_hand([0.02, -0.04, 0.05])
    assert found[0] == (
        f"Which of MLP and BERT is ahead may be chance under either tuning: dev loss MLP 0.220 against BERT 0.230 with "
        f"the language model frozen (difference 0.010, 95 % interval {low:.3f} to {high:.3f}), MLP 0.130 against BERT "
        f"0.140 with it tuned (difference 0.010, 95 % interval -0.076 to 0.096)."
    )
    assert "ahead of BERT" not in found[0]


def by_hand(differences: list[float]) -> tuple[float, float]:
    half = 4.303 * stdev(differences) / math.sqrt(3)
    return mean(differences) - half, mean(differences) + half


def test_a_win_under_one_tuning_and_a_tie_under_the_other_are_told_apart():
    found = conclude(two_by_two([0.2, 0.21, 0.22], [0.1, 0.15, 0.14], [0.3, 0.31, 0.32], [0.13, 0.12, 0.17]))
    assert found[0] == (
        "MLP is not clearly ahead of BERT under every tuning: MLP is ahead with the language model frozen, dev loss "
        "0.210 against 0.310 (difference 0.100, 95 % interval 0.100 to 0.100); which is ahead may be chance with "
        "it tuned, dev loss MLP 0.130 against BERT 0.140 (difference 0.010, 95 % interval -0.076 to 0.096)."
    )


def test_seeds_tell_a_main_effect_from_one_that_they_cannot_judge():
    same = conclude(two_by_two([0.3, 0.31, 0.32], [0.2, 0.21, 0.22], [0.4, 0.41, 0.42], [0.3, 0.311, 0.319]))[2]
    low, high = by_hand([0.0, 0.001, -0.001])
    assert same.endswith(f"; its effects on MLP and BERT differ by 0.000 (95 % interval {low:.3f} to {high:.3f}).")
    assert same.startswith(
        "Tuning the language model does about the same to MLP and BERT: it lowers the loss of MLP by"
    )
    unclear = conclude(two_by_two([0.3, 0.31, 0.32], [0.2, 0.21, 0.22], [0.4, 0.41, 0.42], [0.2, 0.35, 0.32]))[2]
    low, high = by_hand([-0.2, -0.06, -0.1])
    assert (
        "has an effect that may be chance on that of BERT (0.410 → 0.290, change -0.120, 95 % interval "
        f"{low:+.3f} to {high:+.3f})" in unclear
    )
    low, high = by_hand([0.1, -0.04, 0.0])
    assert unclear.endswith(
        f"effects on MLP and BERT differ by 0.020, which may be chance (95 % interval {low:.3f} to {high:.3f})."
    )


def test_neighbours_in_the_ranking_that_may_be_level_are_marked():
    losses = {
        ("mlp", "full"): [0.1, 0.2, 0.15],
        ("transformer", "full"): [0.17, 0.15, 0.16],
        ("bert", "full"): [0.4] * 3,
    }
    assert conclude(grid(losses))[2] == (
        "Mapping networks, lowest dev loss (nats per token) first: MLP 0.150, the transformer 0.160 (the gap to MLP "
        "may be chance), BERT 0.400 with the language model tuned."
    )


# --- incomplete grids ----------------------------------------------------------------------------------------------


def test_what_the_runs_do_not_hold_is_not_concluded():
    found = conclude(grid({("mlp", "full"): 0.1, ("bert", "frozen"): 0.3}))
    assert found == [
        "MLP and BERT have no tuning and seed in common, so these runs cannot compare them.",
        f"{ONE_SEED}.",
        "Mapping networks, lowest dev loss (nats per token) first: BERT 0.300 with the language model frozen; "
        "MLP 0.100 with it tuned.",
    ]


def test_three_of_four_cells_give_one_comparison_and_one_effect():
    found = conclude(grid({("mlp", "full"): 0.1, ("mlp", "frozen"): 0.2, ("bert", "full"): 0.3}))
    assert found[0] == "MLP is ahead of BERT: dev loss 0.100 against 0.300 with the language model tuned."
    assert "Tuning the language model lowers the loss of MLP by 0.100 (0.200 → 0.100)." in found
    assert sum("reached" in sentence for sentence in found) == 1
    assert "published" not in " ".join(found)


def test_other_mapping_networks_and_lora_are_ranked():
    losses = {
        ("transformer", "frozen"): 0.4,
        ("transformer", "lora"): 0.3,
        ("linear", "frozen"): 0.6,
        ("linear", "lora"): 0.5,
    }
    found = conclude(grid(losses))
    assert found[0] == (
        "Mapping networks, lowest dev loss (nats per token) first: the transformer 0.400, the linear mapping "
        "0.600 with the language model frozen; the transformer 0.300, the linear mapping 0.500 with it tuned by LoRA."
    )
    assert found[2] == (
        "In these runs tuning the language model by LoRA does about the same to the transformer and the linear "
        "mapping: it lowers the loss of the transformer by 0.100 (0.400 → 0.300) and of the linear mapping by 0.100 "
        "(0.600 → 0.500); its effects on the transformer and the linear mapping differ by 0.000."
    )


def test_three_tunings_are_each_measured_from_the_first():
    cells = [(mapping, tuning) for mapping in ("mlp", "bert") for tuning in ("frozen", "lora", "full")]
    found = conclude(grid(dict(zip(cells, [0.3, 0.25, 0.2, 0.4, 0.35, 0.3], strict=True))))
    assert "under every tuning: dev loss 0.300 against 0.400 with the language model frozen" in found[0]
    assert [sentence.split(" does")[0] for sentence in found if " lowers the loss of" in sentence] == [
        "In these runs tuning the language model by LoRA", "In these runs tuning the language model",
    ]  # fmt: skip


def test_a_single_run_and_runs_that_diverged_conclude_nothing():
    (only, basis) = conclude(grid({("mlp", "full"): 0.1}))
    assert only == "Mapping networks, lowest dev loss (nats per token) first: MLP 0.100 with the language model tuned."
    assert basis == "This rests on one seed, so an effect cannot be told from chance."
    broken = [run("mlp", "full", [math.nan, math.nan]), run("bert", "full", [math.inf])]
    assert conclude(broken) == ["No run has a finite dev loss, so nothing can be concluded."]
    text = " ".join(conclude([*broken[:1], *grid({("bert", "full"): 0.2, ("bert", "frozen"): 0.3})]))
    assert "nan" not in text
    assert "MLP 0" not in text


def test_only_seeds_that_both_have_are_compared():
    found = conclude(grid({("mlp", "full"): [0.1, 0.2, 0.3], ("bert", "full"): [0.4]}))
    assert found[0] == "MLP is ahead of BERT: dev loss 0.100 against 0.400 with the language model tuned."
    assert found[1].startswith(
        "This rests on 1 to 3 seeds (means, with 95 % t-intervals of differences paired by seed;"
    )


# --- speed ---------------------------------------------------------------------------------------------------------


def test_speed_says_where_its_number_comes_from_and_how_coarse_that_is():
    slow, fast = run("bert", "full", [5.0, 4.0, 3.0, 2.0]), run("mlp", "full", [5.0, 2.2, 1.0, 0.5])
    for one in (slow, fast):
        one.history["images"] = one.history["step"] * 5440
    exact = 5440 * (1 + math.log(2.2 / 2.0) / math.log(2.2))
    assert f"{exact:.0f}" == "6098"
    assert conclude([slow, fast])[-1] == (
        "With the language model tuned, MLP reached BERT's best dev loss (2.000) after about 6,100 images, read off "
        "between evaluations 5,440 images apart as if the logarithm of the loss fell evenly, and BERT after 16,320: "
        "MLP learned about 2.7 times as fast in images."
    )


def test_speed_is_the_median_of_the_seeds():
    slow = [run("bert", "full", [5.0, 4.0, 3.0, 2.0], seed) for seed in range(3)]
    curves = [5.0, 2.0, 1.0, 0.5], [5.0, 4.0, 2.0, 0.5], [5.0, 4.0, 3.0, 2.0]  # there after 10, 20 and 30 images
    fast = [run("mlp", "full", dev, seed) for seed, dev in enumerate(curves)]
    sentence = conclude(slow + fast[::-1])[-1]  # paired by seed, in whatever order they come
    assert "MLP reached BERT's best dev loss (2.000) after about 20 images" in sentence
    assert (
        "and BERT after 30: MLP learned about 1.5 times as fast in images (median of 3 seeds, 1.0 to 3.0)" in sentence
    )
    fast[1] = run("mlp", "full", [5.0, 4.0, 3.0, 2.5], 1)
    fast[0] = run("mlp", "full", [5.0, 0.5], 0)
    fast[2] = run("mlp", "full", [5.0, 0.5], 2)
    assert "MLP did not reach BERT's best dev loss (2.000) with every seed." in " ".join(conclude(slow + fast))


@pytest.mark.parametrize(
    ("fast", "said"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], "MLP learned about as fast as BERT in images."),
        ([5.0, 4.9, 4.8, 4.7, 1.0], "MLP needed about 1.2 times as many images."),
        ([1.0, 0.9, 0.8], "MLP was below BERT's best dev loss (2.000) at its first evaluation."),
    ],
)
def test_speed_in_other_cases(fast, said):
    found = conclude([run("bert", "full", [5.0, 4.0, 3.0, 2.0]), run("mlp", "full", fast)])
    assert found[-1].endswith(said)


def test_a_run_that_never_learned_has_no_speed():
    found = conclude([run("bert", "full", [3.0, 4.0]), run("mlp", "full", [5.0, 2.0])])
    assert found[-1] == "With the language model tuned, BERT never got below the loss it started with."


def test_a_run_that_was_cut_off_while_learning_is_said_to_be():
    assert still_falling(run("bert", "full", [5.0, 3.0, 2.0]))
    assert not still_falling(run("bert", "full", [5.0, 2.0, 1.99]))
    assert not still_falling(run("bert", "full", [5.0, 2.0, 3.0]))
    some = [run("mlp", "full", [5.0, 1.0, 1.0]), run("bert", "full", [5.0, 3.0, 2.0])]
    assert conclude(some)[1].endswith("equally; still learning when training ended: BERT (tuned).")
    assert "till learning" not in " ".join(conclude(two_by_two(0.1, 0.2, 0.3, 0.4)))


# --- loss and captions ---------------------------------------------------------------------------------------------


def right(share: float, pictures: int, judged: int | None = None, measure: str = "relation") -> pd.DataFrame:
    """A share of pictures is right in a measure; the others of those judged are wrong."""
    judged = judged or pictures
    values = [float(number < round(share * judged)) for number in range(judged)] + [math.nan] * (pictures - judged)
    return pd.DataFrame({measure: values}, index=[f"{number}.jpg" for number in range(pictures)])


def naive_interval(before: pd.DataFrame, after: pd.DataFrame, measure: str) -> tuple[float, float]:
    """A bootstrap over pictures, drawn one by one."""
    difference = (after[measure] - before[measure]).dropna().to_numpy()
    rng = np.random.default_rng(7)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(4000)]
    return tuple(np.quantile(means, [0.025, 0.975]))


def printed_interval(sentence: str) -> list[float]:
    return [float(edge) for edge in sentence.split("95 % interval ")[1].removesuffix(").").split(" to ")]


def test_loss_and_captions_that_disagree_have_a_sentence_behind_the_headline():
    runs = grid({("transformer", "frozen"): 0.253, ("transformer", "full"): 0.232})
    scores = [right(0.954, 500, 131), right(0.623, 500, 131)]
    found = conclude(runs, scores)
    assert found[2].startswith(
        "Loss and captions disagree: tuning the language model lowers the transformer's loss (0.253 → 0.232), yet its "
        "captions name the relation rightly less often (95 → 63 % of the 131 test pictures where it is judged; "
        "difference -32 points, 95 % interval "
    )
    expected = [100 * edge for edge in naive_interval(*scores, "relation")]
    assert printed_interval(found[2]) == pytest.approx(expected, abs=1.6)
    assert not [sentence for sentence in conclude(runs) if "disagree" in sentence]


def test_two_mapping_networks_may_disagree_too():
    runs = grid({("mlp", "full"): 0.186, ("bert", "full"): 0.433})
    cider = [pd.DataFrame({"CIDEr-D": np.full(40, value)}, index=map(str, range(40))) for value in (3.39, 3.27)]
    assert conclude(runs, cider[::-1])[2] == (
        "Loss and captions disagree: with the language model tuned, MLP's loss is lower than BERT's (0.186 against "
        "0.433), yet its captions have a lower CIDEr-D (3.27 against 3.39 on 40 test pictures; difference -0.12, 95 % "
        "interval -0.12 to -0.12)."
    )
    assert "disagree" not in " ".join(conclude(runs, cider))


def test_which_loss_is_lower_is_asked_of_the_seeds_that_both_have():
    runs = grid({("mlp", "full"): [0.6, 0.1, 0.1], ("bert", "full"): [0.5]})
    scores = [right(0.9, 100), right(0.1, 100), right(0.1, 100), right(0.5, 100)]
    (sentence,) = [sentence for sentence in conclude(runs, scores) if "disagree" in sentence]
    assert (
        "BERT's loss is lower than MLP's (0.500 against 0.600), yet its captions name the relation rightly less "
        in sentence
    )
    assert "(50 against 90 % of 100 test pictures" in sentence


def test_a_higher_loss_with_better_captions_is_a_disagreement():
    runs = grid({("bert", "frozen"): 0.359, ("bert", "full"): 0.433})
    found = conclude(runs, [right(0.5, 200, measure="all"), right(0.9, 200, measure="all")])[2]
    assert found.startswith(
        "Loss and captions disagree: tuning the language model raises BERT's loss (0.359 → 0.433), yet its captions "
        "are wholly right more often (50 → 90 % of 200 test pictures; difference +40 points, 95 % interval +"
    )


def test_the_three_clearest_measures_of_a_pair_are_named():
    shares = {
        "objects": (0.9, 0.5),
        "count": (0.9, 0.3),
        "background": (0.9, 0.1),
        "all": (0.9, 0.7),
        "size": (0.5, 0.9),
    }
    before, after = (
        pd.concat([right(pair[which], 300, measure=name) for name, pair in shares.items()], axis=1) for which in (0, 1)
    )
    (sentence,) = [
        sentence
        for sentence in conclude(grid({("mlp", "frozen"): 0.3, ("mlp", "full"): 0.2}), [before, after])
        if "disagree" in sentence
    ]
    order = [sentence.find(name) for name in ("background", "count", "objects")]
    assert -1 not in order
    assert order == sorted(order)
    assert "wholly right" not in sentence
    assert "size" not in sentence


@pytest.mark.parametrize(
    ("before", "after"),
    [(right(1.0, 29), right(0.0, 29)), (right(0.52, 200), right(0.50, 200)[::-1].set_axis(right(0, 200).index)),
     (right(1.0, 500, 29), right(0.0, 500, 29)), (right(0.5, 200), right(0.9, 200))],
    ids=["few pictures", "within the interval", "few judged", "they agree"],
)  # fmt: skip
def test_captions_that_do_not_clearly_disagree_are_not_mentioned(before, after):
    runs = grid({("mlp", "frozen"): 0.3, ("mlp", "full"): 0.2})
    assert "disagree" not in " ".join(conclude(runs, [before, after]))


def test_a_picture_is_averaged_over_the_seeds_and_an_unclear_loss_contradicts_nothing():
    runs = grid({("mlp", "frozen"): [0.30, 0.31, 0.32], ("mlp", "full"): [0.20, 0.21, 0.22]})
    frozen = [right(share, 100) for share in (0.9, 0.8, 1.0)]
    full = [right(share, 100) for share in (0.5, 0.4, 0.6)]
    (sentence,) = [sentence for sentence in conclude(runs, frozen + full) if "disagree" in sentence]
    assert "(90 → 50 % of 100 test pictures; difference -40 points" in sentence
    expected = [100 * edge for edge in naive_interval(*(sum(tables) / 3 for tables in (frozen, full)), "relation")]
    assert printed_interval(sentence) == pytest.approx(expected, abs=1.6)
    level = grid({("mlp", "frozen"): [0.30, 0.21, 0.32], ("mlp", "full"): [0.20, 0.31, 0.22]})
    assert "disagree" not in " ".join(conclude(level, frozen + full))
