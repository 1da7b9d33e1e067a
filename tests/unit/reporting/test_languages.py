"""Pages in Chinese: nothing is left in English but names, and in English they are as they were."""

import base64
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import vl_convert
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from markupsafe import Markup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clipcap_lib.files import write_json
from clipcap_lib.reporting import cards, charts, figures, runs_page
from clipcap_lib.reporting.browser_words import browser_words
from clipcap_lib.reporting.chinese_font import notebook_style, wide
from clipcap_lib.reporting.compare_runs import Comparison, _deltas_table, verdicts
from clipcap_lib.reporting.language import language_of_reports, language_of_run, shared, speaking
from clipcap_lib.reporting.notebook_html import FOR_NOTEBOOKS, notebook_figures, notebook_parts
from clipcap_lib.reporting.page import write_page
from clipcap_lib.reporting.report import write_index, write_report
from clipcap_lib.runner.experiment import load_experiment
from clipcap_lib.runner.jobs import Job, Outcome
from clipcap_lib.runs import Run
from clipcap_lib.wording import read_catalogue, say, spoken

PNG = base64.b64encode(b"\x89PNG picture").decode()
NAMES = ("mapping=mlp seed<3 grid",)  # what the runs page proposes to type
ENGLISH = re.compile(r"\b[a-z]{2,}(?: [a-z]{2,})+\b")
READ_ALOUD = ("aria-label", "alt", "title", "placeholder")


@pytest.fixture(params=["zh", "en"])
def language(request):
    with speaking(request.param):
        yield request.param


@pytest.fixture
def chinese():
    with speaking("zh"):
        yield


def run(mapping: str, tuning: str) -> Run:
    rows = [(step, step * 10, step * 0.5, split, "loss", 3 - step / 20)
            for split in ("train", "dev") for step in range(0, 40, 4)]  # fmt: skip
    history = pd.DataFrame(rows, columns=["step", "images", "seconds", "split", "metric", "value"])
    params = {"mapping": mapping, "tuning": tuning, "seed": 0, "language": "zh"}
    return Run(Path(f"{mapping}-{tuning}-s0"), params, {"best_dev_loss": 1.0}, history, pd.DataFrame())


DELTAS = pd.DataFrame({
    "run": "b", "metric": ["all", "relation", "size"], "value": 0.5, "first": 0.6,
    "verdict": ["worse", "may be chance", "better"], "images": 19, "to_settle": [30.0, np.inf, 2.0],
    "delta": [-0.05, -0.105, 0.3], "low": [-0.07, -0.368, 0.2], "high": [-0.03, 0.105, 0.4],
})  # fmt: skip


