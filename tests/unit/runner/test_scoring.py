"""`clipcap score` reads every format, says by which protocol it scored, and refuses in one line what it cannot."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.metrics.reference import score

MADE = {"1": "一只狗在草地上", "2": "两个男人在聊天"}
GIVEN = {"1": ["一只黑色的狗在草地上奔跑。", "狗在草地上"], "2": ["两个男人坐在长椅上聊天", "两个人在聊天"]}
PAIRS = [(image, text) for image, texts in GIVEN.items() for text in texts]
NUMBERED = [(f"{image}#{k}", text) for image, texts in GIVEN.items() for k, text in enumerate(texts)]


def coco(captions):
    return json.dumps([{"image_id": int(image), "caption": text} for image, text in captions], ensure_ascii=False)


def lines(captions):
    return "\ufeff" + "\r\n".join(f"{image}\t{text}" for image, text in captions) + "\r\n\r\n"


@pytest.fixture
def run(tmp_path):
    def scored(captions, references, *options):
        for name, text in (("captions", captions), ("references", references)):
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return CliRunner().invoke(app, ["score", str(tmp_path / "captions"), str(tmp_path / "references"), *options])

    return scored


def test_the_table_shows_protocol_and_intervals(run):
    result = run(coco(MADE.items()), coco(PAIRS), "--language", "zh", "--tokeniser", "char")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("char tokens", "CIDEr-D", "95 % interval"))


def test_a_refusal_is_one_line_and_names_the_file_as_it_was_written(tmp_path):
    name = tmp_path / f"captions[v{'1' * 80}] :dog: .json"
    result = CliRunner().invoke(app, ["score", str(name), str(name), "--language", "zh"])
    assert result.exit_code == 2
    assert f"{name}: there is no such file" in result.output
    assert result.output.count("\n") == 1


def test_a_tokeniser_of_the_other_language_is_refused(run):
    result = run(coco(MADE.items()), coco(PAIRS), "--language", "zh", "--tokeniser", "ptb")
    assert result.exit_code == 2
    assert "tokeniser 'ptb' is not for zh; choose jieba or char" in result.output


def json_lines(captions, image="image_id", caption="caption"):
    rows = [{image: name, caption: text, "captions": [{"text": text}]} for name, text in captions]
    return "\ufeff" + "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)


def annotations():
    images = [{"id": int(image), "file_name": f"{image}.jpg"} for image in GIVEN]
    return json.dumps({"images": images, "annotations": json.loads(coco(PAIRS))})


def karpathy():
    sentences = {image: [{"raw": text} for text in texts] for image, texts in GIVEN.items()}
    return json.dumps({"images": [{"filename": i, "split": "test", "sentences": s} for i, s in sentences.items()]})


def parquet():
    return pd.DataFrame(PAIRS, columns=["image_id", "caption"]).astype({"image_id": int}).to_parquet()


FORMS = {
    "json": coco(MADE.items()),
    "lines": lines(MADE.items()),
    "json lines": json_lines(MADE.items()),
    "file_name, text": json_lines(MADE.items(), "file_name", "text"),
    "image, caption": json_lines(MADE.items(), "image"),
    "list of file names": coco(MADE.items()).replace("image_id", "file_name"),
}


@pytest.mark.parametrize("captions", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    "references", [annotations(), coco(PAIRS), lines(PAIRS), lines(NUMBERED), karpathy(), parquet()],
    ids=["coco", "list", "lines", "numbered", "karpathy", "parquet"],
)  # fmt: skip
def test_every_format_gives_the_same_numbers(run, captions, references):
    result = run(captions, references, "--language", "zh", "--json")
    assert result.exit_code == 0, result.output
    found, expected = json.loads(result.output), score(MADE, GIVEN, "jieba").corpus
    assert {name: found[name] for name in expected.index} == pytest.approx(expected.to_dict())
    assert "jieba" in found["protocol"]


def test_flickr30k_s_own_files_are_references(run):
    made = "".join(f"{image}.jpg\t{text}\n" for image, text in MADE.items())  # as `clipcap caption` writes them
    by_lines = run(made, lines((f"{image}.jpg", text) for image, text in PAIRS), "--language", "zh", "--json")
    tokens = lines((f"{image[0]}.jpg{image[1:]}", text) for image, text in NUMBERED)
    assert run(made, tokens, "--language", "zh", "--json").output == by_lines.output
    chinese = "".join(f"{image}#zhb#0 {' '.join(text)}\n" for image, text in PAIRS)
    by_ids = run(lines(MADE.items()), chinese, "--language", "zh", "--json")
    assert json.loads(by_ids.output) == json.loads(by_lines.output)


def test_an_empty_caption_counts(run):
    said = run(lines(MADE.items()), coco(PAIRS), "--language", "zh", "--json")
    result = run(lines((MADE | {"2": ""}).items()), coco(PAIRS), "--language", "zh", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["ROUGE-L"] < json.loads(said.output)["ROUGE-L"]


@pytest.mark.parametrize(
    ("captions", "references", "language", "message"),
    [
        (coco([("1", "一只狗")]), coco(PAIRS), "zh", "1 images have references but no caption: 2"),
        (coco([*MADE.items(), ("9", "猫")]), coco(PAIRS), "zh", "1 captions have no reference: 9"),
        (coco([*MADE.items(), ("1", "猫")]), coco(PAIRS), "zh", "1 images have more than one caption"),
        (coco(MADE.items()), coco(PAIRS), "en", "2 of 2 captions have Chinese characters"),
        (coco([("1", "a dog"), ("2", "a man")]), coco(PAIRS), "zh", "2 of 2 captions have no Chinese character"),
        ("1 一只狗\n", coco(PAIRS), "zh", "line 1: expected one of the formats"),
        (
            "1\t一只猫\n2 狗\n",
            coco(PAIRS),
            "zh",
            "line 2: expected id and caption: <id>[#<k>]<TAB><caption>, found '2 狗'",
        ),
        ("1\t一只猫\n \t狗\n", coco(PAIRS), "zh", "line 2: expected id and caption"),
        ("", coco(PAIRS), "zh", "expected captions, found no line that is not blank"),
        ("[]", coco(PAIRS), "zh", "expected captions, found none"),
        ('{"annotations": 1}', coco(PAIRS), "zh", "expected COCO results ("),
        ('[{"image_id": 1}]', coco(PAIRS), "zh", "entry 0: expected COCO results ("),
        ('[{"image_id": null, "caption": "猫"}]', coco(PAIRS), "zh", "entry 0: expected COCO results ("),
        ('[{"image_id": 1,', coco(PAIRS), "zh", "not JSON"),
        ('{"image_id": 1, "caption": "猫"}\n{"image_id": 2', coco(PAIRS), "zh", "line 2: expected one {"),
        (
            '{"image_id": 1, "caption": "猫"}\n{"image_id": 2}',
            coco(PAIRS),
            "zh",
            'line 2: expected one {"image_id": …, "caption": …} a line, found \'{"image_id": 2}\'',
        ),
        ('{"image_id": 1,\n"caption": "猫"', coco(PAIRS), "zh", "not JSON"),
        (coco(MADE.items()), coco(PAIRS), "fr", "language 'fr' is unknown"),
    ],
)
def test_what_would_mislead_is_refused(run, captions, references, language, message):
    result = run(captions, references, "--language", language)
    assert result.exit_code == 2
    assert message in result.output
