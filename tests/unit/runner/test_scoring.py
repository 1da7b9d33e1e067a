"""`clipcap score` says by which protocol it scored, and refuses in one line what it cannot score."""

import json

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app


@pytest.fixture
def run(tmp_path):
    """Score two right files."""
    made = [{"image_id": 1, "caption": "一只狗在草地上"}, {"image_id": 2, "caption": "两个男人在聊天"}]
    given = [{"image_id": 1, "caption": "狗在草地上"}, {"image_id": 2, "caption": "两个男人坐在长椅上聊天"}]
    for name, rows in (("captions", made), ("references", given)):
        (tmp_path / name).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")

    def scored(*options):
        return CliRunner().invoke(app, ["score", str(tmp_path / "captions"), str(tmp_path / "references"), *options])

    return scored


def test_the_table_shows_protocol_and_intervals(run):
    result = run("--language", "zh", "--tokeniser", "char")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("char tokens", "CIDEr-D", "95 % interval"))


def test_a_refusal_is_one_line_and_names_the_file_as_it_was_written(tmp_path):
    name = tmp_path / f"captions[v{'1' * 80}] :dog: .json"
    result = CliRunner().invoke(app, ["score", str(name), str(name), "--language", "zh"])
    assert result.exit_code == 2
    assert str(name) in result.output
    assert result.output.count("\n") == 1


def test_a_tokeniser_of_the_other_language_is_refused(run):
    result = run("--language", "zh", "--tokeniser", "ptb")
    assert result.exit_code == 2
    assert "tokeniser 'ptb' is not for zh; choose jieba or char" in result.output
