"""A corpus of two pictures, for everything in this room."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from clipcap_lib.emoji.language import Group, Scene
from clipcap_lib.reporting.language import speaking


@dataclass
class TwoPictures:
    """Stands for a prepared corpus: `a` is a scene, `b` is not."""

    folder: Path
    scenes: dict

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"image_id": ["a", "b"], "caption": ["一只猫", "两只狗"]})

    def test_images(self) -> pd.DataFrame:
        return pd.DataFrame({"image_id": ["a", "b"], "image_path": [str(self.folder / f"{name}.jpg") for name in "ab"]})

    def references(self) -> pd.Series:
        return self.table.set_index("image_id")["caption"].map(lambda caption: [caption])


@pytest.fixture
def corpus(tmp_path) -> TwoPictures:
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (20, 10), colour).save(tmp_path / f"{name}.jpg")
    return TwoPictures(tmp_path, {"a": Scene("grass", (Group("cat", 1, "small"),), None, 0)})


@pytest.fixture
def chinese():
    with speaking("zh"):
        yield
