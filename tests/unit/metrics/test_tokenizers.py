"""Chinese tokens by hand, English ones against those of the COCO evaluation and, where there is Java, its program."""

import shutil

import pytest

from clipcap_lib.metrics.tokenizers import tokenise


def test_chinese_tokens():
    assert tokenise(["Ｔ恤 上，有 3 只猫。"], "char") == [["t", "恤", "上", "有", "3", "只", "猫"]]
    assert "".join(tokenise(["一只黑色的狗"], "jieba")[0]) == "一只黑色的狗"
    assert len(tokenise(["一只黑色的狗"], "jieba")[0]) < 6


ENGLISH = [
    "A man's dog doesn't bark.", "Two people (a couple) sit, talking; it's 5.30 p.m.", 'She said "hello" to them!',
    "A red-and-white bus... near a well-known cafe", "They can't, won't, shouldn't gonna go", "1,000 birds & a plane",
    "A man in a suit. He walks on the street.", "black/white cat -- looking up", "O'Neill's 1980's car",
    "Mr. Smith vs. the U.S. team", "A 'stop' sign – at “St. Louis”", '"A dog." it says',
]  # fmt: skip


def test_english_tokens_are_those_of_the_coco_evaluation():
    assert tokenise(ENGLISH[:2], "ptb") == [
        ["a", "man", "'s", "dog", "does", "n't", "bark"],
        ["two", "people", "-lrb-", "a", "couple", "-rrb-", "sit", "talking", "it", "'s", "5.30", "p.m."],
    ]


@pytest.mark.skipif(not shutil.which("java"), reason="the tokeniser to compare with needs Java")
def test_english_tokens_equal_the_java_ones():
    assert tokenise(ENGLISH, "ptb") == tokenise(ENGLISH, "ptb-java")
