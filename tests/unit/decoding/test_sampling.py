"""Greedy against transformers' `generate`, and what sampling may draw and does draw against its warpers."""

import math

import pytest
import torch
from oracles import FEATURES, KEYS, TWELVE, VOCABULARY, captioner, families, generate, tokens
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from clipcap_lib.decoding.decode import Constraints, decode
from clipcap_lib.decoding.sampling import draw, filtered
from clipcap_lib.decoding.strategies import Greedy, Sample


@families
@pytest.mark.parametrize("prefix_length", [1, 4, 10])
@pytest.mark.parametrize("batch", [1, 7, 32])
@torch.inference_mode()
def test_greedy_equals_generate(family, prefix_length, batch):
    model = captioner(family, prefix_length)
    ours = decode(model, FEATURES[:batch], Greedy(), TWELVE)
    assert tokens(ours) == generate(model, FEATURES[:batch], do_sample=False)
    if batch == 32:
        assert len({len(caption) for caption in tokens(ours)}) > 2, "the captions should stop at different lengths"


def warped(logits, strategy):
    """The distribution transformers draws from."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(strategy.temperature)])
    if strategy.top_k:
        warpers.append(TopKLogitsWarper(strategy.top_k))
    if strategy.top_p < 1:
        warpers.append(TopPLogitsWarper(strategy.top_p))
    if strategy.min_p:
        warpers.append(MinPLogitsWarper(strategy.min_p))
    if strategy.typical_p < 1:
        warpers.append(TypicalLogitsWarper(strategy.typical_p))
    return warpers(None, logits).softmax(-1)


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.8}, {"top_p": 0.3, "temperature": 1.7}, {"top_k": 7}, {"top_k": 20, "top_p": 0.6}, {"min_p": 0.1},
        {"typical_p": 0.7}, {"top_k": 30, "typical_p": 0.5}, {"top_p": 0.9, "min_p": 0.02}, {"top_k": 5000}, {},
    ],
    ids=str,
)  # fmt: skip
def test_the_filtered_distribution_is_that_of_the_library(options, scale):
    """Peaked rows are settled by the first tokens alone, flat ones need the whole vocabulary."""
    spread = scale * torch.linspace(0.2, 2, 50)[:, None]
    logits = torch.randn(50, 3000, generator=torch.Generator().manual_seed(7)) * spread
    logits[:, 5] = float("-inf")
    strategy = Sample(**options)
    ours = torch.full_like(logits, math.nan)
    for rows, scores, ids in filtered(logits.clone(), strategy):
        found = scores.softmax(-1)
        ours[rows] = found if ids is None else torch.zeros_like(logits[rows]).scatter_(1, ids, found)
    expected = warped(logits, strategy)
    assert torch.equal(ours > 0, expected > 0)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-4)


def test_ties_at_the_edge_of_top_k_stay_in_as_in_the_library():
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0, 0.0]])
    (settled, _, ids), (open_row, scores, every) = filtered(logits, Sample(top_k=2))
    assert settled.tolist() == [1]
    assert ids.tolist() == [[0, 1]]
    assert open_row.tolist() == [0]
    assert every is None
    assert torch.isfinite(scores).tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"top_k": 6}], ids=str)
def test_sampling_draws_from_the_distribution(options):
    """4,000 first tokens against the distribution: chi-square within six deviations of its mean."""
    model, n = captioner("gpt2"), 4000
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(0.1)
    try:
        strategy = Sample(n=n, **options)
        drawn = decode(model, FEATURES[:1], strategy, Constraints(max_new_tokens=1, stop_tokens=()))[0]
        with torch.inference_mode():
            logits = model.language_model(inputs_embeds=model.prefix(FEATURES[:1])).logits[:, -1].clone()
            logits[:, [0, 1]] = float("-inf")
            expected = warped(logits, strategy)[0].double() * n
    finally:
        with torch.no_grad():
            model.language_model.lm_head.weight.div_(0.1)
    observed = torch.bincount(torch.tensor([caption.tokens[0] for caption in drawn]), minlength=VOCABULARY)
    assert not observed[expected == 0].any()
    cells = expected >= 5
    statistic = ((observed[cells] - expected[cells]) ** 2 / expected[cells]).sum().item()
    freedom = int(cells.sum()) - 1
    assert freedom >= 3
    assert statistic < freedom + 6 * math.sqrt(2 * freedom)


def test_a_draw_is_the_inverse_of_the_cumulative_distribution():
    logits = torch.tensor([[0.5, 0.2, 0.3]]).log().repeat(4, 1)
    uniform = torch.tensor([0.0, 0.49, 0.6, 0.999], dtype=torch.float64)
    assert draw(logits, Sample(), uniform).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("options", [{"top_p": 0.9}, {"top_k": 7}, {"top_k": 30, "top_p": 0.6}], ids=str)
def test_a_draw_does_not_depend_on_the_other_rows(options):
    """Peaked rows are settled by their likeliest tokens; for a flat or a tied one the whole vocabulary is sorted."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(40, 3000, generator=generator) * torch.linspace(0.1, 8, 40)[:, None]
    logits[7, :40] = 30.0  # a tie at the edge of top-k and of the nucleus
    uniform, strategy = torch.rand(40, generator=generator, dtype=torch.float64), Sample(**options)
    together = draw(logits.clone(), strategy, uniform).tolist()
    alone = [draw(logits[i : i + 1].clone(), strategy, uniform[i : i + 1]).item() for i in range(40)]
    assert together == alone
    paths = {ids is None for rows, _, ids in filtered(logits.clone(), strategy) if len(rows)}
    assert paths == {True, False}, "some rows should need the whole vocabulary, and some not"


@pytest.mark.parametrize("options", [{"top_k": 50, "top_p": 0.9}, {"top_k": 50, "typical_p": 0.5}, {"top_k": 50}])
def test_ties_of_bfloat16_are_broken_alike_in_any_batch(options):
    generator = torch.Generator().manual_seed(5)
    logits = (torch.randn(1, 3000, generator=generator) * 2).bfloat16().float().repeat(200, 1)
    logits[0, :60] = 30.0  # more than k: this row needs the whole vocabulary
    uniform, strategy = torch.rand(200, generator=generator, dtype=torch.float64), Sample(**options)
    together = draw(logits.clone(), strategy, uniform)[1:].tolist()
    assert together == [draw(logits[i : i + 1].clone(), strategy, uniform[i : i + 1]).item() for i in range(1, 200)]


def test_captions_of_one_image_differ_and_do_not_depend_on_how_many_are_drawn():
    model = captioner("gpt2")
    three, five = (decode(model, FEATURES[:2], Sample(temperature=2.0, n=n), TWELVE, KEYS[:2]) for n in (3, 5))
    for few, many in zip(three, five, strict=True):
        assert {tuple(caption.tokens) for caption in few} <= {tuple(caption.tokens) for caption in many}
        assert len({tuple(caption.tokens) for caption in many}) > 1
