"""Attribute accuracy by factor and as a heat map, on made-up verdicts whose shares are known."""

import pandas as pd
import pytest

from clipcap_lib.emoji.attributes import ATTRIBUTES, accuracy_by_factor, attribute_accuracy
from clipcap_lib.emoji.language import Group, Scene
from clipcap_lib.reporting.figures import accuracy_heatmap


def judged(run: str, split: str, **columns: tuple[int, int]) -> pd.DataFrame:
    """Captions of which so many are right of so many judged; the rest are not judged."""
    size = max(pictures for _, pictures in columns.values())
    values = {
        name: [1] * right + [0] * (pictures - right) + [pd.NA] * (size - pictures)
        for name, (right, pictures) in (dict.fromkeys(ATTRIBUTES, (0, 0)) | columns).items()
    }
    return pd.DataFrame({"run": run, "split": split, **values}).astype(dict.fromkeys(ATTRIBUTES, "Float64"))


@pytest.fixture
def accuracy() -> pd.DataFrame:
    """Run a with 40 captions in each split, run b with 40 that nothing but `all` is judged in."""
    captions = pd.concat([
        judged("a", "test", objects=(20, 40), count=(30, 30), relation=(3, 6), all=(10, 40)),
        judged("a", "test_compositional", objects=(40, 40), size=(0, 29), all=(0, 40)),
        judged("b", "test", all=(4, 40)),
    ])  # fmt: skip
    return attribute_accuracy(captions, ["split", "run"]).set_index("run")


def test_a_share_over_few_pictures_does_not_look_firm(accuracy):
    axis = accuracy_heatmap(accuracy[accuracy["split"] == "test"], "Held-out pictures").axes[0]
    cells = {(text.get_position()[0], text.get_position()[1]): text.get_text() for text in axis.texts}
    place = {name: number + 0.5 for number, name in enumerate(ATTRIBUTES)}
    assert cells[place["objects"], 0.5] == "50"
    assert cells[place["count"], 0.5] == "100"
    assert cells[place["relation"], 0.5] == "50\nn = 6"
    assert cells[place["size"], 0.5] == "–"
    assert cells[place["objects"], 1.5] == "–"
    assert cells[place["all"], 1.5] == "10"
    assert len(cells) == 2 * len(ATTRIBUTES)
    coloured = axis.collections[0].get_array()
    assert coloured.mask.reshape(2, -1).sum(axis=1).tolist() == [3, 5]  # the few and the missing have no colour


def test_accuracy_by_factor_counts_every_picture_once_a_factor():
    pair = Scene("grass", (Group("cat", 1, "big"), Group("car", 2, "small")), "left", 0)
    single = Scene("sea", (Group("cat", 3, "big"),), None, 1)
    scored = pd.DataFrame({"image_id": ["x", "y", "z"], "all": pd.array([1, 0, 1], dtype="Float64")})
    table = accuracy_by_factor(scored, {"x": pair, "y": single, "z": single}).set_index(["factor", "value"])
    assert (table.groupby("factor")["pictures"].sum() == 3).all()
    assert table.loc[("relation", "left"), "right"] == 1
    assert table.loc[("kinds × largest count", "1 × 3"), "right"] == 0.5
    assert table.loc[("kinds × largest count", "2 × 2"), "right"] == 1
