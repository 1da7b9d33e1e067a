"""Executed notebooks as parts of a page: each heading with what stands under it, figures with their numbers."""

import base64
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters.highlight import Highlight2HTML

from clipcap_lib.reporting.page import loader
from clipcap_lib.wording import CATALOGUES, say, spoken, term

LANGUAGES = {"en", *(file.stem for file in CATALOGUES.glob("*.po"))}  # tags of cells that are for one language only
HIDDEN = {"interactive", "setup", "parameters", "injected-parameters", "navigation", "headline"}  # tags of cells
HALF = 900  # pixels: a figure up to this width may share a line of a wide page with another part
FOR_NOTEBOOKS = "Change this and see that"  # a part that invites to change code
NAMES_IN_CELLS = {"split", "tuning"}  # columns whose values are names of ours, and not an answer or a user's own
COLUMNS = 6  # a table with more is as wide as the page


@dataclass(frozen=True)
class Part:
    """A heading of a notebook and the cells under it; `wide` where that needs the page's whole width.

    `english` is the title in English, by which a part is known whatever language it is shown in.
    """

    id: str
    title: str
    body: Markup
    wide: bool
    english: str


def notebook_parts(path: Path, scenes: bool = True) -> list[Part]:
    """The parts of an executed notebook in order: code folded away, cells tagged `interactive` left out.

    Cells tagged `scenes` need the truth of emoji scenes: they are for a corpus of scenes only. What stands before the
    first heading of level 2 is a part without a title; the notebook's own title is left to the page. Of cells that are
    for one language, those in the language spoken are shown; see `cells_to_read`.
    """
    notebook = nbformat.read(path, as_version=4)
    hidden, english = HIDDEN if scenes else HIDDEN | {"scenes"}, _english_titles(notebook)
    notebook.cells = [cell for cell in cells_to_read(notebook) if not hidden & _tags(cell)]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("image/svg+xml", None)  # for slides; a page shows the picture
    soup = BeautifulSoup(exporter().from_notebook_node(notebook)[0], "html.parser")
    numbers = _numbers(notebook)
    groups = enumerate(_by_heading(soup), start=1)
    name = path.parent.name
    return [_part(cells, f"{name}-part-{place}", name, english, numbers) for place, cells in groups]


