"""What a linear classifier reads off embeddings, against the closed form and known answers."""

import pandas as pd
import pytest
import torch

from clipcap_lib.emoji.language import Group, Scene
from clipcap_lib.emoji.probing import RIDGE, linear_probe, probe_table


def closed_form(train, labels, test):
    """The solution of the normal equations, features scaled by their unbiased standard deviation."""
    mean, deviation = train.double().mean(0), train.double().std(0).clamp(min=1e-6)
    x, unseen = ((part.double() - mean) / deviation for part in (train, test))
    numbers, names = labels.factorize(sort=True)
    y = torch.nn.functional.one_hot(torch.from_numpy(numbers)).double()
    weights = torch.linalg.solve(x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1]), x.T @ (y - y.mean(0)))
    return names[(unseen @ weights + y.mean(0)).argmax(-1).numpy()]


@pytest.mark.parametrize(
    ("count", "width", "classes", "dtype"),
    [(60, 7, 3, torch.float32), (60, 7, 2, torch.float32), (9000, 512, 12, torch.float16)],
    ids=["small", "two labels", "as in notebook 02"],
)
def test_a_probe_is_ridge_regression_of_one_hot_labels(count, width, classes, dtype):
    torch.manual_seed(0)
    # Directions of very different spread, one without any, and labels that they tell in part only.
    spread = torch.logspace(-2, 1, width) * (torch.arange(width) > 0)
    both = torch.randn(count + 500, width)
    told = (both[:, -classes:] + 0.5 * torch.randn(count + 500, classes)).argmax(-1)
    both = (both * spread + 3).to(dtype)
    labels = pd.Series([f"label {number:02}" for number in told[:count]])
    guessed = linear_probe(both[:count], labels, both[count:])
    assert guessed.tolist() == closed_form(both[:count], labels, both[count:]).tolist()
    assert len(set(guessed)) == classes


def test_what_embeddings_hold_is_read_and_what_they_do_not_is_guessed():
    torch.manual_seed(0)
    places = [("sea", "grass", "city")[number % 3] for number in range(900)]
    scenes = [
        Scene(place, (Group("cat", 1 + (number * 7) % 4, "big"),), None, number) for number, place in enumerate(places)
    ]
    onehot = torch.tensor([[float(place == name) for name in ("sea", "grass", "city")] for place in places])
    embeddings = torch.cat([onehot, torch.zeros(900, 5)], 1) + 0.01 * torch.randn(900, 8)
    table = probe_table(embeddings[:600], scenes[:600], embeddings[600:], scenes[600:])
    assert table.loc["background", "read rightly"] == 1
    assert table.loc["background", "guessing"] == pytest.approx(1 / 3, abs=0.01)
    assert table.loc["kinds × largest count", "read rightly"] < 0.4
    assert table.loc["relation"].tolist() == [1, 1]
