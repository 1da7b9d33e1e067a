"""Caption files that somebody else wrote, through `clipcap score`: every form gives the numbers of `score`."""

import json

import pytest
from typer.testing import CliRunner

from clipcap_lib.cli import app
from clipcap_lib.metrics.reference import score

MADE = {"1": "一只狗在草地上", "2": "两个男人在聊天"}
GIVEN = {"1": ["一只黑色的狗在草地上奔跑。", "狗在草地上"], "2": ["两个男人坐在长椅上聊天", "两个人在聊天"]}


def coco(captions):
    return json.dumps([{"image_id": int(image), "caption": text} for image, text in captions], ensure_ascii=False)


def lines(captions):
    return "\ufeff" + "\r\n".join(f"{image}\t{text}" for image, text in captions) + "\r\n\r\n"


PAIRS = [(image, text) for image, texts in GIVEN.items() for text in texts]
NUMBERED = [(f"{image}#{k}", text) for image, texts in GIVEN.items() for k, text in enumerate(texts)]


@pytest.fixture
def run(tmp_path):
    def scored(captions, references, *options):
        for name, text in (("captions", captions), ("references", references)):
            (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return CliRunner().invoke(app, ["score", str(tmp_path / "captions"), str(tmp_path / "references"), *options])

    return scored


def json_lines(captions, image="image_id", caption="caption"):
    rows = [{image: name, caption: text, "captions": [{"text": text}]} for name, text in captions]
    return "\ufeff" + "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)


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
    "references", [coco(PAIRS), json.dumps({"annotations": json.loads(coco(PAIRS))}), lines(PAIRS), lines(NUMBERED)],
    ids=["list", "coco", "lines", "token file"],
)  # fmt: skip
def test_every_format_gives_the_same_numbers(run, captions, references):
    result = run(captions, references, "--language", "zh", "--json")
    assert result.exit_code == 0, result.output
    found, expected = json.loads(result.output), score(MADE, GIVEN, "jieba").corpus
    assert {name: found[name] for name in expected.index} == pytest.approx(expected.to_dict())
    assert "jieba" in found["protocol"]


@pytest.mark.parametrize(
    ("captions", "references", "language", "message"),
    [
        (coco([("1", "一只狗")]), coco(PAIRS), "zh", "1 images have references but no caption: 2"),
        (coco([*MADE.items(), ("9", "猫")]), coco(PAIRS), "zh", "1 captions have no reference: 9"),
        (coco([*MADE.items(), ("1", "猫")]), coco(PAIRS), "zh", "1 images have more than one caption"),
        (coco(MADE.items()), coco(PAIRS), "en", "2 of 2 captions have Chinese characters"),
        (coco([("1", "a dog"), ("2", "a man")]), coco(PAIRS), "zh", "2 of 2 captions have no Chinese character"),
        ("1 一只狗\n", coco(PAIRS), "zh", ":1: expected `id<TAB>caption`"),
        ('[{"image_id": 1}]', coco(PAIRS), "zh", "entry 0 has no `image_id` or no `caption`"),
        ('[{"image_id": null, "caption": "猫"}]', coco(PAIRS), "zh", "entry 0 has no `image_id` or no `caption`"),
        ('[{"image_id": 1,', coco(PAIRS), "zh", "not JSON"),
        ('{"image_id": 1, "caption": "猫"}\n{"image_id": 2', coco(PAIRS), "zh", ":2: not JSON"),
        (
            '{"image_id": 1, "caption": "猫"}\n{"image_id": 2}',
            coco(PAIRS),
            "zh",
            ":2 has no `image_id` or no `caption`",
        ),
        ('{"image_id": 1,\n"caption": "猫"', coco(PAIRS), "zh", "not JSON"),
        (coco(MADE.items()), coco(PAIRS), "fr", "language 'fr' is unknown"),
    ],
)
def test_what_would_mislead_is_refused(run, captions, references, language, message):
    result = run(captions, references, "--language", language)
    assert result.exit_code == 2
    assert message in result.output
