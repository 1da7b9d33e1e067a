"""A text file that is not UTF-8 is refused with the encoding it looks like and a line that converts it."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.corpus.readers import read_captions, read_pairs, read_splits
from clipcap_lib.corpus.text_files import read_text
from clipcap_lib.runner.experiment import ExperimentError, load_experiment

CSV = "image,caption\n1.jpg,{}\n2.jpg,{}\n"
SIMPLIFIED = CSV.format("一只猫在草地上", "两个男人坐在长椅上聊天")
TRADITIONAL = CSV.format("兩個男人坐在長椅上聊天", "一隻貓在草地上，旁邊有一條河")
JAPANESE = CSV.format("猫が草の上にいます", "二人の男性がベンチで話しています")
FRENCH = CSV.format("un café à côté de la fenêtre", "un garçon âgé de dix ans")


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        (SIMPLIFIED, "gbk", "looks like GBK (GB18030), which Excel writes on a Chinese Windows; expected UTF-8"),
        (CSV.format("一只猫", "狗"), "gbk", "looks like GBK"),
        (TRADITIONAL, "big5", "looks like Big5"),
        (JAPANESE, "cp932", "looks like Shift-JIS"),
        (FRENCH, "cp1252", "looks like Windows-1252"),
        (SIMPLIFIED, "utf-16", "looks like UTF-16"),
        (SIMPLIFIED, "utf-16-le", "looks like UTF-16 without"),
        (SIMPLIFIED, "utf-16-be", "looks like UTF-16 without"),
        ("image,caption\n1.jpg,a cat\n", "utf-16-be", "looks like UTF-16 without"),
    ],
)
def test_the_encoding_is_named_and_the_line_that_is_given_converts_the_file(tmp_path, text, encoding, words):
    path = tmp_path / "my captions.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError) as error:
        read_text(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line ")
    assert words in message
    assert "\n" not in message
    subprocess.run(message.partition("or type ")[2], shell=True, check=True)
    assert (tmp_path / "my captions.utf8.csv").read_text(encoding="utf-8") == text


def test_the_line_is_the_first_that_does_not_fit(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"image,caption\n1,a\n" * 40_000 + SIMPLIFIED.encode("gbk"))
    with pytest.raises(ValueError, match="line 80002: looks like GBK"):
        read_text(path)


def test_one_damaged_character_is_not_taken_for_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(SIMPLIFIED.encode().replace("猫".encode(), "猫".encode()[:2]))
    with pytest.raises(ValueError, match=r"a\.csv, line 2: expected text in UTF-8, found b'\\xe7\\x8c\\xe5") as error:
        read_text(path)
    assert "iconv" not in str(error.value)


def test_a_mark_and_line_ends_are_kept(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff1\t猫\r\n".encode())
    assert read_text(path) == "\ufeff1\t猫\r\n"


COCO = json.dumps(
    {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "一只猫在草地上"}]},
    ensure_ascii=False,
)
READERS = {
    "captions.csv": (SIMPLIFIED, lambda path: read_captions(path, None)),
    "captions.jsonl": ('{"file_name": "1.jpg", "text": "一只猫在草地上"}\n', lambda path: read_captions(path, None)),
    "captions.json": (COCO, lambda path: read_captions(path, None)),
    "splits.csv": ("image_id,split\n草地.jpg,train\n", read_splits),
    "made.txt": ("1\t一只猫在草地上\n", read_pairs),
    "made.json": (COCO, read_pairs),
    "mine.yaml": ("name: mine\ntitle: 我的实验\n", load_experiment),
}


@pytest.mark.parametrize("name", READERS)
def test_every_file_that_people_write_is_read_by_it(tmp_path, name):
    text, read = READERS[name]
    (tmp_path / name).write_bytes(text.encode("gbk"))
    with pytest.raises((ValueError, ExperimentError), match="line [12]: looks like GBK.*iconv -f GB18030 -t UTF-8"):
        read(tmp_path / name)


def test_score_says_it_in_one_line(tmp_path):
    (tmp_path / "made.txt").write_bytes("1\t一只猫在草地上\n".encode("gbk"))
    (tmp_path / "given.txt").write_text("1\t猫在草地上\n", encoding="utf-8")
    result = CliRunner().invoke(
        app, ["score", str(tmp_path / "made.txt"), str(tmp_path / "given.txt"), "--language", "zh"]
    )
    assert result.exit_code == 2
    assert "looks like GBK" in result.output
    assert result.output.count("\n") == 1
