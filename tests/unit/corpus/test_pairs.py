"""One reader for each caption format: what a corpus reads in a file, `score` reads too, whatever its name."""

import json
import pickle

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipcap_lib.corpus.readers import read_captions, read_pairs

PAIRS = [("a.jpg", "一只猫"), ("x/b.png", "两只狗,一只猫"), ("a.jpg", "猫")]
IMAGES = dict.fromkeys(image for image, _ in PAIRS)
NUMBERED = [(image, [each for each, _ in PAIRS[:at]].count(image), text) for at, (image, text) in enumerate(PAIRS)]
COCO = {
    "images": [{"id": image, "file_name": image} for image in IMAGES],
    "annotations": [{"image_id": image, "caption": text} for image, text in PAIRS],
}
SENTENCES = [(image, [{"raw": text}]) for image, text in PAIRS]
KARPATHY = {"images": [{"filename": image, "split": "val", "sentences": raw} for image, raw in SENTENCES]}
FILES = {
    "results.token": "".join(f"{image}#{k}\t{text}\n" for image, k, text in NUMBERED),
    "seg.zhb.txt": "".join(f"{image}#zhb#{k} {' '.join(text)}\n" for image, k, text in NUMBERED),
    "seg.zhm.txt": "".join(f"{image}#zhm#{k} {text}:n\n" for image, k, text in NUMBERED),
    "flickr_caption.txt": "".join(f"{image}\t{text}\n" for image, text in PAIRS),
    "captions.csv": "image,caption\n" + "".join(f'{image},"{text}"\n' for image, text in PAIRS),
    "captions.tsv": "text\tfile_name\n" + "".join(f"{text}\t{image}\n" for image, text in PAIRS),
    "metadata.jsonl": "".join(json.dumps({"file_name": image, "text": text}) + "\n" for image, text in PAIRS),
    "coco.json": json.dumps(COCO),
    "coco_in_lines.json": json.dumps(COCO, indent=1),
    "karpathy.json": json.dumps(KARPATHY),
    "captions.parquet": pd.DataFrame(PAIRS, columns=["file_name", "text"]),
    "clip_caption.pkl": [PAIRS, {image: torch.ones(1, 4) for image in IMAGES}],
}


def write(path, content):
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    else:
        path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_corpus_and_score_read_the_same_in_a_file(tmp_path, name):
    path = write(tmp_path / name, FILES[name])
    table = read_captions(path, None)
    assert list(table[["image_id", "caption"]].itertuples(index=False, name=None)) == PAIRS
    assert read_pairs(path) == PAIRS
    assert read_pairs(path.rename(tmp_path / "captions")) == PAIRS


def test_score_takes_coco_s_ids_and_a_corpus_the_names_of_its_files(tmp_path):
    content = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "caption": "A cat."}]}
    path = write(tmp_path / "coco.json", json.dumps(content))
    assert read_pairs(path) == [("7", "A cat.")]
    assert read_captions(path, None)["image_id"].tolist() == ["a.jpg"]


@pytest.mark.parametrize(
    "line",
    [
        '{"image": "/p/a.jpg", "text": "more", "image_id": 7, "caption": "A cat.", "file_name": "a.jpg"}',
        '{"image_id": 7, "file_name": "a.jpg", "image": "/p/a.jpg", "caption": "A cat.", "text": "more"}',
        '{"image_id": 7, "caption": "A cat.", "images": ["/p/a.jpg"]}',
    ],
)
@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_image_id_and_caption_go_before_other_keys_of_a_record_to_be_scored(tmp_path, line, form):
    assert read_pairs(write(tmp_path / "made.json", form.replace("{}", line))) == [("7", "A cat.")]


def test_a_picture_called_like_a_format_is_no_file_of_it(tmp_path):
    assert read_pairs(write(tmp_path / "made.txt", "PAR1.jpg\t一只猫\n")) == [("PAR1.jpg", "一只猫")]


IDS = st.text(st.characters(exclude_characters="#\t\r\n\0\ufeff[{", exclude_categories=["Cs"])).map(str.strip)
CAPTIONS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(IDS.filter(bool), CAPTIONS, st.sampled_from(["", "#0", "#12"])), min_size=1))
def test_all_that_is_written_is_scored_in_any_form(tmp_path_factory, rows):
    """Empty captions and unusual line ends and spaces too, and ids with a number beside ids without."""
    path = tmp_path_factory.getbasetemp() / "scored"
    records = [json.dumps({"image_id": image, "caption": text}, ensure_ascii=False) for image, text, _ in rows]
    lines = "\n".join(f" {image}{number} \t{text}" for image, text, number in rows)
    for content in (lines, "\n".join(records), f"[{','.join(records)}]"):
        assert read_pairs(write(path, content)) == [(image, text.strip()) for image, text, _ in rows]
