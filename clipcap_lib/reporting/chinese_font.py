"""The few Chinese characters a page needs, embedded, so that no reader without a Chinese font sees empty boxes."""

import base64
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import uharfbuzz
from IPython.display import HTML, display

from clipcap_lib.wording import read_catalogue, spoken

LAYOUT = ("BASE", "GDEF", "GPOS", "GSUB")  # tables that characters in a line can do without
JUPYTER = """.jp-Notebook {
  --jp-content-font-family: "Notebook SC", system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
  --jp-ui-font-family: var(--jp-content-font-family);
  --jp-code-font-family: "Notebook SC", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
.jp-Notebook .jupyter-widgets, .jp-Notebook .jupyter-widgets :is(select, button) {
  font-family: var(--jp-content-font-family);
}"""


def wide(text: str) -> set[str]:
    """The characters of a text that are lent: Chinese ones, and what is written between them."""
    return {character for character in set(text) if ord(character) > 0x2E7F}


def font_face(text: str, family: str) -> str:
    """A CSS `@font-face` of Noto Sans SC cut down to the Chinese characters of a text; empty where it has none.

    Name the family first: behind others, Chromium shows the first character that only it has as a box. The range keeps
    it from all that is not Chinese.
    """
    if not (characters := wide(text)):
        return ""
    data = base64.b64encode(_cut_down(characters)).decode()
    source = f"src: url(data:font/otf;base64,{data}); unicode-range: U+2E80-10FFFF;"
    return f'@font-face {{ font-family: "{family}"; {source} }}\n'


def _cut_down(characters: set[str]) -> bytes:
    """An OpenType font of these characters alone."""
    wanted = uharfbuzz.SubsetInput()
    wanted.unicode_set.update(map(ord, characters))
    wanted.flags = uharfbuzz.SubsetFlags.NOTDEF_OUTLINE
    for table in LAYOUT:
        wanted.sets(uharfbuzz.SubsetInputSets.DROP_TABLE_TAG).add(int.from_bytes(table.encode(), "big"))
    return uharfbuzz.subset(_font(), wanted).blob.data


@cache
def _font() -> uharfbuzz.Face:
    path = files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf"
    return uharfbuzz.Face(uharfbuzz.Blob.from_file_path(str(path)))


def notebook_style(text: str) -> str:
    """HTML that gives a notebook the Chinese characters of a text, and of all it may yet say; empty without any."""
    face = font_face(text + _catalogue(spoken()), "Notebook SC")
    return f"<style>{face}{JUPYTER}</style>" if face else ""


@cache
def _catalogue(language: str) -> str:
    """All that can be said in a language; nothing for English, which needs no characters lent."""
    return "" if language == "en" else "".join(str(message.string) for message in read_catalogue(language))


def lend_font(texts: Iterable[str]) -> None:
    """Give the notebook on display the Chinese characters of some texts, for a reader without a Chinese font."""
    if style := notebook_style("".join(set("".join(texts)))):
        display(HTML(style))
