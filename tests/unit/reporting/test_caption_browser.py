"""What the caption browser knows: each caption with its picture, its wrong words, and whose captions are shown."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from captioned_runs import corpus_of, elsewhere, made_up_run, scenes_of, six_runs
from PIL import Image

from clipcap_lib.analysis import keep_captions
from clipcap_lib.emoji.language import BACKGROUNDS, captions
from clipcap_lib.reporting import caption_browser as browser
from clipcap_lib.reporting.page import write_page


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    made = corpus_of(scenes_of(40), tmp_path)
    monkeypatch.setattr(browser, "load_corpus", lambda params: made)
    return made


@pytest.fixture
def report(tmp_path):
    (folder := tmp_path / "reports" / "made-up").mkdir(parents=True)
    return folder


def text_of(said) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in said[0])


def test_every_caption_stands_with_its_picture_and_its_run(corpus, report):
    runs = six_runs(corpus, report)
    content = browser.caption_browser(report, "Made up", runs)
    assert [voice["name"] for voice in content["voices"]] == [run.label for run in reversed(runs)]  # by loss
    assert {picture["id"] for picture in content["pictures"]} == set(corpus.scenes)
    truth = {(run.label, row.image_id): row.caption for run in runs for row in run.captions.itertuples()}
    for picture in content["pictures"]:
        assert picture["references"] == captions(corpus.scenes[picture["id"]], "zh")
        for voice, said in zip(content["voices"], picture["said"], strict=True):
            assert text_of(said) == truth[voice["name"], picture["id"]]


def test_what_is_wrong_is_named_and_marked(corpus, report):
    run = made_up_run(corpus, report / "run", 1.0, wrong_every=3)
    content = browser.caption_browser(report, "Made up", [run])
    for number, picture in enumerate(content["pictures"]):
        parts, wrong = picture["said"][0]
        assert wrong == ([] if number % 3 else ["background"])
        place = BACKGROUNDS[elsewhere(corpus.scenes[picture["id"]]).background][1]
        marked = [tuple(part) for part in parts if not isinstance(part, str)]
        assert marked == ([] if number % 3 else [(place, "background")])


def test_what_is_left_out_is_named_and_has_no_place(corpus, report):
    run = made_up_run(corpus, report / "run", 1.0, wrong_every=100)
    image = next(name for name, scene in [*corpus.scenes.items()][1:] if scene.relation)
    alone = replace(corpus.scenes[image], groups=corpus.scenes[image].groups[:1], relation=None)
    run.captions.loc[run.captions["image_id"] == image, "caption"] = captions(alone, "zh")[0]
    content = browser.caption_browser(report, "Made up", [run])
    said = next(picture["said"][0] for picture in content["pictures"] if picture["id"] == image)
    assert said == ([captions(alone, "zh")[0]], ["objects"])
    assert content["wrongs"] == ["objects", "background"]  # the first picture's, of `wrong_every`


def test_strategies_are_those_of_the_best_run(corpus, report):
    runs = six_runs(corpus, report)
    few = corpus.test_images(4)
    table = pd.concat([few.assign(run=name, caption=[f"{name} {i}" for i in few["image_id"]]) for name in ("a", "b")])
    keep_captions(str(report), table)
    content = browser.caption_browser(report, "Made up", runs, decoding=report)
    assert [voice["name"] for voice in content["voices"] if voice["kind"] == "strategy"] == ["a", "b"]
    asked = set(few["image_id"])
    for picture in content["pictures"]:
        said = [text_of(said) if said else None for said in picture["said"][6:]]
        assert said == ([f"{name} {picture['id']}" for name in "ab"] if picture["id"] in asked else [None, None])


def test_pictures_of_different_data_are_not_mixed_up(corpus, report, tmp_path, monkeypatch):
    (other := tmp_path / "other").mkdir()
    corpora = {0: corpus, 7: corpus_of(dict(reversed(scenes_of(8).items())), other)}
    monkeypatch.setattr(browser, "load_corpus", lambda params: corpora[params["data_seed"]])
    runs = [made_up_run(corpora[seed], report / f"mlp-full-s0-data_seed={seed}", 1 + seed, 2, data_seed=seed)
            for seed in corpora]  # fmt: skip
    pictures = browser.caption_browser(report, "Made up", runs)["pictures"]
    assert len(pictures) == 48
    assert len({picture["id"] for picture in pictures}) == 48
    assert [[said is not None for said in picture["said"]] for picture in pictures] == [[True, False]] * 40 + [
        [False, True]
    ] * 8


def test_of_many_runs_the_best_of_each_arm_is_shown(corpus, report):
    empty = corpus.table.head(0)
    runs = [
        made_up_run(replace(corpus, table=empty), report / f"{m}-{t}-{s}-{r}", 1 + 7 * i % 5 + i / 1000, 2,
                    mapping=m, tuning=t, seed=s, learning_rate=r)
        for i, (m, t, s, r) in enumerate(
            (m, t, s, r) for m in ("mlp", "bert") for t in ("frozen", "lora", "full") for s in range(4)
            for r in (1e-3, 2e-3, 3e-3)
        )
    ]  # fmt: skip
    shown, choice = browser.chosen_runs(runs)
    assert (len(runs), len(shown), choice) == (72, 6, "arm")
    for run in shown:
        same = [o for o in runs if all(o.params[key] == run.params[key] for key in ("mapping", "tuning"))]
        assert run.summary["best_dev_loss"] == min(other.summary["best_dev_loss"] for other in same)
    arms = [replace(run, params=run.params | {"prefix_length": i}) for i, run in enumerate(runs)]
    shown, choice = browser.chosen_runs(arms)
    assert (len(shown), choice) == (6, "mapping")
    assert shown[0].summary["best_dev_loss"] == min(run.summary["best_dev_loss"] for run in runs)
    mappings = [replace(run, params=run.params | {"mapping": f"own-{i}"}) for i, run in enumerate(runs)]
    assert len(browser.chosen_runs(mappings)[0]) == browser.MOST_RUNS
    assert browser.chosen_runs(runs[:12])[1] == "all"


def test_a_report_without_its_corpus_or_its_runs(corpus, report, monkeypatch):
    def gone(params):
        raise FileNotFoundError("captions.csv: this file of the experiment's data section is not there")

    monkeypatch.setattr(browser, "load_corpus", gone)
    content = browser.caption_browser(report, "Made up", six_runs(corpus, report), failed=["mlp-full-s1"])
    write_page(report / "captions.html", "captions.html.j2", **content)
    page = (report / "captions.html").read_text(encoding="utf-8")
    assert "captions.csv: this file of the experiment&#39;s data section is not there" in page
    assert "because they failed: mlp-full-s1" in page
    assert all(said[1] is None for picture in content["pictures"] for said in picture["said"])
    assert browser.caption_browser(report, "Made up", []) is None


def test_captions_cannot_end_the_script_that_holds_them(corpus, report):
    run = made_up_run(corpus, report / "run", 1.0, 2)
    run.captions["caption"] = "猫</script><!--<b>"
    content = browser.caption_browser(report, "Made up", [run])
    assert "<" not in content["data"]
    assert "猫" in content["data"]  # as itself: the page's font is cut to what stands in it
    assert text_of(json.loads(content["data"])["pictures"][0]["said"][0]) == "猫</script><!--<b>"


def test_thumbnails_lie_where_the_page_looks_for_them(tmp_path):
    colours = [(5 * i % 256, 3 * i % 256, 255 - i) for i in range(103)]
    paths = [str(tmp_path / f"{i}.png") for i in range(103)]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (30, 30), colour).save(path)
    (tmp_path / "50.png").write_bytes(b"no picture")
    paths[60] = ""
    places = browser.write_thumbnails(paths, tmp_path / "sheets")
    assert places == [*range(50), None, *range(50, 59), None, *range(59, 101)]
    sheets = [np.asarray(Image.open(tmp_path / "sheets" / f"{i}.webp").convert("RGB")).astype(int) for i in range(2)]
    for place, colour in zip(places, colours, strict=True):
        if place is not None:
            row, column = divmod(place % 100, 10)
            assert abs(sheets[place // 100][row * 96 + 48, column * 96 + 48] - colour).max() < 12
