"""The gallery finds its own figures under their headings in a small notebook, or says which it lacks."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.files import read_json, write_json
from clipcap_lib.reporting import gallery
from clipcap_lib.reporting.gallery import FIGURES, first_figure_under
from clipcap_lib.reporting.language import language_of_report

ROOT = Path(__file__).parents[3]


def test_a_figure_is_found_under_its_heading(notebook):
    assert first_figure_under(notebook, "损失曲线") == b"\x89PNG picture"
    with pytest.raises(ValueError, match="Nowhere"):
        first_figure_under(notebook, "Nowhere")
    with pytest.raises(ValueError, match="no figure under the heading 'Nothing here'"):
        first_figure_under(notebook, "Nothing here")  # the next heading's figure is not its own


def test_a_gallery_without_a_figure_is_refused_in_one_line(notebook, tmp_path):
    for experiment, name, _ in FIGURES.values():
        copy = tmp_path / experiment / "notebooks" / name / "notebook.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, copy)
    result = CliRunner().invoke(app, ["gallery", "--reports", str(tmp_path)])
    assert result.exit_code == 2
    assert "no figure under the heading" in result.output
    assert result.output.count("\n") == 1


def test_answers_say_what_they_rest_on_and_those_of_other_experiments_stay(tmp_path, notebook, monkeypatch):
    monkeypatch.setattr(gallery, "FIGURES", {"a.png": ("emoji-zh", "04_mlp_vs_bert", "损失曲线"),
                                             "b.png": ("emoji-zh-scaling", "08_what_limits", "损失曲线")})  # fmt: skip
    place = tmp_path / "emoji-zh" / "notebooks" / "04_mlp_vs_bert"
    place.mkdir(parents=True)
    shutil.copy(notebook, place / "notebook.ipynb")
    write_json(place / "summary.json", {"findings": ["MLP is ahead.", "One seed.", "More."]})
    run = tmp_path / "emoji-zh" / "runs" / "mlp-full-s0"
    run.mkdir(parents=True)
    write_json(run / "provenance.json", {"git_commit": "abc", "device": "a CPU"})
    write_json(tmp_path / "emoji-zh" / "experiment.json", {"language": "zh"})
    (tmp_path / "gallery" / "zh").mkdir(parents=True)
    other = {"findings": ["It shrinks."], "answers": ["It shrinks."], "runs": 2, "commit": "c", "device": "a CPU"}
    write_json(tmp_path / "gallery" / "zh" / "answers.json", {"emoji-zh-scaling": other})
    made = gallery.write_gallery(tmp_path, tmp_path / "gallery")
    assert [path.relative_to(tmp_path / "gallery").as_posix() for path in made] == ["zh/a.png", "zh/answers.json"]
    answers = read_json(made[-1])
    told = {"findings": ["MLP is ahead.", "One seed.", "More."], "answers": ["MLP is ahead.", "One seed."]}
    assert answers["emoji-zh"] == told | {"commit": "abc", "device": "a CPU", "runs": 1}
    assert answers["emoji-zh-scaling"] == other


def test_without_a_report_the_language_is_that_of_the_executed_notebooks(tmp_path):
    def executed(name, **parameters):
        (tmp_path / "notebooks" / name).mkdir(parents=True)
        write_json(tmp_path / "notebooks" / name / "job.json", {"parameters": parameters})

    assert language_of_report(tmp_path) is None
    executed("01_data_preparation", report_language="en")  # by an earlier run: its result does not depend on it
    executed("02_feature_extraction")
    assert language_of_report(tmp_path) == "en"
    executed("08_what_limits", report_language="zh")
    assert language_of_report(tmp_path) == "zh"
    write_json(tmp_path / "experiment.json", {})  # of a report written before reports named their language
    assert language_of_report(tmp_path) == "en"


def test_answers_stand_in_the_readme_of_their_language_where_it_asks_for_them(tmp_path):
    content = {"answers": ["It shrinks.", "By 3 points."], "runs": 2, "commit": "0123456789", "device": "a CPU"}
    for language in ("en", "zh"):
        (tmp_path / language).mkdir()
        write_json(tmp_path / language / "answers.json", {"one": content})
    text = "Before.\n<!-- answers of one -->\nOld.\n<!-- end -->\n<!-- answers of two -->\n<!-- end -->\nAfter.\n"
    for name in gallery.READMES.values():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert gallery.renew_readmes(tmp_path, tmp_path) == [tmp_path / "README.md", tmp_path / "README.zh.md"]
    english, chinese = ((tmp_path / name).read_text(encoding="utf-8") for name in gallery.READMES.values())
    told = "> It shrinks.\n>\n> By 3 points.\n>\n> *2 runs, commit 0123456, a CPU*"
    assert english == text.replace("Old.", told)
    assert "次训练" in chinese
    assert chinese.endswith("<!-- answers of two -->\n<!-- end -->\nAfter.\n")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_readmes_say_what_the_gallery_found(language):
    """Answers are written by `make gallery`, never by hand; every figure that a README shows is there."""
    text = (ROOT / gallery.READMES[language]).read_text(encoding="utf-8")
    for experiment, content in read_json(ROOT / f"reports/gallery/{language}/answers.json").items():
        told = text.partition(f"<!-- answers of {experiment} -->")[2].partition("<!-- end -->")[0]
        assert all(f"> {answer}\n" in told for answer in content["answers"]), experiment
    shown = re.findall(r"\((reports/gallery/\S+?)\)", text)
    assert shown
    assert [path for path in shown if not (ROOT / path).is_file()] == []
