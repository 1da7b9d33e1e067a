"""A page printed by a real browser: what is folded away is on paper, but for code; by the style or the script alone."""

import re
import shutil
from pathlib import Path

import pytest
from markupsafe import Markup

from clipcap_lib.reporting.export import BROWSERS, write_pdf
from clipcap_lib.reporting.page import write_page

pytestmark = pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser on the PATH: nothing printed")
TALL = '<details class="{}"><summary>more</summary><div style="height:3000px">folded</div></details>'  # over two pages


def printed(tmp_path: Path, folded: str, without: str | None = None) -> int:
    """The pages of paper for a page with something tall folded away; `without` a part of that page's own text."""
    page = write_page(tmp_path / "index.html", "notebook_page.html.j2", title="A", body=Markup(TALL).format(folded))
    text, removed = re.subn(without, "", page.read_text(encoding="utf-8"), flags=re.DOTALL) if without else ("", 0)
    if without:
        assert removed == 1
        page.write_text(text, encoding="utf-8")
    return len(re.findall(rb"/Type /Page\b", write_pdf(page).read_bytes()))


def test_what_is_folded_is_printed_but_code(tmp_path):
    assert printed(tmp_path, "") > 2
    assert printed(tmp_path, "code") == 1


@pytest.mark.parametrize("without", [r"<script.*</script>", r"details:not\(\.code\)::details-content \{.*?\}"])
def test_style_or_script_alone_unfold_it(tmp_path, without):
    assert printed(tmp_path, "", without) > 2
