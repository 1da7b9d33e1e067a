"""The explorer without a browser: every control leads to new captions, and nothing that fails stops it."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import ipywidgets as widgets
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from clipcap_lib.decoding.constraints import Caption
from clipcap_lib.decoding.strategies import NAMES, options
from clipcap_lib.explore import side as side_module
from clipcap_lib.explore.widgets import Explorer


@dataclass
class Told:
    """Stands for an explanation: says of what it is."""

    run: "Run"
    picture: object
    caption: Caption

    def tokens(self, choosable):
        return f'<button data-value="0:7">tokens of {self.caption.text}, 龘</button>'

    def doubt(self):
        return "unlike all <that> it knows" if self.picture.size == (1, 1) else ""

    def prefix(self):
        return f"prefix of {self.run.folder.name}"

    def where(self):
        return f"where {self.caption.text} is"

    def neighbours(self):
        return "the same neighbours"


class Run:
    """Stands for a loaded run: says what it was asked."""

    language = "zh"

    def __init__(self, folder):
        self.folder, self.captioner, self.gate = folder, self, threading.Event()
        self.model = self
        self.gate.set()
        self.step = lambda: None

    def on_step(self, call):
        self.step = call
        return threading.Lock()

    def caption(self, picture, key, strategy, limit):
        self.gate.wait(5)
        self.step()
        if strategy.name == "mbr":
            raise ValueError("a < b")
        if strategy.name == "best-of-n":
            raise KeyError("lost")
        return [Caption(f"{key} {strategy.name} {picture.size}", [3, 4], [-0.5], -0.5, "end")]

    def go_on(self, picture, beginning, limit):
        self.step()
        return Caption(f"taken {beginning}", beginning, [-0.5], -0.5, "end")

    def explain(self, picture, caption):
        return Told(self, picture, caption)


@pytest.fixture
def made(tmp_path, corpus, monkeypatch):
    runs = {folder: Run(folder) for folder in (tmp_path / "one", tmp_path / "two")}
    monkeypatch.setattr(side_module, "loaded_run", runs.__getitem__)
    built = Explorer(list(runs), corpus)
    settle(built)
    yield built, runs[tmp_path / "one"]
    built.worker.shutdown()


def settle(built: Explorer, side: int = 0) -> str:
    built.worker.submit(lambda: None).result(20)
    return built.sides[side].captions.value


def click(built: Explorer, value: str, side: int = 0) -> None:
    built.sides[side].tokens._handle_custom_msg(value, [])


def upload(built: Explorer, name: str, content: bytes) -> None:
    built.chooser.input._handle_custom_msg({"name": name}, [memoryview(content)])


def test_picture_strategy_and_run_are_followed(made, tmp_path):
    built, _ = made
    assert "a greedy" in settle(built)
    built.chooser.choose("b")
    assert "b greedy" in settle(built)
    built.sides[0].controls.name.value = "contrastive"
    assert "b contrastive" in settle(built)
    assert built.sides[0].prefix.value == "prefix of one"
    built.sides[0].run.value = tmp_path / "two"
    settle(built)
    assert built.sides[0].prefix.value == "prefix of two"
    assert built.status.value.startswith("Captioned in")


def test_a_second_side_has_its_own_run_and_strategy_and_is_asked_only_while_it_is_shown(made):
    built, _ = made
    assert (built.sides[1].widget.layout.display, settle(built, 1)) == ("none", "")
    built.compare.value = True
    built.sides[1].controls.name.value = "beam"
    assert "a beam" in settle(built, 1)
    assert "a greedy" in settle(built, 0)
    assert built.sides[1].prefix.value == "prefix of two"
    assert built.neighbours.value.count("the same neighbours") == 1
    built.compare.value = False
    built.chooser.choose("b")
    assert "a beam" in settle(built, 1)


def test_a_picture_unlike_training_is_doubted_above_its_captions(made, tmp_path):
    built, _ = made
    assert "unlike" not in settle(built)
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    upload(built, "dot", (tmp_path / "dot.png").read_bytes())
    doubt, _, captions = settle(built).partition("</p>")
    assert "unlike all &lt;that&gt; it knows" in doubt
    assert "dot greedy" in captions


def test_what_is_not_so_is_marked_where_the_scene_is_known_only(made, tmp_path, monkeypatch):
    built, run = made
    monkeypatch.setattr(run, "caption", lambda *_: [Caption("两只猫在草地上", [3], [-0.5], -0.5, "end")])
    built.chooser.choose("a")  # of which is known that it is one cat
    assert '<mark title="count"' in settle(built)
    built.chooser.choose("b")
    assert "<mark" not in settle(built)
    upload(built, "a", (tmp_path / "a.jpg").read_bytes())  # named as the test picture is
    assert "<mark" not in settle(built)


def test_a_bad_upload_changes_only_the_status_line(made, tmp_path):
    built, _ = made
    before = settle(built)
    upload(built, "x<y.jpg", b"no picture")
    assert "x&lt;y.jpg cannot be read" in built.status.value
    assert settle(built) == before
    upload(built, "mine.jpg", (tmp_path / "b.jpg").read_bytes())
    assert "mine.jpg greedy (20, 10)" in settle(built)
    built.chooser.choose("b")
    assert "b greedy" in settle(built)


def test_a_token_that_is_taken_begins_another_caption_and_the_way_back_stands_open(made):
    built, _ = made
    click(built, "1:9")
    settle(built)
    side = built.sides[0]
    assert "taken [3, 9]" in side.taken.value
    assert "tokens of taken [3, 9]" in side.tokens.html
    click(built, "2:5")  # goes on from what was taken before
    settle(built)
    assert "taken [3, 9, 5]" in side.taken.value
    assert "a greedy" in side.captions.value
    click(built, "back")
    settle(built)
    assert side.taken.value == ""
    assert "tokens of a greedy" in side.tokens.html


def test_tokens_of_an_older_choice_cannot_be_taken(made):
    built, run = made
    run.gate.clear()
    built.chooser.choose("b")
    click(built, "1:9")
    run.gate.set()
    assert "b greedy" in settle(built)
    assert built.sides[0].taken.value == ""
    assert not built.sides[0].tokens.busy


def test_a_token_taken_on_one_side_leaves_the_other_its_captions(made):
    built, run = made
    built.compare.value = True
    settle(built)
    run.gate.clear()
    built.chooser.choose("b")
    built.sides[1].tokens.busy = False  # as where this side is done while the other still writes
    click(built, "1:9", side=1)
    run.gate.set()
    assert "b greedy" in settle(built) and "b greedy" in settle(built, 1)
    assert "taken [3, 9]" in built.sides[1].taken.value
    assert built.sides[0].taken.value == ""
    assert not any(side.tokens.busy for side in built.sides)


def test_cancel_and_a_newer_choice_stop_what_is_under_way(made):
    built, run = made
    run.gate.clear()
    built.sides[0].controls.name.value = "beam"
    built.cancel.click()
    assert built.status.value == "Cancelled."
    run.gate.set()
    assert "greedy" in settle(built)
    run.gate.clear()
    for strategy in ("sample", "contrastive", "beam"):
        built.sides[0].controls.name.value = strategy
    for picture in "baba":
        built.chooser.choose(picture)
    run.gate.set()
    assert "a beam" in settle(built)
    assert "a beam" in built.sides[0].where.value


@pytest.mark.parametrize(("strategy", "words"), [("mbr", "a &lt; b"), ("best-of-n", "KeyError: &#x27;lost&#x27;")])
def test_an_error_of_one_side_is_said_there_and_the_other_goes_on(made, strategy, words):
    built, _ = made
    built.compare.value = True
    built.sides[0].controls.name.value = strategy
    assert settle(built) == f"<p><b>No caption:</b> {words}</p>"
    assert "a greedy" in settle(built, 1)
    assert built.sides[0].tokens.html == built.sides[0].where.value == ""
    assert "see below" in built.status.value
    built.sides[0].controls.name.value = "greedy"
    assert "a greedy" in settle(built)
    assert built.status.value.startswith("Captioned in")


@pytest.mark.parametrize("value", ["nonsense", "1:2:3"])
def test_an_error_in_the_thread_is_said_on_the_page(made, value):
    built, _ = made
    click(built, value)
    settle(built)
    assert any(word in built.status.value for word in ("invalid literal", "too many values"))


def test_an_error_in_a_callback_is_said_on_the_page(made, monkeypatch):
    built, _ = made
    monkeypatch.setattr(built.worker, "submit", lambda *_: 1 / 0)
    built.chooser.choose("b")
    assert built.status.value == "ZeroDivisionError: division by zero"


def test_the_page_has_a_font_for_what_no_caption_says(made):
    built, _ = made
    settle(built)
    assert {*"一两猫狗", "龘"} <= built.lent
    assert "@font-face" in built.font.value


NAMED = {"CLIP", "MB", "all", "generated", "one", "two", *"|".join(NAMES).replace("-", "|").split("|"),
         *(word for name in NAMES for option in options(name) for word in option.split("_"))}  # fmt: skip
PAPER_OR_VALUE = re.compile(r"[A-Z]\w+(?: et al\.)? \d{4}|\{\w+\}")


def texts(widget: widgets.Widget) -> Iterator[str]:
    """Whatever a person can read on a widget and on those inside it, tooltips and descriptions of pictures too."""
    for name in ("description", "tooltip", "value", "html", "titles", "words", "_options_labels"):
        found = getattr(widget, name, None)
        yield from map(str, found.values() if isinstance(found, dict) else [found] if isinstance(found, str) else found
                       if isinstance(found, tuple) else [])  # fmt: skip
    for part in getattr(widget, "children", ()):
        yield from texts(part)


def words(built: Explorer) -> set[str]:
    """The words in Latin letters on the explorer that name no strategy, option, run or paper."""
    controls = [control for side in built.sides for made in side.controls.options.values() for control in made.values()]
    pages = [BeautifulSoup(text, "html.parser") for widget in (built.widget, *controls) for text in texts(widget)
             if widget is not built.font and "@font-face" not in text]  # fmt: skip
    said = [page.get_text(" ") for page in pages]
    said += [tag[name] for page in pages for name in ("title", "alt", "aria-label") for tag in page.select(f"[{name}]")]
    return {word for text in said for word in re.findall("[A-Za-z]{2,}", PAPER_OR_VALUE.sub("", text))} - NAMED


def everything_said(corpus, tmp_path, monkeypatch) -> set[str]:
    """The words of an explorer that goes through all it can: pictures, tokens, two sides, a stop, and what fails."""
    runs = {folder: Run(folder) for folder in (tmp_path / "one" / "two" / "one", tmp_path / "one" / "two" / "two")}
    monkeypatch.setattr(side_module, "loaded_run", runs.__getitem__)
    for name in ("tokens", "prefix", "where", "neighbours", "doubt"):
        monkeypatch.setattr(Told, name, lambda *_, **__: "龘")
    monkeypatch.setattr(Run, "go_on", lambda *_: Caption("龘", [1], [-0.5], -0.5, "length"))
    built = Explorer(list(runs), corpus)
    found = words(built)
    built.compare.value = True
    settle(built)
    click(built, "1:9")
    settle(built)
    found |= words(built)
    built.cancel.click()
    found |= words(built)
    upload(built, "1.png", (tmp_path / "a.jpg").read_bytes())
    settle(built)
    found |= words(built)
    monkeypatch.setattr(Run, "caption", lambda *_: {}["龘"])
    built.chooser.choose("a")
    settle(built)
    built.worker.shutdown()
    return found | words(built)


def test_in_chinese_no_english_is_left_but_names(corpus, tmp_path, monkeypatch, chinese):
    assert everything_said(corpus, tmp_path, monkeypatch) == {"KeyError", "png"}


def test_in_english_every_part_says_what_it_is(corpus, tmp_path, monkeypatch):
    found = everything_said(corpus, tmp_path, monkeypatch)
    assert {"strategy", "run", "previous", "next", "random", "picture", "Your", "Upload", "drop", "compare", "Cancel",
            "Cancelled", "Captioned", "token", "prefix", "where", "back", "caption", "look", "likeness", "mean",
            "could"} <= found  # fmt: skip
