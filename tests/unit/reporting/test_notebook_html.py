"""Notebooks as parts of a page: what is shown, how figures are described, and which numbers come with them."""

import base64
import struct

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clipcap_lib.reporting.notebook_html import notebook_html, notebook_parts


def png(width: int) -> str:
    """The first bytes of a PNG of this width."""
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIIII", 13, b"IHDR", width, 50, 0, 0, 0)).decode()


def parts_of(tmp_path, *cells, **options):
    nbformat.write(new_notebook(cells=list(cells)), path := tmp_path / "notebook.ipynb")
    return notebook_parts(path, **options)


def drawn(data: dict) -> nbformat.NotebookNode:
    return new_code_cell("plot()", outputs=[new_output("display_data", data)], execution_count=1)


def test_a_notebook_folds_code_and_describes_figures(notebook):
    body = notebook_html(notebook)
    assert '<details class="code">' in body
    assert 'alt="Figure: 损失曲线"' in body
    for hidden in ("The title", "secret", "widget()", "No description"):
        assert hidden not in body


def test_parts_are_what_stands_under_a_heading(notebook):
    parts = notebook_parts(notebook)
    assert [part.title for part in parts] == ["Nothing here", "损失曲线", "Next"]
    assert all(f'id="{part.id}"' in part.body and "<h3" in part.body for part in parts)
    assert "<img" in parts[1].body and "<img" not in parts[0].body + parts[2].body
    assert len({part.id for part in parts}) == 3


def test_what_stands_before_the_first_heading_is_a_part_without_title(tmp_path):
    parts = parts_of(tmp_path, new_markdown_cell("# Title\nWhat it is about."), new_markdown_cell("## First"))
    assert [part.title for part in parts] == ["", "First"]
    assert "What it is about." in parts[0].body and "Title" not in parts[0].body


def test_cells_on_scenes_are_shown_with_scenes_only(tmp_path, figure_cell):
    tagged = {"tags": ["scenes"]}
    cells = [
        new_markdown_cell("## Any corpus"), new_markdown_cell("## Only scenes", metadata=tagged),
        figure_cell("scene()", ("scenes",)), new_code_cell("anything()"),
    ]  # fmt: skip
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "notebook.ipynb")
    assert "Only scenes" in notebook_html(path)
    assert "Figure: Only scenes" in notebook_html(path)
    body = notebook_html(path, scenes=False)
    assert "Any corpus" in body
    assert "anything" in body
    assert "Only scenes" not in body
    assert "<img" not in body


@pytest.mark.parametrize(("cell", "wide"), [
    (drawn({"image/png": png(900)}), False), (drawn({"image/png": png(901)}), True),
    (drawn({"text/html": "<table><tr>" + 6 * "<td>1</td>" + "</tr></table>"}), False),
    (drawn({"text/html": "<table><tr>" + 7 * "<td>1</td>" + "</tr></table>"}), True),
])  # fmt: skip
def test_only_what_is_wide_takes_the_width_of_the_page(tmp_path, cell, wide):
    (part,) = parts_of(tmp_path, new_markdown_cell("## One"), cell)
    assert part.wide == wide


def test_the_numbers_of_a_figure_come_with_it(tmp_path):
    csv = "panel,series,x,y\n1,损失,0,0.5\n"
    with_numbers, without = drawn({"image/png": png(10), "text/csv": csv}), drawn({"image/png": png(20)})
    (part,) = parts_of(tmp_path, new_markdown_cell("## One"), without, with_numbers)
    (link,) = [piece.partition('"')[0] for piece in part.body.split("data:text/csv;base64,")[1:]]
    assert base64.b64decode(link).decode() == csv
    assert 'download="One.csv"' in part.body
