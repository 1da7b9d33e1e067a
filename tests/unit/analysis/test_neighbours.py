"""The nearest pictures, by cosines worked out by hand."""

import pandas as pd
import pytest
import torch

from clipcap_lib.analysis.neighbours import nearest_pictures


def test_neighbours_are_ordered_by_cosine():
    pictures = pd.DataFrame({"image_id": ["a", "b", "c"]})
    features = torch.tensor([[0.0, 9.0], [1.0, 1.0], [2.0, 0.1]])
    found = nearest_pictures(torch.tensor([5.0, 0.0]), features, pictures, count=2)
    assert found["image_id"].tolist() == ["c", "b"]
    assert found["cosine"].tolist() == pytest.approx([2 / (4 + 0.01) ** 0.5, 0.5**0.5])