def cells_to_read(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells for a reader of the language spoken: all in a notebook that has none for this language alone."""
    if not any(spoken() in _tags(cell) for cell in notebook.cells):
        return notebook.cells
    others = LANGUAGES - {spoken()}
    return [cell for cell in notebook.cells if not others & _tags(cell)]


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _english_titles(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The English of each heading that has a twin: a cell tagged `en` is followed by the same in another language."""
    titles: dict[str, str] = {}
    for first, second in pairwise(notebook.cells):
        if "en" in _tags(first) and (LANGUAGES - {"en"}) & _tags(second):
            titles |= dict(zip(_titles(second), _titles(first), strict=False))
    return titles


def _titles(cell: nbformat.NotebookNode) -> list[str]:
    """The headings of level 2 of a cell, as a page shows their text."""
    return [re.sub(r"[*`]", "", title).strip() for title in re.findall(r"^## (.*)$", cell.source, flags=re.MULTILINE)]


def notebook_figures(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The outputs of an executed notebook that are figures, by type, each with the heading (of level 1 or 2) above."""
    heading = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and (found := _heading_of(cell)):
            heading = found[1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield heading, output["data"]


def _heading_of(cell: nbformat.NotebookNode) -> re.Match | None:
    """The heading that a cell begins with, if figures are named by it: those are known by their English one."""
    return None if (LANGUAGES - {"en"}) & _tags(cell) else re.match("##? (.*)", cell.source)


def notebook_html(path: Path, scenes: bool = True) -> Markup:
    """All parts of an executed notebook below one another; see `notebook_parts`."""
    return Markup("\n").join(part.body for part in notebook_parts(path, scenes))


@cache
def exporter() -> HTMLExporter:
    """What turns notebooks into HTML; made once, for reading its templates takes longer than a notebook does."""
    made = HTMLExporter(template_file="notebook.html.j2", extra_loaders=[loader()], exclude_anchor_links=True)
    made.environment.globals["say"] = say
    return made


def _with_code(html: str) -> Markup:
    """HTML with the code of each cell where the template left its place.

    Put in last: to read the thousands of tags that colour it takes longer than all else.
    """
    return Markup(re.sub("<!--code ([A-Za-z0-9+/=]*)-->", lambda found: _coloured(found[1]), html))


@cache
def _coloured(encoded: str) -> str:
    # Once for the same cell of many runs.
    return Highlight2HTML(pygments_lexer="ipython3")(base64.b64decode(encoded).decode())


def _by_heading(soup: BeautifulSoup) -> list[list[Tag]]:
    """The notebook's cells in groups, of which each but perhaps the first begins with a heading of level 2."""
    groups: list[list[Tag]] = []
    for cell in soup.find_all(recursive=False):
        if title := cell.find("h1"):
            title.decompose()
        if cell.find("h2") or not groups:
            groups.append([])
        groups[-1].append(cell)
    return [cells for cells in groups if any(cell.get_text(strip=True) or cell.find("img") for cell in cells)]


def _part(cells: list[Tag], place: str, notebook: str, titles: dict[str, str], numbers: dict[str, str]) -> Part:
    heading = cells[0].find("h2")
    title = heading.get_text(strip=True) if heading else ""
    english = titles.get(title, title)
    name = "-".join(re.findall(r"\w+", f"{notebook} {english}".lower()))
    name = name if name.isascii() else place  # an address is written in ASCII
    for cell in cells:
        _translate_tables(cell)
        for tag in cell.find_all(re.compile("^h[2-5]$")):
            tag.name = f"h{int(tag.name[1]) + 1}"  # the page's own headings stand above
        for image in cell.find_all("img"):
            _frame(image, title, english, numbers)
    if heading:
        heading["id"] = name
    return Part(name, title, _with_code("\n".join(map(str, cells))), any(map(_is_wide, cells)), english)


def _translate_tables(cell: Tag) -> None:
    """Say the names of columns and rows in the reader's language, and the values of columns that hold names."""
    for table in cell.find_all("table"):
        rows = [row.find_all(["th", "td"], recursive=False) for row in table.find_all("tr")]
        named = {place for place, head in enumerate(rows[0] if rows else []) if head.string in NAMES_IN_CELLS}
        for row in rows:
            for place, found in enumerate(row):
                english = (found.string or "").strip()
                if (found.name == "th" or place in named) and (told := term(english)) != english:
                    found.string = told


def _frame(image: Tag, title: str, english: str, numbers: dict[str, str]) -> None:
    """Describe a figure by its heading, let it open large, and give the numbers it draws to download."""
    drawn = image["src"].partition(",")[2]
    if not image.get("alt") or image["alt"].startswith("No description"):
        image["alt"] = say("Figure: {title}", title=title or say("of this notebook"))
    if not image["src"].startswith("data:image/png"):
        return  # a picture of the corpus
    frame = image.wrap(BeautifulSoup("", "html.parser").new_tag("figure"))
    image.wrap(BeautifulSoup("", "html.parser").new_tag("button", attrs={"type": "button", "class": "zoom"}))
    if drawn in numbers:
        data = base64.b64encode(numbers[drawn].encode()).decode()
        name, said = f"{english or 'of this notebook'}.csv", say("data (CSV)")
        link = f'<figcaption><a download="{name}" href="data:text/csv;base64,{data}">{said}</a></figcaption>'
        frame.append(BeautifulSoup(link, "html.parser"))


def _numbers(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The CSV of each figure that carries one, by the figure's own text in the page."""
    bundles = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        bundle["image/png"].replace("\n", ""): bundle["text/csv"] for bundle in bundles
        if "image/png" in bundle and bundle.get("text/csv")
    }  # fmt: skip


def _is_wide(cell: Tag) -> bool:
    tables = any(len(row.find_all(["th", "td"])) > COLUMNS for row in cell.find_all("tr"))
    figures = any(_width(image) > HALF for image in cell.find_all("img"))
    cards = cell.find("div", style=True) is not None
    return tables or figures or cards


def _width(image: Tag) -> int:
    """The width of an embedded PNG in pixels; 0 for other pictures."""
    kind, _, data = image["src"].partition("base64,")
    start = base64.b64decode(data[:32]) if "png" in kind else b""
    return struct.unpack(">I", start[16:20])[0] if len(start) >= 20 else 0
