"""Maps over the picture: a small picture a word, coloured most where the map says."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from clipcap_lib.analysis.word_maps import in_places, word_maps
from clipcap_lib.decoding.decode import Caption
from clipcap_lib.explore.inspection import LoadedRun
from clipcap_lib.explore.where import as_seen, where_strip

GRID = torch.randn(10, 16, generator=torch.Generator().manual_seed(5))
# Sees the middle of a picture, in numbers around zero as CLIP does.
ENCODER = SimpleNamespace(
    preprocess=lambda picture: torch.tensor(np.asarray(picture.crop((30, 0, 120, 90)))).movedim(-1, 0) / 50.0 - 2
)


def pictures(shown: str) -> list[np.ndarray]:
    data = re.findall(r"base64,([^\"]+)", shown)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB"), dtype=int) for each in data]


def test_the_picture_is_the_part_that_the_encoder_reads():
    picture = Image.new("RGB", (150, 90), "white")
    picture.paste("black", (0, 0, 75, 90))
    seen = np.asarray(as_seen(ENCODER, picture))
    assert seen.shape == (90, 90, 3)
    assert (seen[:, :45] == 0).all() and (seen[:, 45:] == 255).all()


def test_each_word_has_a_picture_coloured_most_where_it_rests(grid_model):
    tokens, picture = [6, 9, 12], Image.new("RGB", (150, 90), "white")
    picture.putpixel((60, 0), (0, 0, 0))  # or there would be no contrast
    shown = where_strip(grid_model, ENCODER, picture, GRID, Caption(tokens=tokens))
    maps = in_places(word_maps(grid_model, GRID, tokens))
    assert len(pictures(shown)) == 3
    for coloured, weights in zip(pictures(shown), maps, strict=True):
        whiteness = coloured[15::30, 15::30].sum(-1)  # in the middle of each place
        assert whiteness.argmin() == weights.argmax()
        assert whiteness.argmax() == weights.argmin()


def test_a_caption_without_words_has_no_map(grid_model):
    assert where_strip(grid_model, ENCODER, Image.new("RGB", (150, 90)), GRID, Caption()) == ""


def test_a_run_that_reads_one_vector_says_why_there_is_no_map(make_model, tmp_path, monkeypatch):
    run = LoadedRun(tmp_path)
    monkeypatch.setitem(vars(run), "captioner", SimpleNamespace(model=make_model("mlp")))
    said = run.explain(Image.new("RGB", (8, 8)), Caption(tokens=[6])).where()
    assert "one vector of the whole picture, which has no places" in said
