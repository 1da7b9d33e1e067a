"""The few Chinese characters a page needs, embedded, so that no reader without a Chinese font sees empty boxes."""

import base64
import io
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from fontTools import subset
from IPython.display import HTML, display

from clipcap_lib.wording import read_catalogue, spoken

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
    return {character for character in text if ord(character) > 0x2E7F}


def font_face(text: str, family: str) -> str:
    """A CSS `@font-face` of Noto Sans SC cut down to the Chinese characters of a text; empty where it has none.

    Name the family first: behind others, Chromium shows the first character that only it has as a box. The range keeps
    it from all that is not Chinese.
    """
    if not (characters := wide(text)):
        return ""
    options = subset.Options(layout_features=[], name_IDs=[], notdef_outline=True, desubroutinize=True)
    font = subset.load_font(str(files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(characters)))
    cutter.subset(font)
    buffer = io.BytesIO()
    font.save(buffer)
    data = base64.b64encode(buffer.getvalue()).decode()
    source = f"src: url(data:font/otf;base64,{data}); unicode-range: U+2E80-10FFFF;"
    return f'@font-face {{ font-family: "{family}"; {source} }}\n'


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