def runs_table() -> pd.DataFrame:
    """Four runs that differ in learning rate and seed."""
    rows = [("e", f"r{i}", "mlp", "full", i % 2, (1 + i // 2) / 1000, 1 + i / 10, 0.5) for i in range(4)]
    columns = ["experiment", "run", "mapping", "tuning", "seed", "learning_rate", "best_dev_loss", "right"]
    return pd.DataFrame(rows, columns=columns).assign(ended=pd.Timestamp("2026-01-02"))


def experiment_page() -> dict:
    chosen = [run("mlp", "full"), run("bert", "frozen")]
    figures.use_style()
    answers = [{"question": "问？", "first": "答。", "rest": ["其一。"]}] * 2
    job = {"name": "03", "status": "完成", "css": "done", "seconds": 1.0, "link": "a", "reading": "b"}
    origin = {"git_commit": None, "git_dirty": True, "precision": "bf16", "device": "CPU", "threads": 2,
              "versions": {"torch": "2", "numpy": "2"}}  # fmt: skip
    return {
        "title": "标题", "name": "e", "written": "2026", "counts": "", "captions": "captions.html", "answers": answers,
        "failures": [{"job": "03", "error": "错误", "link": "a"}], "alarms": ["小心"], "sections": [], "jobs": [job],
        "provenance": origin, "settings": "a: b", "attribution": None, "left_out": 3,
        "chart": charts.embed(charts.loss_curves(chosen), "curves"), "vega": "", "examples": "图",
        "still": Markup(cards.as_html(figures.learning_curves(chosen), "图")),
        "charted": [{"label": "mlp", "color": "red"}],
    }  # fmt: skip


def index_page() -> dict:
    row = {"name": "e", "title": "标题", "answer": "答", "runs": 2, "best_dev_loss": 1.0, "best_run": "mlp",
           "minutes": 1, "written": "2026", "spark": "0,0 1,1"}  # fmt: skip
    failures = [{"job": "03", "error": "错误"}]
    return {"title": "标题", "runs_page": "runs.html", "experiments": [row | {"failures": f} for f in (failures, [])]}


def runs_content() -> dict:
    table, settings = runs_table(), ["mapping", "tuning", "seed", "learning_rate"]
    studied = runs_page.sweeps(table, settings)
    drawn = {"parallel": runs_page._parallel(studied), "single": runs_page._single(studied)}
    return {
        "title": "标题", "columns": list(table), "settings": settings, "rows": runs_page._as_data(table), "vega": "",
        "charts": {name: charts.embed(chart, name) for name, chart in drawn.items()}, "measures": ["best_dev_loss"],
        "names": {name: runs_page._column_name(name) for name in [*table, "runs"]},
    }  # fmt: skip


def compare_page() -> dict:
    found = Comparison([], ["a", "b"], DELTAS)
    return {"title": "标题", "first": "a", "verdicts": verdicts(found), "deltas": _deltas_table(found),
            "parameters": "", "curves": "", "captions": "", "surroundings": ""}  # fmt: skip


def captions_page() -> dict:
    picture = {
        "id": "1.jpg",
        "references": ["猫"],
        "thumbnail": None,
        "said": [(["狗", ("树", "background")], ["size"])],
    }
    return {
        "words": browser_words(), "title": "标题", "name": "e", "pictures": [picture], "runs": [1, 2], "all_runs": 2,
        "choice": "arm", "failed": ["x"], "problem": "错误", "plain": 1, "voices": [{"name": "mlp", "kind": "run"}],
        "splits": ["test", "test_compositional"], "judged": True, "wrongs": ["size"], "data": "{}",
    }  # fmt: skip


PAGES = {
    "experiment.html.j2": experiment_page, "index.html.j2": index_page, "runs.html.j2": runs_content,
    "compare.html.j2": compare_page, "captions.html.j2": captions_page,
    "notebook_page.html.j2": lambda: {"title": "标题", "body": ""},
}  # fmt: skip


def told(page: str) -> str:
    """What a page shows or has read aloud, without code."""
    soup = BeautifulSoup(page, "html.parser")
    for tag in soup.find_all(["script", "style", "code", "pre"]):
        tag.decompose()
    aloud = [tag[name] for tag in soup.find_all(True) for name in READ_ALOUD if tag.has_attr(name)]
    return "\n".join([soup.get_text("\n"), *aloud])


@pytest.mark.parametrize("template", PAGES)
def test_a_page_in_chinese_says_nothing_in_english(template, tmp_path, chinese):
    page = write_page(tmp_path / "page.html", template, **PAGES[template]()).read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    said = told(page)
    for name in NAMES:
        said = said.replace(name, "")
    assert ENGLISH.findall(said) == []


@pytest.mark.parametrize("template", PAGES)
def test_a_page_in_english_keeps_its_words(template, tmp_path):
    page = write_page(tmp_path / "page.html", template, **PAGES[template]()).read_text(encoding="utf-8")
    words = {
        "experiment.html.j2": "Every number on this page was printed by one of these executed notebooks, or is drawn "
        "from a run's own history.",
        "index.html.j2": "2 in this folder. A click on a column's name sorts by it.", "runs.html.j2": "show only",
        "compare.html.j2": "b against a: better in size; worse in all; what differs in relation may be chance.",
        "captions.html.j2": "All captions, picture by picture", "notebook_page.html.j2": "The report",
    }  # fmt: skip
    assert '<html lang="en">' in page
    assert words[template] in page


def test_scripts_of_pages_speak_too(tmp_path, chinese):
    page = write_page(tmp_path / "page.html", "runs.html.j2", **runs_content()).read_text(encoding="utf-8")
    assert '"复制为 CSV"' in page and '"学习率"' in page and '"copy as CSV"' not in page
    (face,) = re.findall(r"url\(data:font/otf;base64,([^)]+)\)", page)
    assert set("复制") <= set(map(chr, TTFont(io.BytesIO(base64.b64decode(face))).getBestCmap()))


@pytest.mark.parametrize("make", [
    lambda: charts.loss_curves([run("mlp", "full")]),
    lambda: runs_page._parallel(runs_page.sweeps(runs_table(), ["seed", "learning_rate"])),
    lambda: runs_page._single(runs_page.sweeps(runs_table(), ["seed", "learning_rate"])),
])  # fmt: skip
def test_charts_in_chinese_compile(make, chinese):
    vega = vl_convert.vegalite_to_vega(charts._with_font(make()).to_dict())
    assert "Report SC" in str(vega["config"]) and "损失" in str(vega)


# --- notebooks -----------------------------------------------------------------------------------------------------

TABLE = """<table><thead><tr><th></th><th>split</th><th>best dev loss</th><th>unknown name</th></tr></thead>
<tbody><tr><th>seed</th><td>test</td><td>1</td><td>test</td></tr></tbody></table>"""


@pytest.fixture
def twins(tmp_path) -> Path:
    """A notebook whose texts stand in both languages."""
    cells = []
    for english, other in (
        ("# Title", "# 标题"),
        ("## The numbers × all", "## 数字"),
        (f"## {FOR_NOTEBOOKS}", "## 试试"),
    ):
        cells += [new_markdown_cell(text, metadata={"tags": [tag]}) for text, tag in ((english, "en"), (other, "zh"))]
        data = {"image/png": PNG, "text/csv": "a\n1\n"} if "numbers" in english else {"text/html": TABLE}
        cells.append(new_code_cell("show()", outputs=[new_output("display_data", data)], execution_count=1))
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "04" / "notebook.ipynb")
    return path


@pytest.fixture(autouse=True)
def folder_of_twins(tmp_path):
    (tmp_path / "04").mkdir()


def test_of_twins_the_one_in_the_readers_language_is_shown(twins, language):
    titles = {"en": ["", "The numbers × all", FOR_NOTEBOOKS], "zh": ["", "数字", "试试"]}[language]
    parts = notebook_parts(twins)
    assert [part.title for part in parts] == titles
    assert [part.english for part in parts] == ["", "The numbers × all", FOR_NOTEBOOKS]
    assert [part.id for part in parts] == ["04", "04-the-numbers-all", "04-change-this-and-see-that"]
    assert {"en": "Figure: The numbers × all", "zh": "图：数字"}[language] in parts[1].body
    assert 'download="The numbers × all.csv"' in parts[1].body
    assert {"en": "<summary>code</summary>", "zh": "<summary>代码</summary>"}[language] in parts[1].body


def test_figures_are_known_by_their_english_heading(twins, language):
    assert [heading for heading, _ in notebook_figures(twins)] == ["The numbers × all"]


def test_a_notebook_without_twins_is_shown_whole(tmp_path, language):
    cells = [new_markdown_cell("# Title"), new_markdown_cell("## Words"), new_markdown_cell("## 词")]
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "04" / "notebook.ipynb")
    assert [(part.id, part.title) for part in notebook_parts(path)] == [("04-words", "Words"), ("04-part-2", "词")]


def test_names_in_tables_are_translated(twins, language):
    cells = BeautifulSoup(notebook_parts(twins)[0].body, "html.parser").table.find_all(["th", "td"])
    english = ["", "split", "best dev loss", "unknown name", "seed", "test", "1", "test"]
    translated = ["", "数据划分", "最低验证损失", "unknown name", "随机种子", "测试集", "1", "test"]
    assert [cell.get_text() for cell in cells] == {"en": english, "zh": translated}[language]


# --- whose language ------------------------------------------------------------------------------------------------


def test_a_report_speaks_the_experiments_language_and_then_as_before(project, tmp_path):
    experiment = load_experiment(project / "notebooks" / "experiments" / "emoji-tiny.yaml")
    for language, lang in (("zh", "zh-CN"), ("en", "en")):
        chosen = experiment.model_copy(update={"report_language": language})
        job = Job("03_train", tmp_path / experiment.name / "runs" / "mlp-full-s0", {})
        page = write_report(chosen, [Outcome(job, "failed", 3.0, "ValueError")], tmp_path)
        for path in (page, tmp_path / "index.html", tmp_path / "runs.html"):
            assert f'<html lang="{lang}">' in path.read_text(encoding="utf-8")
        assert spoken() == "en"


def test_a_page_over_experiments_in_several_languages_is_english(tmp_path):
    row = index_page()["experiments"][1]
    for name, further in (("a", {"language": "zh"}), ("b", {"language": "zh"})):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "experiment.json", row | further)
    assert language_of_reports(tmp_path) == "zh"
    assert '<html lang="zh-CN">' in write_index(tmp_path).read_text(encoding="utf-8")
    write_json(tmp_path / "b" / "experiment.json", row)  # an older report
    assert language_of_reports(tmp_path) == "en"
    assert shared([]) == "en"


