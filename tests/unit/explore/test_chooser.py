"""Choosing pictures: by thumbnail, at random, by page, and one's own; what cannot be opened changes nothing."""

import re

import pandas as pd
import pytest
from PIL import Image

from clipcap_lib.explore.chooser import PAGE, PictureChooser


@pytest.fixture
def chooser(tmp_path):
    """Over two pages of pictures, of which the second is damaged."""
    names = [f"p{number:02}" for number in range(PAGE + 4)]
    for number, name in enumerate(names):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "p01.png").write_bytes(b"no picture")
    pictures = pd.DataFrame({"image_id": names, "image_path": [str(tmp_path / f"{name}.png") for name in names]})
    chosen, faults = [], []
    made = PictureChooser(pictures, pd.Series({name: [f"<{name}>"] for name in names}),
                          lambda: chosen.append(made.choice.name), faults.append)  # fmt: skip
    made.chosen, made.faults = chosen, faults
    return made


def click(chooser, value):
    """What the page sends when a thumbnail is clicked."""
    chooser.thumbnails._handle_custom_msg(value, [])


def shown(chooser):
    return re.findall(r'data-value="(\w+)"', chooser.thumbnails.html)


def test_pages_show_every_picture_once_and_end(chooser):
    names = list(chooser.paths.index)
    assert shown(chooser) == names[:PAGE]
    assert chooser.previous.disabled and not chooser.next.disabled
    chooser.next.click()
    assert shown(chooser) == names[PAGE:]
    assert chooser.next.disabled and not chooser.previous.disabled
    chooser.previous.click()
    assert shown(chooser) == names[:PAGE]
    assert chooser.chosen == []


def test_a_damaged_picture_has_its_name_as_thumbnail_and_a_reason_when_it_is_chosen(chooser):
    assert ">p01<" in re.sub("</?div[^>]*>", "", chooser.thumbnails.html)
    click(chooser, "p00")
    click(chooser, "p01")
    assert chooser.choice.name == "p00"
    assert len(chooser.faults) == 1
    assert "p01.png cannot be read as a picture" in chooser.faults[0]


def test_what_is_chosen_is_marked_and_named_and_texts_are_escaped(chooser):
    click(chooser, "p03")
    assert (chooser.thumbnails.chosen, chooser.told.value) == ("p03", f"picture 4 of {PAGE + 4}: p03")
    assert chooser.choice.picture.getpixel((0, 0)) == (3, 0, 0)
    assert "<p03>" not in chooser.choice.as_html() + chooser.thumbnails.html


def test_random_opens_the_page_of_what_it_chose(chooser, monkeypatch):
    monkeypatch.setattr("random.choice", lambda names: names[-1])
    chooser.random.click()
    assert chooser.chosen == [f"p{PAGE + 3}"]
    assert chooser.page == 1
    assert chooser.thumbnails.chosen in shown(chooser)


def test_random_chooses_another_picture_than_the_one_shown(chooser):
    chooser.paths = chooser.paths.iloc[[3, 4]]
    click(chooser, "p03")
    for _ in range(4):
        chooser.random.click()
    assert chooser.chosen == ["p03", "p04", "p03", "p04", "p03"]
    chooser.paths = chooser.paths.iloc[:1]  # where there is no other
    chooser.random.click()
    assert chooser.chosen[-1] == "p03"


def test_a_picture_of_ones_own_takes_the_place_of_the_choice_until_another_is_chosen(chooser, tmp_path):
    click(chooser, "p03")
    content = memoryview((tmp_path / "p05.png").read_bytes())
    chooser.input._handle_custom_msg({"name": "p03"}, [content])  # named as a test picture is
    assert (chooser.thumbnails.chosen, chooser.told.value) == ("", "your picture: p03")
    assert chooser.choice.picture.getpixel((0, 0)) == (5, 0, 0)
    assert chooser.choice.references == []
    click(chooser, "p03")
    assert chooser.choice.references == ["<p03>"]
    assert chooser.chosen == ["p03", "p03", "p03"]


@pytest.mark.parametrize(("message", "buffers", "said"), [
    ({"fault": "too large"}, [], "too large"),
    ({"name": "x.jpg"}, [memoryview(b"none")], "x.jpg cannot be read as a picture: its format is unknown"),
    ({"name": "x.jpg"}, [], "IndexError: list index out of range"),
])  # fmt: skip
def test_what_is_wrong_with_an_upload_is_said(chooser, message, buffers, said):
    click(chooser, "p03")
    chooser.input._handle_custom_msg(message, buffers)
    assert chooser.faults == [said]
    assert chooser.choice.name == "p03"


def test_an_error_nobody_thought_of_is_said(chooser):
    click(chooser, "unknown")
    assert chooser.faults == ["KeyError: 'unknown'"]


def test_what_is_wrong_with_a_picture_is_said_in_the_readers_language(chooser, chinese):
    click(chooser, "p01")
    chooser.input._handle_custom_msg({"name": "x.jpg"}, [memoryview(b"")])
    assert chooser.faults[0].endswith("p01.png 无法作为图片读取：无法识别其格式")
    assert chooser.faults[1] == "x.jpg 无法作为图片读取：文件为空"
