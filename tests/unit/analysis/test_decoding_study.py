"""What notebook 05 measures and concludes, against other metrics, naive intervals, and by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from clipcap_lib.analysis import decoding as study
from clipcap_lib.decoding.decode import Constraints
from clipcap_lib.metrics.reference import score, training_frequencies

FEATURES = torch.randn(6, 16, generator=torch.Generator().manual_seed(3))
KEYS = [f"image {number}" for number in range(6)]
CAPTIONS = pd.DataFrame({
    "image_id": ["a", "a", "b", "c"], "caption": ["一只猫", "一只狗", "一辆车", "一只猫"],
    "split": ["train", "train", "train", "test"],
})  # fmt: skip


@pytest.fixture
def model(make_model):
    return make_model("mlp").eval()


@pytest.fixture
def trial(model):
    return study.DecodingStudy(
        model=model, features=FEATURES, embeddings=FEATURES, keys=KEYS,
        references={key: ["一只猫在草地上", "一辆车"] for key in KEYS}, language="zh", judge=None,
        frequencies=training_frequencies(CAPTIONS, "jieba"),
        constraints=Constraints(max_new_tokens=8, min_new_tokens=8),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "forwards"), [("greedy", 8), ("beam width:3", 8), ("sample", 8), ("contrastive k:3 alpha:0.6", 9)]
)
def test_a_forward_a_token_and_one_more_to_look_ahead(trial, strategy, forwards):
    _, found, _ = study.try_strategy(trial, strategy)
    assert found["forwards a token"] == pytest.approx(forwards / 8)
    assert found["captions/s"] > 0


@pytest.mark.parametrize(
    ("seconds", "shortest"), [([0.5, 0.2, 0.4, 0.1], 0.2), ([2.0, 0.1], 2.0), ([0.7, 0.6, 0.1], 0.6)]
)
def test_the_shortest_of_three_passes_counts_and_none_begins_after_a_second(trial, monkeypatch, seconds, shortest):
    clock = itertools.accumulate(itertools.chain.from_iterable((0.0, passed) for passed in seconds))
    monkeypatch.setattr(study.time, "perf_counter", lambda: next(clock))
    _, found, _ = study.try_strategy(trial, "greedy")
    assert found["captions/s"] == pytest.approx(len(KEYS) / shortest)


def test_quality_is_that_of_the_best_captions(trial):
    best, found, cider = study.try_strategy(trial, "beam width:3 n:3")
    made = {key: caption.text for key, caption in zip(KEYS, best, strict=True)}
    expected = score(made, trial.references, "jieba", trial.frequencies, resamples=1).corpus
    assert found["CIDEr-D"] == pytest.approx(expected["CIDEr-D"])
    assert cider.index.tolist() == KEYS
    assert cider.mean() == pytest.approx(expected["CIDEr-D"])
    assert found.name == "beam width:3 n:3"
    assert "CLIPScore" not in found


def test_without_a_penalty_every_cell_of_the_grid_is_greedy(trial):
    grid = study.contrastive_grid(trial.first(4), [1, 3], [0.0, 0.9], ["distinct-2", "length"])
    _, greedy, _ = study.try_strategy(trial.first(4), "greedy")
    for metric, cells in grid.items():
        assert cells[0.0].tolist() == pytest.approx([greedy[metric]] * 2)
        assert cells.loc[1, 0.9] == pytest.approx(greedy[metric])


# --- what is concluded ---------------------------------------------------------------------------------------------


def tried(cider: dict[str, np.ndarray | list[float]], **columns: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of strategies that goes with their CIDEr-D by image, as `try_strategy` measures it."""
    by_image = pd.DataFrame(cider)
    other = {"distinct-2": [0.2] * len(cider), "captions/s": [50.0] * len(cider)} | columns
    return pd.DataFrame({"CIDEr-D": by_image.mean(), **other}, index=by_image.columns), by_image


def noise(seed: int, mean: float, images: int = 100) -> np.ndarray:
    """Scores around a mean that they meet exactly."""
    values = np.random.default_rng(seed).normal(0, 1, images)
    return values - values.mean() + mean


def naive_edges(difference: np.ndarray, share: float) -> list[float]:
    """A bootstrap over pictures, drawn one by one."""
    rng = np.random.default_rng(11)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(20_000)]
    return np.quantile(means, [(1 - share) / 2, (1 + share) / 2]).tolist()


def edges_in(text: str) -> list[float]:
    return [float(edge) for edge in text.split("interval ")[1].split(",")[0].rstrip(").").split(" to ")]


