"""What notebook 05 measures, against the whole model run without a cache, against other metrics, and by hand."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from clipcap_lib import decoding_study as study
from clipcap_lib.decoding import Caption, Constraints
from clipcap_lib.metrics import DocumentFrequencies, cider_agreement, score

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
    return study.Trial(
        model=model, features=FEATURES, keys=KEYS, references={key: ["一只猫在草地上", "一辆车"] for key in KEYS},
        language="zh", frequencies=study.training_frequencies(CAPTIONS, "jieba"), judge=None,
        constraints=Constraints(max_new_tokens=8, min_new_tokens=8),
    )  # fmt: skip


@torch.no_grad()
def uncached(model, feature, tokens):
    """transformers' own output for prefix and tokens: last hidden states and logits."""
    words = model.language_model.get_input_embeddings()(torch.tensor(tokens, dtype=torch.long))
    inputs = torch.cat([model.prefix(feature[None])[0], words])[None]
    output = model.language_model(inputs_embeds=inputs, output_hidden_states=True)
    return output.hidden_states[-1][0].double(), output.logits[0].double()


def test_similarity_is_the_cosine_of_the_last_hidden_states(model):
    tokens = [6, 7, 6]
    found = study.token_similarity(model, FEATURES[0], tokens)
    states = uncached(model, FEATURES[0], tokens)[0][model.config.prefix_length :]
    for row, column in itertools.product(range(3), repeat=2):
        expected = torch.cosine_similarity(states[row], states[column], dim=0).item()
        assert found[row, column] == pytest.approx(expected, abs=1e-5)


def test_isotropy_is_one_less_the_mean_cosine_of_different_tokens(model):
    captions = [Caption(tokens=[6, 7, 8]), Caption(tokens=[9]), Caption(tokens=[10, 11])]
    means = []
    for number in (0, 2):  # a single token resembles no other
        states = uncached(model, FEATURES[number], captions[number].tokens)[0][model.config.prefix_length :]
        pairs = itertools.combinations(states, 2)
        means.append(np.mean([torch.cosine_similarity(one, other, dim=0).item() for one, other in pairs]))
    assert study.isotropy(model, FEATURES[:3], captions) == pytest.approx(1 - np.mean(means), abs=1e-5)
    assert math.isnan(study.isotropy(model, FEATURES[:1], [Caption(tokens=[9])]))


def test_the_next_token_is_distributed_as_the_model_says(model):
    found = study.next_token(model, FEATURES[0], [6, 7])
    expected = uncached(model, FEATURES[0], [6, 7])[1][-1].softmax(-1)
    assert found.is_monotonic_decreasing
    assert found.sum() == pytest.approx(1, abs=1e-5)
    for token in (5, 9, 20):
        assert found[model.tokenizer.convert_ids_to_tokens(token)] == pytest.approx(expected[token].item(), abs=1e-6)


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


def test_words_are_weighed_by_training_captions_alone():
    frequencies = study.training_frequencies(CAPTIONS, "char")
    assert frequencies.images == 2
    assert (frequencies.counts[("猫",)], frequencies.counts[("一",)], frequencies.counts[("草",)]) == (1, 2, 0)
    by_hand = DocumentFrequencies.of([[["一只", "猫"], ["一只", "狗"]], [["一辆车"]]])
    texts = ["一只猫", "一只狗", "一辆车"]
    assert cider_agreement(by_hand, "jieba")(texts) == study.training_agreement(CAPTIONS, "zh")(texts)


def strategies(**rows):
    columns = ["CIDEr-D", "distinct-2", "captions/s"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns)


def by_image(**scores):
    return pd.DataFrame(scores)


def test_the_conclusion_names_the_best_and_measures_contrastive_search_by_the_first():
    table = strategies(greedy=(1.0, 0.2, 50), beam=(1.5, 0.1, 20), contrastive=(0.9, 0.3, 25), sample=(0.8, 0.3, 40))
    sentences = study.conclude(table, by_image(greedy=[0.0, 2.0], beam=[0.5, 2.5], contrastive=[1.8, 0.0]))
    assert sentences == [
        "On 2 test pictures, beam has the highest CIDEr-D, 1.50, at 20 captions a second.",
        "greedy: CIDEr-D 1.00 at 50 captions a second.",
        "beam against greedy, picture by picture: CIDEr-D +0.50 (95 % interval +0.50 to +0.50), "
        "distinct-2 -10.0 points, at 0.40 of its speed.",
        "contrastive against greedy, picture by picture: CIDEr-D -0.10 (95 % interval -2.00 to +1.80, so it may be "
        "chance), distinct-2 +10.0 points, at 0.50 of its speed.",
    ]


def test_wholly_right_captions_are_told_where_they_are_known():
    table = strategies(greedy=(1.0, 0.2, 50), contrastive=(1.5, 0.2, 50)).assign(all=[0.7, 0.6])
    sentence = study.conclude(table, by_image(greedy=[1.0, 1.0], contrastive=[1.5, 1.5]))[-1]
    assert "wholly right captions -10.0 points" in sentence


def test_no_difference_has_no_sign_of_a_fall():
    table = strategies(greedy=(1.0, 0.2, 50), contrastive=(0.999, 0.1999, 25))
    sentence = study.conclude(table, by_image(greedy=[1.0, 1.0], contrastive=[0.999, 0.999]))[-1]
    assert "CIDEr-D +0.00 (95 % interval +0.00 to +0.00), distinct-2 +0.0 points" in sentence


def test_nothing_is_compared_with_itself():
    cider = by_image(greedy=[1.0, 0.8], contrastive=[1.0, 1.0])
    assert len(study.conclude(strategies(greedy=(1.0, 0.2, 50)), cider)) == 1
    assert len(study.conclude(strategies(contrastive=(1.0, 0.2, 50), greedy=(0.9, 0.2, 50)), cider)) == 1
