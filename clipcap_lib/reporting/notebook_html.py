"""Executed notebooks as parts of a page: each heading with what stands under it, figures with their numbers."""

import base64
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup
from nbconvert import HTMLExporter

from clipcap_lib.reporting.page import loader

HIDDEN = {"interactive", "setup", "parameters", "injected-parameters", "navigation", "headline"}  # tags of cells
HALF = 900  # pixels: a figure up to this width may share a line of a wide page with another part
FOR_NOTEBOOKS = "Change this and see that"  # a part that invites to change code
COLUMNS = 6  # a table with more is as wide as the page


@dataclass(frozen=True)
class Part:
    """A heading of a notebook and the cells under it; `wide` where that needs the page's whole width."""

    id: str
    title: str
    body: Markup
    wide: bool


def notebook_parts(path: Path, scenes: bool = True) -> list[Part]:
    """The parts of an executed notebook in order: code folded away, cells tagged `interactive` left out.

    Cells tagged `scenes` need the truth of emoji scenes: they are for a corpus of scenes only. What stands before the
    first heading of level 2 is a part without a title; the notebook's own title is left to the page.
    """
    notebook = nbformat.read(path, as_version=4)
    hidden = HIDDEN if scenes else HIDDEN | {"scenes"}
    notebook.cells = [cell for cell in notebook.cells if not hidden & set(cell.metadata.get("tags", []))]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("image/svg+xml", None)  # for slides; a page shows the picture
    soup = BeautifulSoup(_exporter().from_notebook_node(notebook)[0], "html.parser")
    return [_part(cells, path.parent.name, _numbers(notebook)) for cells in _by_heading(soup)]


def notebook_figures(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The outputs of an executed notebook that are figures, by type, each with the heading (of level 1 or 2) above."""
    heading = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and (found := re.match("##? (.*)", cell.source)):
            heading = found[1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield heading, output["data"]


def notebook_html(path: Path, scenes: bool = True) -> Markup:
    """All parts of an executed notebook below one another; see `notebook_parts`."""
    return Markup("\n").join(part.body for part in notebook_parts(path, scenes))


@cache
def _exporter() -> HTMLExporter:
    # Once: reading its templates takes longer than rendering a notebook.
    return HTMLExporter(template_file="notebook.html.j2", extra_loaders=[loader()], exclude_anchor_links=True)


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


def _part(cells: list[Tag], notebook: str, numbers: dict[str, str]) -> Part:
    heading = cells[0].find("h2")
    title = heading.get_text(strip=True) if heading else ""
    name = "-".join(re.findall(r"\w+", f"{notebook} {title}".lower()))
    for cell in cells:
        for tag in cell.find_all(re.compile("^h[2-5]$")):
            tag.name = f"h{int(tag.name[1]) + 1}"  # the page's own headings stand above
        for image in cell.find_all("img"):
            _frame(image, title or "of this notebook", numbers)
    if heading:
        heading["id"] = name
    return Part(name, title, Markup("\n".join(map(str, cells))), any(map(_is_wide, cells)))


def _frame(image: Tag, title: str, numbers: dict[str, str]) -> None:
    """Describe a figure by its heading, let it open large, and give the numbers it draws to download."""
    drawn = image["src"].partition(",")[2]
    if not image.get("alt") or image["alt"].startswith("No description"):
        image["alt"] = f"Figure: {title}"
    if not image["src"].startswith("data:image/png"):
        return  # a picture of the corpus
    frame = image.wrap(BeautifulSoup("", "html.parser").new_tag("figure"))
    image.wrap(BeautifulSoup("", "html.parser").new_tag("button", attrs={"type": "button", "class": "zoom"}))
    if drawn in numbers:
        data = base64.b64encode(numbers[drawn].encode()).decode()
        link = f'<figcaption><a download="{title}.csv" href="data:text/csv;base64,{data}">data (CSV)</a></figcaption>'
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