def test_nothing_is_clearly_better_where_the_interval_of_the_highest_holds_0():
    base = noise(0, 3.7)
    scores = {"greedy": base, "best-of-n n:8": base + noise(1, 0.12), "beam width:5": base + noise(2, -0.02)}
    headline, *rest = study.conclude(*tried(scores, **{"captions/s": [50.0, 10.0, 20.0]}))
    low, high = edges_in(headline)
    assert headline == (
        "Nothing is clearly better than greedy on 100 test pictures: best-of-n n:8 has the highest CIDEr-D, 3.82 "
        f"against 3.70, but the difference of +0.12 may be chance (interval {low:+.2f} to {high:+.2f}, 95 % for all 2 "
        "comparisons together, Bonferroni)."
    )
    assert [low, high] == pytest.approx(naive_edges(noise(1, 0.12), 0.975), abs=0.02)
    assert rest[0] == "greedy has a CIDEr-D of 3.70 at 50 captions a second."
    assert rest[1].startswith("best-of-n n:8 against greedy, picture by picture: CIDEr-D +0.12 (95 % interval")
    assert rest[1].endswith("so it may be chance), distinct-2 +0.0 points, at 0.20 of its speed.")
    assert len(rest) == 2


def test_what_is_clearly_better_and_what_is_clearly_worse_are_named():
    base = noise(0, 3.0)
    scores = {
        "greedy": base,
        "beam width:5": base + 0.5,
        "mbr n:8": base + 0.2,
        "sample": base - 1,
        "magic": base + noise(1, 0),
    }
    found = study.conclude(*tried(scores))
    assert found[:3] == [
        "Clearly better than greedy on 100 test pictures: beam width:5, CIDEr-D 3.50 against 3.00 (+0.50, interval "
        "+0.50 to +0.50) and mbr n:8, CIDEr-D 3.20 against 3.00 (+0.20, interval +0.20 to +0.20); intervals are 95 % "
        "for all 4 comparisons together, Bonferroni.",
        "Clearly worse: sample, CIDEr-D 2.00 against 3.00 (-1.00, interval -1.00 to -1.00).",
        "greedy has a CIDEr-D of 3.00 at 50 captions a second.",
    ]


def test_what_is_clear_alone_may_not_be_clear_among_many():
    # z = 2.2: outside of 95 %, inside of what ten comparisons leave each.
    rest = {f"sample top_k:{k}": noise(0, 3.0) for k in range(2, 11)}
    scores = {"greedy": noise(0, 3.0), "contrastive": noise(0, 3.0) + noise(1, 0.22) / noise(1, 0).std()}
    alone = study.conclude(*tried(scores))
    assert alone[0].startswith("Clearly better than greedy on 100 test pictures: contrastive")
    assert alone[0].endswith("; intervals are 95 %.")
    among = study.conclude(*tried(scores | rest))
    assert among[0].startswith("Nothing is clearly better than greedy")
    assert "95 % for all 10 comparisons together" in among[0]
    assert "not clear among 10 comparisons" in among[-1]
    assert "may be chance" not in among[-1]


def test_a_first_strategy_that_nothing_beats_is_the_highest_itself():
    base = noise(0, 3.0)
    headline, *rest = study.conclude(*tried({"greedy": base, "contrastive": base - noise(1, 0.1)}))
    assert headline == (
        "Nothing is clearly better than greedy on 100 test pictures: it has the highest CIDEr-D itself, 3.00."
    )
    assert len(rest) == 2
    assert rest[1].startswith("contrastive against greedy, picture by picture: CIDEr-D -0.10 (95 % interval -")


def test_few_pictures_rank_nothing():
    found = study.conclude(*tried({"greedy": [1.0] * 29, "contrastive": [2.0] * 29}))
    assert found == ["29 test pictures are too few to rank strategies: at least 30 are needed."]
    assert "Clearly better" in study.conclude(*tried({"greedy": [1.0] * 30, "contrastive": [2.0] * 30}))[0]


def test_wholly_right_captions_are_told_where_they_are_known():
    table, cider = tried({"greedy": [1.0] * 30, "contrastive": [1.5] * 30})
    sentence = study.conclude(table.assign(all=[0.7, 0.6]), cider)[-1]
    assert "wholly right captions -10.0 points" in sentence


def test_no_difference_has_no_sign_of_a_fall():
    scores = {"greedy": [1.0] * 30, "contrastive": [0.999] * 30}
    sentence = study.conclude(*tried(scores, **{"distinct-2": [0.2, 0.1999]}))[-1]
    assert "CIDEr-D +0.00 (95 % interval +0.00 to +0.00" in sentence
    assert "distinct-2 +0.0 points" in sentence


def test_differences_add_up_as_printed():
    base = noise(0, 3.004)
    headline = study.conclude(*tried({"greedy": base, "beam": base + 0.012}))[0]
    assert "beam, CIDEr-D 3.02 against 3.00 (+0.02" in headline  # unrounded, the difference is 0.01


def test_nothing_is_compared_with_itself():
    assert study.conclude(*tried({"greedy": [1.0] * 40})) == [
        "On 40 test pictures greedy, the only strategy tried, has a CIDEr-D of 1.00 at 50 captions a second."
    ]
    found = study.conclude(*tried({"contrastive": [1.0] * 40, "greedy": [0.9] * 40}))
    assert not [sentence for sentence in found if sentence.startswith("contrastive against")]