def test_a_run_is_told_of_in_the_language_of_its_report(tmp_path):
    folder = tmp_path / "one" / "runs" / "mlp-full-s0"
    run = Run(folder, {"language": "zh"}, {}, pd.DataFrame(), pd.DataFrame())
    assert language_of_run(run) == "zh"
    folder.mkdir(parents=True)
    write_json(tmp_path / "one" / "experiment.json", {"language": "en"})
    assert language_of_run(run) == "en"


def test_after_an_error_the_language_is_as_before():
    with pytest.raises(ValueError, match="wrong"), speaking("zh"):
        raise ValueError("wrong")
    assert spoken() == "en"


# --- figures -------------------------------------------------------------------------------------------------------


def test_figures_have_every_character_that_can_be_said(chinese):
    """A missing glyph is a warning, and warnings of glyphs are errors here."""
    figures.use_style()
    figure = figures.learning_curves([run("mlp", "full")])
    assert figure.axes[0].get_title(loc="left") == "语言模型：全部微调"
    said = "".join(sorted(set("".join(str(message.string) for message in read_catalogue("zh")))))
    figure.text(0, 0, said.replace("\n", "").replace("$", ""))
    figure.savefig(io.BytesIO(), format="png")


def test_names_in_figures_are_translated(chinese):
    figures.use_style()
    pairs = figures.confusion_bars(pd.Series({"cat → dog": 3}), "混淆").axes[0]
    assert [label.get_text() for label in pairs.get_yticklabels()] == ["猫 → 狗"]
    table = pd.DataFrame({"factor": "relation", "value": ["right", "none"], "pictures": 9, "right": 0.5})
    (axis,) = figures.factor_bars(table, "").axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["右", "无"] and axis.get_xlabel() == "位置关系"


def test_what_a_notebook_is_lent_covers_all_that_may_yet_be_said():
    assert notebook_style("plain") == ""
    with speaking("zh"):
        style = notebook_style("plain")
    data = re.search(r"base64,([^)]+)\)", style)[1]
    lent = set(map(chr, TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap()))
    assert wide("".join(str(message.string) for message in read_catalogue("zh"))) <= lent


def test_marks_and_verdicts_of_captions_are_translated(language):
    row = dict.fromkeys(["objects", "count", "size", "background", "relation", "all"], 1) | {"size": 0, "count": 0}
    assert {"en": "✗ count, size", "zh": "✗ 数量、大小"}[language] in cards.verdict(row)
    assert {"en": "probability", "zh": "概率"}[language] == say("probability")
