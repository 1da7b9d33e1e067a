"""What a linear classifier reads off embeddings, against least squares written another way and known answers."""

import pandas as pd
import pytest
import torch

from clipcap_lib.emoji.language import Group, Scene
from clipcap_lib.emoji.probing import RIDGE, linear_probe, probe_table


def test_a_probe_is_ridge_regression_of_one_hot_labels():
    torch.manual_seed(0)
    train, test = torch.randn(60, 7) * torch.arange(1, 8) + 3, torch.randn(40, 7) * torch.arange(1, 8) + 3
    labels = pd.Series([("a", "b", "c")[int(row[2] > 3) + int(row[5] > 5)] for row in train])
    mean, deviation = train.mean(0), train.std(0)
    x = ((train - mean) / deviation).double()
    y = torch.tensor([[float(label == name) for name in "abc"] for label in labels], dtype=torch.float64)
    # The penalty as rows of their own: each weight should be 0.
    rows = torch.cat([x, (RIDGE * len(x)) ** 0.5 * torch.eye(7, dtype=torch.float64)])
    wanted = torch.cat([y - y.mean(0), torch.zeros(7, 3, dtype=torch.float64)])
    weights = torch.linalg.lstsq(rows, wanted).solution
    guessed = (((test - mean) / deviation).double() @ weights + y.mean(0)).argmax(-1)
    assert linear_probe(train, labels, test).tolist() == ["abc"[number] for number in guessed]
    assert len(set(linear_probe(train, labels, test))) == 3


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
