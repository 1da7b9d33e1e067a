"""The tiny experiment told in Chinese: nothing trained again for it, and no sentence left in English."""

import re
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from clipcap_lib.cli import app

pytestmark = pytest.mark.notebooks
ENGLISH = re.compile(r"[A-Za-z][a-z]+(?: (?!et al)[a-z]{2,}){2,}")  # three words of prose in a row
UNSAID = "code, details.code, script, style, kbd"  # code, and what is typed


@pytest.fixture(scope="module")
def chinese(reports, tmp_path_factory) -> tuple[Path, str]:
    """The reports, told in Chinese, and what the command said."""
    folder = tmp_path_factory.mktemp("chinese") / "reports"
    shutil.copytree(reports, folder)
    told = ["-S", "report_language=zh", "--name", "emoji-tiny", "--reports", str(folder)]
    result = CliRunner().invoke(app, ["run", "emoji-tiny", *told])
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_another_language_trains_nothing_again(chinese):
    _, output = chinese
    kept = {line.split()[0] for line in output.splitlines() if "kept" in line}
    assert {"mlp-full-s0", "mlp-frozen-s0", "bert-full-s0", "bert-frozen-s0", "02_feature_extraction"} <= kept
    assert "04_mlp_vs_bert" not in kept


def test_a_report_rendered_again_stays_in_its_language(chinese):
    folder, _ = chinese
    result = CliRunner().invoke(app, ["report", "emoji-tiny", "--reports", str(folder)])
    assert result.exit_code == 0, result.output
    assert '<html lang="zh-CN">' in (folder / "emoji-tiny/index.html").read_text(encoding="utf-8")


def english_left(page: Path) -> list[str]:
    """The English sentences that a reader of a page sees, in its text and in what is said of its pictures."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    for hidden in soup.select(UNSAID):
        hidden.decompose()
    told = [soup.get_text("\n"), *(tag[name] for name in ("alt", "title", "aria-label", "placeholder")
                                   for tag in soup.select(f"[{name}]"))]  # fmt: skip
    return sorted({found for text in told for found in ENGLISH.findall(text)})


# What was kept, of notebooks 01 to 03, was printed and drawn in the language in which it was executed.
@pytest.mark.parametrize(
    "name",
    ["emoji-tiny/index.html", "emoji-tiny/captions.html", "index.html", "runs.html",
     "emoji-tiny/notebooks/07_explore/notebook.html"],
)  # fmt: skip
def test_no_sentence_is_left_in_english(chinese, name):
    folder, _ = chinese
    assert english_left(folder / name) == []
    assert '<html lang="zh-CN">' in (folder / name).read_text(encoding="utf-8")


def test_tables_of_reference_metrics_tell_their_protocol_in_chinese(chinese):
    folder, _ = chinese
    heads = BeautifulSoup((folder / "emoji-tiny/index.html").read_text(encoding="utf-8"), "html.parser").find_all("th")
    told = [head.get_text() for head in heads if "idf" in head.get_text()]
    assert told and all("条参考描述" in head and "idf of" not in head for head in told)
