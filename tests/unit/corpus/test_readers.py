"""Caption files are written byte for byte and read back; every defect is counted or refused by line number."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipcap_lib.corpus.readers import read_captions, read_corpus, read_splits, split_by_image, statistics


def jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write(folder: Path, content: bytes | str, name: str = "captions.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / name).write_bytes(jpeg())
    return folder


def rows(path: Path, format: str = "auto") -> list[tuple[str, int, str]]:
    table = read_captions(path, Path("images"), format)
    assert list(table.columns) == ["image_id", "image_path", "caption_id", "caption"]
    assert (table["image_path"] == "images/" + table["image_id"]).all()
    return list(table[["image_id", "caption_id", "caption"]].itertuples(index=False, name=None))


READABLE = {
    "flickr30k": ("1.jpg#0\tTwo men .\n1.jpg#3\tA man .\n", [("1.jpg", 0, "Two men ."), ("1.jpg", 3, "A man .")]),
    "flickr30k-cn": (
        "1#zhb#0 两 个 人 10:30\n1#zhm#1 一:m 只:q 猫:n ::w\n2.jpg#zhb#0 未分词",
        [("1.jpg", 0, "两个人10:30"), ("1.jpg", 1, "一只猫:"), ("2.jpg", 0, "未分词")],
    ),
    "clipcap-chinese": (
        "1\t一只猫\n2\t狗\n1\t两只猫\n",
        [("1.jpg", 0, "一只猫"), ("2.jpg", 0, "狗"), ("1.jpg", 1, "两只猫")],
    ),
    "csv": (
        'image,caption\n1.jpg,"a cat, a dog"\n1.jpg,"a\nline"\n2,x\n',
        [("1.jpg", 0, "a cat, a dog"), ("1.jpg", 1, "a line"), ("2.jpg", 0, "x")],
    ),
    "tsv": ("text\tfile_name\na cat, a dog\tsub/1.png\n", [("sub/1.png", 0, "a cat, a dog")]),
}


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n\n"])
def test_every_format_is_detected_with_bom_crlf_and_blank_last_lines(tmp_path, name, bom, newline, last) -> None:
    text, expected = READABLE[name]
    path = write(tmp_path, (bom + (text + last).replace("\n", newline)))
    assert rows(path) == expected
    assert rows(path, "csv" if name == "tsv" else name) == expected


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        ("1.jpg#0\ta\n\n2.jpg 0 b\n", "auto", r"line 3: expected flickr30k: <file>.jpg#<k><TAB>.*found '2.jpg 0 b'"),
        ("1\ta\n2 b\n", "auto", r"line 2: expected clipcap-chinese.*found '2 b'"),
        ("1#zhb#0 a\n1#zhx#1 b\n", "auto", r"line 2: expected flickr30k-cn"),
        ('image,caption\n1,"a\nb"\n2,c,d\n', "auto", r"line 4: expected two columns.*3 columns.*found '2,c,d"),
        ('image,caption\n1,a\n2,"b\n3,c\n', "auto", r"line 3: expected two columns"),
        ("1.jpg;a\n", "csv", r"line 1: expected a header with two columns"),
        ("\nhello world\n", "auto", r"line 2: .*csv.*flickr30k-cn.*flickr30k.*clipcap-chinese.*found 'hello world'"),
        ("a,b,c\n1,2,3\n", "auto", r"line 1: expected one of the formats"),
        ("\r\n \n", "auto", r"no line that is not blank"),
        ("1\ta\n2\t中文".encode("gbk"), "auto", r"line 2: looks like GBK"),
        ("1\ta\n", "coco", r"'coco' is unknown; known: auto, csv, flickr30k-cn"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, content, format, message) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        read_captions(path, Path("images"), format)
    assert format == "coco" or str(path) in str(error.value)


@pytest.mark.parametrize("bad", ["../x", "a/../x", "/etc/x", "a\\x", "C:x", "./x", "a//x", "..", " ", "a/"])
def test_ids_that_leave_the_folder_or_have_a_second_spelling_are_refused(tmp_path, bad) -> None:
    with pytest.raises(ValueError, match=r"line 2: expected a plain path inside the images folder"):
        read_captions(write(tmp_path, f"1\ta\n{bad}\tb\n"), Path("images"))


def problems_of(corpus) -> dict[str, tuple[int, str, str]]:
    assert list(corpus.problems.columns) == ["problem", "count", "action", "examples"]
    return {row[0]: row[1:] for row in corpus.problems.itertuples(index=False, name=None)}


def test_every_defect_is_counted_and_what_is_left_is_good(tmp_path, images) -> None:
    (images / "cut.jpg").write_bytes(jpeg()[:1500])
    (images / "text.jpg").write_text("not a picture")
    (images / "zero.jpg").touch()
    (images / "alone.jpg").write_bytes(jpeg())
    lines = ["1.jpg#0\ta", "1.jpg#0\tb", "1.jpg#1\ta", "2.jpg#0\t ", "2.jpg#1\tc", "gone.jpg#0\td", "gone.jpg#1\te"]
    lines += [f"{name}.jpg#{k}\tf{k}" for name in ("cut", "text", "zero") for k in (0, 1)]
    path = write(tmp_path, "\ufeff" + "\r\n".join(lines) + "\r\n\r\n")
    corpus = read_corpus(path, images, None, seed=0)
    assert corpus.table[["image_id", "caption_id", "caption", "split"]].values.tolist() == [
        ["1.jpg", 0, "a", "train"],
        ["1.jpg", 1, "a", "train"],
        ["2.jpg", 1, "c", "train"],
    ]
    assert problems_of(corpus) == {
        "byte order mark": (1, "accepted", "captions.txt"),
        "CRLF line end": (14, "accepted", "captions.txt"),
        "empty caption": (1, "excluded", "2.jpg#0"),
        "caption number used twice for an image": (1, "first kept", "1.jpg#0"),
        "caption of an image that is not there": (2, "excluded", "gone.jpg"),
        "image without caption": (2, "ignored", "3.jpg, alone.jpg"),
        "unreadable image: not an image": (1, "excluded with its captions", "text.jpg"),
        "unreadable image: truncated or damaged": (1, "excluded with its captions", "cut.jpg"),
        "unreadable image: zero bytes": (1, "excluded with its captions", "zero.jpg"),
        "same caption twice for an image": (1, "kept", "1.jpg#1"),
    }
    assert "cut.jpg" in set(read_corpus(path, images, None, seed=0, check_images=False).table["image_id"])


def test_a_flawless_corpus_has_no_problems(tmp_path, images) -> None:
    corpus = read_corpus(write(tmp_path, "1\ta\n2\tb\n3\tc\n"), images, {"dev": 1, "test": 1}, seed=0)
    assert corpus.problems.empty
    assert problems_of(corpus) == {}
    assert sorted(corpus.table["split"]) == ["dev", "test", "train"]
    assert all(Path(path).is_file() for path in corpus.table["image_path"])


def test_nothing_left_says_why(tmp_path, images) -> None:
    with pytest.raises(ValueError, match=r"of 2 captions none is left\n(.|\n)*not there +2 excluded +8.jpg, 9.jpg"):
        read_corpus(write(tmp_path, "8\ta\n9\tb\n"), images, None, seed=0)
    with pytest.raises(FileNotFoundError, match="images folder"):
        read_corpus(write(tmp_path, "1\ta\n"), tmp_path / "nowhere", None, seed=0)


@given(st.sets(st.text(min_size=1), min_size=4), st.randoms(use_true_random=False), st.integers(0, 9))
def test_a_split_depends_on_the_set_of_images_and_the_seed_only(ids, rng, seed) -> None:
    order = [*ids, *ids]
    rng.shuffle(order)
    split = split_by_image(order, {"test": 1, "dev": 2}, seed)
    assert split == split_by_image(sorted(ids), {"dev": 2, "test": 1}, seed)
    assert split.keys() == ids
    assert sorted(split.values()) == ["dev"] * 2 + ["test"] + ["train"] * (len(ids) - 3)


def test_another_seed_is_another_split_and_a_missing_image_moves_few() -> None:
    ids = [f"{i}.jpg" for i in range(1000)]
    sizes = {"dev": 100, "test": 100}
    split = split_by_image(ids, sizes, 0)
    fewer = split_by_image(ids[1:], sizes, 0)
    assert split != split_by_image(ids, sizes, 1)
    assert sum(split[i] != fewer[i] for i in ids[1:]) <= 2


@pytest.mark.parametrize("sizes", [{"dev": 4}, {"dev": 2, "test": 2}])
def test_more_images_than_there_are(sizes) -> None:
    with pytest.raises(ValueError, match=r"ask for 4 images .* there are 3"):
        split_by_image(["a", "b", "c", "a"], sizes, 0)


@pytest.mark.parametrize("sizes", [{"dev": -1}, {"train": 1}])
def test_sizes_that_mean_nothing(sizes) -> None:
    with pytest.raises(ValueError, match="train takes the rest"):
        split_by_image(["a", "b"], sizes, 0)


def test_no_image_is_in_two_splits(tmp_path, images) -> None:
    captions = write(tmp_path, "".join(f"{i}\tcaption {k}\n" for k in range(5) for i in (1, 2, 3)))
    for seed in range(5):
        table = read_corpus(captions, images, {"dev": 1, "test": 1}, seed).table
        assert (table.groupby("image_id")["split"].nunique() == 1).all()


def test_a_splits_file_decides(tmp_path, images) -> None:
    captions = write(tmp_path, "1\ta\n2\tb\n2\tc\n")
    splits = write(tmp_path, "\ufeffimage_id,split\r\n1,dev\r\n2.jpg,test\r\n9,train\r\n", "splits.csv")
    assert read_corpus(captions, images, splits, seed=0).table["split"].tolist() == ["dev", "test", "test"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image_id,split\n3,dev\n", r"2 images of the corpus have no split: 1.jpg, 2.jpg"),
        ("image_id,split\n1,dev\n1.jpg,test\n2,\n", r"2 have none or two: 1.jpg, 2.jpg"),
        ("image,part\n1,dev\n", r"line 1: expected the columns image_id,split"),
        ("", r"line 1: expected the columns image_id,split"),
    ],
)
def test_a_splits_file_that_does_not_fit(tmp_path, images, content, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_corpus(write(tmp_path, "1\ta\n2\tb\n"), images, write(tmp_path, content, "splits.csv"), seed=0)


def test_a_repeated_line_of_a_splits_file_is_harmless(tmp_path) -> None:
    path = write(tmp_path, "split,image_id\ndev,1\ndev,1\ntrain,2\n")
    assert read_splits(path) == {"1.jpg": "dev", "2.jpg": "train"}


def test_statistics_per_split(tmp_path, images) -> None:
    captions = write(tmp_path, "1\ta b\n1\tabc d\n2\t一只猫\n3\t猫猫猫猫\n")
    splits = write(tmp_path, "image_id,split\n1,dev\n2,train\n3,train\n", "splits.csv")
    table = statistics(read_corpus(captions, images, splits, seed=0).table)
    assert table.to_dict("records") == [
        {"split": "dev", "images": 1, "captions": 2, "captions_per_image": 2.0}
        | {"mean_characters": 4.0, "max_characters": 5, "distinct_characters": 4},
        {"split": "train", "images": 2, "captions": 2, "captions_per_image": 1.0}
        | {"mean_characters": 3.5, "max_characters": 4, "distinct_characters": 3},
    ]


CN_FILES = {
    "train": "1#zhb#0 两 个 人\r\n1#zhb#1 两 人\r\n",
    "dev": "2#zhb#0 一 只 猫\r\n\r\n",
    "test": "3#zhm#0 一:m 只:q 猫:n\r\n",
}


def test_a_file_for_each_split_as_flickr30k_cn_is_published(tmp_path, images) -> None:
    files = {split: write(tmp_path, f"\ufeff{text}", f"{split}.txt") for split, text in CN_FILES.items()}
    corpus = read_corpus(files, images, {"dev": 1, "test": 1}, seed=0)
    assert corpus.table["split"].tolist() == ["train", "train", "dev", "test"]
    assert corpus.table["caption"].tolist() == ["两个人", "两人", "一只猫", "一只猫"]
    assert corpus.problems["problem"].value_counts()["byte order mark"] == 3


def test_an_image_in_the_files_of_two_splits_is_refused(tmp_path, images) -> None:
    files = {split: write(tmp_path, text, f"{split}.txt") for split, text in CN_FILES.items()}
    write(tmp_path, "1#zhb#0 一 只 猫", "dev.txt")
    with pytest.raises(ValueError, match=r"dev\.txt.*images in two of these files: 1\.jpg"):
        read_corpus(files, images, None, seed=0)


def test_one_missing_image_costs_its_captions_alone(tmp_path, images) -> None:
    files = {split: write(tmp_path, text, f"{split}.txt") for split, text in CN_FILES.items()}
    (images / "2.jpg").unlink()
    corpus = read_corpus(files, images, None, seed=0)
    assert corpus.table["image_id"].tolist() == ["1.jpg", "1.jpg", "3.jpg"]
    assert "2.jpg" in corpus.problems.set_index("problem")["examples"]["caption of an image that is not there"]
