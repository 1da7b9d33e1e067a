"""COCO, Karpathy, JSON lines and Parquet: read as published, refused with the place of what does not fit."""

import json

import pandas as pd
import pytest
from PIL import Image

from clipcap_lib.corpus.readers import read_captions, read_corpus

COCO = {
    "info": {}, "licenses": [],
    "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg", "height": 2}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 7, "id": 1, "caption": "A cat."}, {"image_id": 7, "id": 2, "caption": " A dog\n sits."},
        {"image_id": 9, "id": 3, "caption": "A car."},
    ],
}  # fmt: skip
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": "a.jpg",
            "split": "restval",
            "sentences": [{"raw": "A cat.", "tokens": []}],
        },
        {"filepath": "val2014", "filename": "b.jpg", "split": "val", "sentences": [{"raw": "Bee"}, {"raw": "Bees"}]},
        {"filepath": "val2014", "filename": "c.jpg", "split": "test", "sentences": [{"raw": "Sea"}]},
        {"filepath": "train2014", "filename": "d.jpg", "split": "train", "sentences": [{"raw": "Dee"}]},
    ],
}
LINES = '\ufeff{"file_name": "a.jpg", "text": "一只猫", "more": 1}\r\n\r\n{"file_name": "x/b.png", "text": "狗"}\r\n'


def write(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8", newline="")
    return path


def test_coco_captions_go_by_the_file_names_of_their_images(tmp_path):
    table = read_captions(write(tmp_path, "captions_val2014.json", COCO), tmp_path)
    assert table["image_id"].tolist() == ["COCO_val2014_000000000007.jpg"] * 2 + ["b.jpg"]
    assert table["caption"].tolist() == ["A cat.", "A dog  sits.", "A car."]
    assert table["caption_id"].tolist() == [0, 1, 0]


def test_karpathy_s_splits_are_kept(tmp_path):
    for image in KARPATHY["images"]:
        path = tmp_path / image["filepath"] / image["filename"]
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    corpus = read_corpus(write(tmp_path, "dataset_coco.json", KARPATHY), tmp_path, {"dev": 1, "test": 1}, 0)
    found = corpus.table.drop_duplicates("image_id").set_index("image_id")["split"].to_dict()
    assert found == {
        "val2014/a.jpg": "train",
        "val2014/b.jpg": "dev",
        "val2014/c.jpg": "test",
        "train2014/d.jpg": "train",
    }
    assert corpus.problems.empty


def test_json_lines_and_parquet_say_the_same(tmp_path):
    lines = read_captions(write(tmp_path, "metadata.jsonl", LINES), tmp_path)
    rows = pd.DataFrame({"image": ["a.jpg", "x/b.png"], "caption": ["一只猫", "狗"], "more": [1, 2]})
    parquet = read_captions(write(tmp_path, "captions.parquet", rows), tmp_path)
    pd.testing.assert_frame_equal(lines, parquet)
    assert lines["caption"].tolist() == ["一只猫", "狗"]


def test_a_line_separator_inside_a_caption_is_kept(tmp_path):
    line = '{"file_name": "a.jpg", "text": "one\u2028two"}\n'
    assert "\u2028" in read_captions(write(tmp_path, "a.jsonl", line), tmp_path)["caption"].item()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1, 2]", "expected COCO captions"),
        ("a.json", '{"images": 3}', "expected COCO captions"),
        ("a.json", '{"images": [', "not JSON"),
        ("a.json", COCO | {"annotations": [{"image_id": 8, "caption": "x"}]}, "annotation 0: expected COCO"),
        ("a.json", COCO | {"images": [{"id": 7}]}, "an image without 'file_name'"),
        ("a.json", {"images": [{"filename": "a.jpg", "split": "training", "sentences": []}]}, "image 0: expected"),
        ("a.json", COCO | {"annotations": []}, "expected captions, found none"),
        ("a.json", COCO | {"annotations": None}, "annotations: expected COCO"),
        ("a.json", COCO | {"annotations": [{"image_id": [7], "caption": "x"}]}, "annotation 0: expected COCO"),
        (
            "a.json",
            {"images": [{"filename": "a.jpg", "split": "train", "sentences": [{"raw": None}]}]},
            "image 0: expected",
        ),
        ("a.jsonl", '{"file_name": "a.jpg", "text": null}', "line 1: expected one"),
        ("a.jsonl", '{"file_name": "a.jpg", "text": ["a", "b"]}', "line 1: expected one"),
        ("a.parquet", pd.DataFrame({"image": ["a", "b"], "caption": ["x", None]}), "row 1: expected"),
        ("a.parquet", pd.DataFrame({"image": ["a", None], "caption": ["x", "y"]}), "row 1: expected"),
        ("a.parquet", pd.DataFrame({"image_id": [7, None], "caption": ["x", "y"]}), "row 0: expected"),
        ("a.jsonl", '{"file_name": "a.jpg", "text": "x"}\n{"file_name": "b.jpg"}', "line 2: expected one"),
        ("a.jsonl", "a.jpg\tx", "line 1: expected one"),
        ("a.jsonl", '{"file_name": "../a.jpg", "text": "x"}', "line 1: expected a plain path inside"),
        ("a.parquet", pd.DataFrame({"url": ["x"], "text": ["y"]}), r"expected the columns .*\['url', 'text'\]"),
        ("a.parquet", b"PAR?", "not a Parquet file"),
        ("a.json", {"images": [{"id": [1], "file_name": "a"}], "annotations": []}, "an id that is no string or number"),
        ("a.json", COCO | {"annotations": [{"image_id": 7, "caption": "a\ud800"}]}, "caption 0: expected COCO"),
        ("a.jsonl", '{"file_name": "a.jpg", "text": "a\\ud800"}', "caption 0: expected one"),
        ("a.jsonl", b'{"file_name": "a.jpg", "text": "caf\xe9"}', "line 1: looks like Windows-1252"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=message) as error:
        read_captions(path, tmp_path)
    assert str(path) in str(error.value)
