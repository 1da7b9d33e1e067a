"""The caption browser in a real browser: filters, search, links, keys, and five thousand pictures."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from captioned_runs import corpus_of, scenes_of, six_runs
from playwright.sync_api import Page, expect

from clipcap_lib.analysis import keep_captions
from clipcap_lib.reporting.caption_browser import caption_browser
from clipcap_lib.reporting.page import write_page

pytestmark = pytest.mark.notebooks
PICTURES = 420  # a multiple of 2 to 7: in each run another share is wrong


def write_made_up(pictures: int, folder: Path) -> Path:
    """The page of six runs, the last of which is best; the best run's greedy captions are kept as a strategy's."""
    corpus = corpus_of(scenes_of(pictures), folder)
    runs = six_runs(corpus, folder)
    keep_captions(str(folder), runs[-1].captions.head(5).assign(run="greedy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clipcap_lib.reporting.caption_browser.load_corpus", lambda params: corpus)
        content = caption_browser(folder, "Made up", runs, decoding=folder)
    write_page(folder / "captions.html", "captions.html.j2", **content)
    return folder / "captions.html"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> str:
    return write_made_up(PICTURES, tmp_path_factory.mktemp("made-up")).as_uri()


@pytest.fixture
def opened(made_up, watched) -> Page:
    page, wrong = watched
    page.goto(made_up)
    yield page
    assert wrong == []


def says(page: Page, shown: int, of: int = PICTURES) -> None:
    expect(page.locator("#count")).to_have_text(f"{shown:,} of {of:,} pictures")


def looks_at(page: Page, name: str) -> None:
    """Wait until the picture has the focus: addresses and dialogs are followed a moment later."""
    expect(page.locator("article:focus h2")).to_have_text(name)


@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_leads_to_its_captions(reports, watched, width):
    page, wrong = watched
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((reports / "emoji-tiny/index.html").as_uri())
    page.get_by_role("link", name="All captions, picture by picture").click()
    says(page, 32, of=32)
    first = page.locator("article").first
    expect(first.locator("dt")).to_contain_text(["mlp, full"])
    expect(first.locator("details dt").first).to_have_text("greedy")  # what notebook 05 kept
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    first.get_by_role("button").click()
    expect(page.get_by_role("img", name="Picture 0")).to_have_js_property("naturalWidth", 128)
    assert wrong == []


def test_filters_find_what_they_say(opened):
    expected = {run: PICTURES // (6 - run + 1) for run in range(6)}  # the best run comes first, and is wrong least
    for run, wrong in expected.items():
        opened.get_by_label("Judged run").select_option(index=run)
        opened.get_by_label("Its caption is").select_option("wrong in background")
        says(opened, wrong)
        opened.get_by_label("Its caption is").select_option("right")
        says(opened, PICTURES - wrong)
    opened.get_by_label("Its caption is").select_option("anything")
    opened.get_by_label("Runs disagree").check()
    says(opened, sum(len({i % n == 0 for n in range(2, 8)}) > 1 for i in range(PICTURES)))
    opened.get_by_role("combobox", name="Pictures").select_option("never-trained object pairs and counts")
    says(opened, sum(len({i % n == 0 for n in range(2, 8)}) > 1 for i in range(0, PICTURES, 4)))
    opened.get_by_role("button", name="Clear").click()
    says(opened, PICTURES)


def test_the_only_run_that_is_right(opened):
    opened.get_by_label("Judged run").select_option("mlp, full")
    opened.get_by_label("Its caption is").select_option("the only one that is right")
    says(opened, sum(i % 2 != 0 and all(i % n == 0 for n in range(3, 8)) for i in range(PICTURES)))
    opened.get_by_label("Judged run").select_option("greedy")
    says(opened, 4)  # of the five captions, all but the first, and no strategy is beside it


def test_search_looks_into_captions_and_references(opened):
    scenes = scenes_of(PICTURES)
    opened.get_by_role("searchbox").fill("只有 猫")  # "only" stands in a reference of pictures with one kind of object
    cats = [name for name, scene in scenes.items() if len(scene.groups) == 1 and scene.groups[0].kind in ("cat", "owl")]
    says(opened, len(cats))
    opened.get_by_role("searchbox").fill("000123.JPG")
    says(opened, 1)
    opened.get_by_role("searchbox").fill("nobody says this")
    expect(opened.get_by_text("No picture is like that")).to_be_visible()


def test_a_view_can_be_sent(opened, made_up):
    opened.get_by_label("Judged run").select_option("bert, full")
    opened.get_by_label("Its caption is").select_option("wrong")
    says(opened, PICTURES // 4)
    opened.locator("article").nth(2).focus()
    opened.keyboard.press("j")
    expect(opened).to_have_url(re.compile("picture=000012.jpg"))
    sent = opened.url
    opened.goto("about:blank")
    opened.goto(sent)
    says(opened, PICTURES // 4)
    looks_at(opened, "000012.jpg")
    opened.goto(f"{made_up}#{quote('000345.jpg')}")
    says(opened, PICTURES)
    looks_at(opened, "000345.jpg")
    expect(opened.locator("article:focus")).to_be_in_viewport(ratio=0.9)
    opened.goto(f"{made_up}#show=nonsense&run=nobody&picture=000003.jpg")
    looks_at(opened, "000003.jpg")
    opened.goto(f"{made_up}#not-there.jpg")
    expect(opened.locator("#count")).to_contain_text("No picture is called not-there.jpg.")


def test_everything_can_be_done_by_keyboard(opened):
    for key, at in [("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0)]:
        opened.keyboard.press(key)
        looks_at(opened, f"{at:06d}.jpg")
    assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.keyboard.press("Enter")
    large = opened.get_by_role("dialog")
    expect(large.get_by_role("heading", name="Picture 000000.jpg")).to_be_visible()
    opened.keyboard.press("j")
    expect(large.get_by_role("heading", name="Picture 000001.jpg")).to_be_visible()
    expect(large.get_by_text("greedy")).to_be_visible()
    opened.keyboard.press("Escape")
    expect(large).to_be_hidden()
    looks_at(opened, "000001.jpg")
    opened.keyboard.press("/")
    opened.keyboard.type("000321")
    opened.keyboard.press("Enter")
    opened.wait_for_timeout(300)  # what was typed is looked for after a moment, and must not be looked for again
    looks_at(opened, "000321.jpg")
    opened.keyboard.press("?")
    expect(opened.get_by_role("dialog", name="Keys")).to_be_visible()
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_five_thousand_pictures_are_few_elements(watched, tmp_path):
    page, wrong = watched
    page.goto(write_made_up(5000, tmp_path).as_uri())
    says(page, 5000, of=5000)
    for _ in range(10):
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(100)
        assert 0 < page.locator("article").count() < 150
    page.goto(f"{page.url}#004321.jpg")
    page.wait_for_timeout(500)  # chunks above are filled, and what is looked at must stay
    expect(page.locator("article:focus")).to_be_in_viewport(ratio=0.9)
    looks_at(page, "004321.jpg")
    assert page.locator("article").count() < 150
    assert wrong == []


def test_without_scripts_the_first_pictures_are_there(browser, made_up):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(made_up)
    expect(page.get_by_text("this page needs scripts")).to_be_visible()
    assert page.locator("article").count() == 20
    context.close()
