"""What a word rests on: against differences of the model's own probabilities, one place after the other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clipcap_lib.analysis.states import next_token
from clipcap_lib.analysis.word_maps import in_places, word_maps

GRID = torch.randn(10, 16, generator=torch.Generator().manual_seed(5))
TOKENS = [6, 9, 6]
STEP = 0.02


def difference(model, place: int, number: int) -> float:
    """How the log-probability of a written token changes with the size of one place, by two readings."""
    found = []
    for size in (1 + STEP, 1 - STEP):
        grid = GRID.clone()
        grid[place] *= size
        token = model.tokenizer.convert_ids_to_tokens(TOKENS[number])
        found.append(float(np.log(next_token(model, grid, TOKENS[:number])[token])))
    return (found[0] - found[1]) / (2 * STEP)


def test_a_weight_is_the_change_of_the_log_probability_with_the_size_of_its_place(grid_model):
    weights = word_maps(grid_model, GRID, TOKENS)
    assert weights.shape == (3, 10)
    for number in range(3):
        expected = [abs(difference(grid_model, place, number)) for place in range(10)]
        assert weights[number].tolist() == pytest.approx(expected, rel=0.05, abs=0.01 * max(expected))


def test_behind_a_normalisation_the_map_is_of_what_the_mapping_network_reads(grid_model):
    expected = word_maps(grid_model, F.normalize(GRID, dim=-1), TOKENS)
    grid_model.config = grid_model.config.model_copy(update={"normalize": True})
    found = word_maps(grid_model, 3 * GRID, TOKENS)
    assert found.max() > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_run_without_places_says_so(make_model):
    with pytest.raises(ValueError, match="one vector of the whole picture, which has no places"):
        word_maps(make_model("mlp").eval(), torch.randn(16), TOKENS)


def test_places_are_a_square_and_a_class_token_has_none():
    numbered = torch.arange(10.0).repeat(2, 1)
    assert in_places(numbered)[1].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert in_places(numbered[:, :9])[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(ValueError, match="a grid of 7 tokens is no square"):
        in_places(numbered[:, :7])
