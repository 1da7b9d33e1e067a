"""What notebooks explain stands in them twice: a cell in English, tagged `en`, and behind it one in Chinese, `zh`."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

PATHS = sorted((Path(__file__).parents[2] / "notebooks").glob("0[1-8]*.ipynb"))
LANGUAGES = {"en", "zh"}
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
ALIKE = {  # what a translation keeps, letter by letter
    "levels of headings": lambda text: re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE),
    "formulas": lambda text: Counter(map("".join, FORMULA.findall(FENCE.sub("", text)))),
    "signs of formulas": lambda text: Counter(re.findall(r"[Α-ω₀-ₜᵢᵀ←−√Σ≥^·×|]", text)),
    "code": lambda text: Counter(CODE.findall(FENCE.sub("", text))),
    "blocks of code": lambda text: len(FENCE.findall(text)),
    "links": lambda text: Counter(re.findall(r"\]\(([^)]+)\)|(https?://\S+)", text)),
    "papers": lambda text: Counter(re.findall(r"arXiv:[\d.]+|[A-Z]\w+ et al\. \d{4}b?", text)),
    "items of lists": lambda text: re.findall(r"^(-|\d+\.) ", text, re.MULTILINE),
    "numbers": lambda text: Counter(re.findall(r"\d+(?:\.\d+)?", text)),
}


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def markdown(path: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]


def pairs() -> list:
    """Each English cell with the cell behind it, whatever that is."""
    found = []
    for path in PATHS:
        cells = nbformat.read(path, as_version=4).cells
        found += [pytest.param(cell, after, id=f"{path.stem[:2]}-{cell.id}")
                  for cell, after in zip(cells, [*cells[1:], None], strict=True) if "en" in tags(cell)]  # fmt: skip
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_english_and_chinese_take_turns(path):
    cells = nbformat.read(path, as_version=4).cells
    spoken = [(number, *(tags(cell) & LANGUAGES)) for number, cell in enumerate(cells) if tags(cell) & LANGUAGES]
    english, chinese = spoken[::2], spoken[1::2]
    assert english
    assert chinese == [(number + 1, "zh") for number, _ in english]
    assert {language for _, language in english} == {"en"}
    assert all(cells[number].cell_type == "markdown" for number, _ in spoken)


@pytest.mark.parametrize(("english", "chinese"), pairs())
def test_the_chinese_says_the_same(english, chinese):
    assert tags(english) - {"en"} == tags(chinese) - {"zh"}
    assert re.search("[一-鿿]", chinese.source)
    assert not re.search("[一-鿿]", english.source)
    for what, of in ALIKE.items():
        assert of(chinese.source) == of(english.source), what


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_nothing_is_explained_in_no_language(path):
    """A cell without a language is the line of links, or has no words: a formula or a picture."""
    for cell in markdown(path):
        if not tags(cell) & {*LANGUAGES, "navigation"}:
            rest = re.sub(r"!\[[^]]*\]\([^)]*\)", "", FORMULA.sub("", FENCE.sub("", cell.source)))
            assert not re.search(r"[^\W\d_]{2}", rest), cell.source
