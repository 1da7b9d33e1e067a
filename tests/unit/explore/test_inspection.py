"""What is said of captions and runs: scores by their names, wrong words marked, each thing once, runs that stand."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from clipcap_lib.analysis.unlike import SeenPictures
from clipcap_lib.decoding.constraints import Caption
from clipcap_lib.decoding.strategies import NAMES, build_strategy, parse_strategy
from clipcap_lib.emoji.language import Group, Scene
from clipcap_lib.explore import inspection
from clipcap_lib.explore.inspection import (
    MOST_LOADED,
    LoadedRun,
    caption_list,
    each_once,
    loaded_run,
    score_name,
    standing_runs,
)


@pytest.mark.parametrize(("strategy", "name"), [
    ("greedy", "mean log-probability a token"), ("sample", "mean log-probability a token"),
    ("beam length_penalty:0.5", "log-probability / tokens^0.5"), ("best-of-n", "CLIP cosine with the picture"),
    ("mbr", "agreement (CIDEr-D) with the other samples"),
])  # fmt: skip
def test_a_score_says_what_it_is(strategy, name):
    shown = caption_list([Caption("x", [1], [-1.0], 0.25, "end")], parse_strategy(strategy))
    assert f"{name} 0.25<" in shown


def test_every_strategy_has_a_name_for_its_score():
    required = {"contrastive": {"k": 2, "alpha": 0.1}, "magic": {"k": 2, "alpha": 0.1, "beta": 1}}
    assert all(score_name(build_strategy(name, **required.get(name, {}))) for name in NAMES)


def test_wrong_words_are_marked_and_named_and_a_cut_caption_says_so():
    scene = Scene("grass", (Group("cat", 1, "small"),), None, 0)
    greedy = parse_strategy("greedy")
    wrong = caption_list([Caption("两只猫在<草地>上", [1], [-1.0], -1.0, "length")], greedy, scene, "zh")
    assert '<mark title="count"' in wrong and "✗ count" in wrong
    assert "&lt;草地&gt;" in wrong and "cut at the longest length" in wrong
    right = caption_list([Caption("一只猫在草地上", [1], [-1.0], -1.0, "end")], greedy, scene, "zh")
    assert "✓" in right and "<mark" not in right and "cut" not in right
    assert "✓" not in caption_list([Caption("一只猫在草地上")], greedy)


def test_equal_fragments_stand_once_under_all_their_titles():
    shown = each_once({"one": "<i>same</i>", "two": "<i>other</i>", "three": "<i>same</i>"})
    assert shown.count("same") == shown.count("other") == 1
    assert "<b>one and three</b>" in shown


def test_every_finished_run_of_the_reports_folder_is_offered_behind_those_that_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("x/runs/b", "x/runs/a", "y/runs/a"):
        (tmp_path / "reports" / run).mkdir(parents=True)
        (tmp_path / "reports" / run / "DONE").touch()
    (tmp_path / "reports/y/runs/unfinished").mkdir()
    elsewhere = tmp_path / "imported"
    named = [tmp_path / "reports/x/runs/b", elsewhere]
    found = standing_runs([named[0].relative_to(tmp_path), elsewhere])
    assert found == [*named, tmp_path / "reports/x/runs/a", tmp_path / "reports/y/runs/a"]


@pytest.mark.parametrize(("feature", "said"), [([1.0, 0.0], ""), ([9.0, 9.0], "this run knows drawings only")])
def test_a_picture_unlike_training_is_doubted(feature, said):
    run = LoadedRun(Path("run"))
    seen = SeenPictures.of(torch.tensor([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.2, 0.9]]))
    embed, data = lambda pictures: torch.tensor([feature]), SimpleNamespace(corpus="emoji-scenes")
    run.captioner = SimpleNamespace(seen=seen, embed=embed, data=data)
    doubt = run.explain(Image.new("RGB", (8, 8)), Caption()).doubt()
    assert doubt.endswith(said)
    assert bool(doubt) == bool(said)


def test_a_run_is_loaded_once_and_only_a_few_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inspection._loaded.cache_clear()
    first = loaded_run(tmp_path / "0")
    assert loaded_run("0") is first
    for number in range(MOST_LOADED):
        loaded_run(tmp_path / str(number + 1))
    assert loaded_run(tmp_path / "0") is not first


def test_what_lies_behind_a_caption_is_told_in_the_readers_language(make_model, grid_model, chinese):
    def explained(model, tokens):
        run = LoadedRun(Path("run"))
        embed, seen = lambda pictures: torch.ones(1, *model.config.feature_shape), lambda picture: torch.rand(3, 9, 9)
        run.captioner = SimpleNamespace(model=model, embed=embed, encoder=SimpleNamespace(preprocess=seen))
        return run.explain(Image.new("RGB", (8, 8)), Caption(tokens=tokens))

    table = explained(make_model("mlp"), []).prefix()
    assert "<th>第 1 近</th>" in table and "<th>位置</th>" in table
    assert "nearest" not in table and "position" not in table
    shown = explained(grid_model, [6]).where()
    assert "颜色越深" in shown and "依据的位置" in shown
    assert "<b>甲 和 乙</b>" in each_once({"甲": shown, "乙": shown})
