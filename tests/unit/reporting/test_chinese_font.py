"""The font that pages carry: every character that is shown, and before the reader's own fonts."""

import base64
import io
import re

import pytest
from fontTools.ttLib import TTFont
from transformers import AutoTokenizer

from clipcap_lib.explore.inspection import LoadedRun
from clipcap_lib.reporting.chinese_font import JUPYTER, font_face
from clipcap_lib.reporting.page import TEMPLATES


def covered(face: str) -> set[str]:
    """The characters of the font in a CSS rule."""
    data = re.search(r"base64,([^)]+)\)", face)[1]
    return set(map(chr, TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap()))


def test_the_font_holds_the_wide_characters_of_a_text_and_no_others():
    assert covered(font_face("a 一只猫, 猫。", "Test SC")) == set("一只猫。")
    assert font_face("plain", "Test SC") == ""


def test_tokens_that_no_caption_uses_are_no_boxes_in_the_explorer(project, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(project / "data/models/tiny-gpt2-zh")
    run = LoadedRun(project)
    captioner = type("Captioner", (), {"model": type("Model", (), {"tokenizer": tokenizer})})
    monkeypatch.setitem(vars(run), "captioner", captioner)
    wide = {character for token in tokenizer.get_vocab() for character in token if ord(character) > 0x2E7F}
    assert len(wide) > 1000
    assert wide <= covered(font_face("".join(run.vocabulary), "Test SC"))


@pytest.mark.parametrize("style", [JUPYTER, (TEMPLATES / "style.css").read_text(encoding="utf-8")])
def test_the_font_comes_first_where_it_is_named(style):
    """Behind others Chromium shows the first character that only it has as a box."""
    named = [line for line in style.splitlines() if ' SC"' in line]
    assert named
    for line in named:
        assert re.search(r'(font-family:|font: \S+) "(Report|Notebook) SC",', line), line
    assert "unicode-range: U+2E80-10FFFF" in font_face("一", "Test SC")
