"""Captions cut into the words that metrics count: `ptb`, `ptb-java`, `jieba` or `char`, always declared."""

import re
import shutil
import subprocess
import unicodedata
from functools import cache
from importlib.resources import as_file, files
from typing import Literal

Tokeniser = Literal["ptb", "ptb-java", "jieba", "char"]
BY_LANGUAGE: dict[str, tuple[Tokeniser, ...]] = {"zh": ("jieba", "char"), "en": ("ptb", "ptb-java")}
DEFAULT: dict[str, Tokeniser] = {language: tokenisers[0] for language, tokenisers in BY_LANGUAGE.items()}

# The tokens the COCO evaluation drops. It compares capital brackets with lower-case tokens, so `-lrb-` stays.
COCO_PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])


def tokenise(texts: list[str], tokeniser: Tokeniser) -> list[list[str]]:
    """Words of each text. `ptb-java` raises `RuntimeError` where there is no Java."""
    match tokeniser:
        case "ptb":
            return [_ptb(text) for text in texts]
        case "ptb-java":
            return _ptb_java(texts)
        case "jieba":
            return [_jieba(text) for text in texts]
        case "char":
            return [list(_chinese(text)) for text in texts]
    raise ValueError(f"tokeniser {tokeniser!r} is unknown; choose ptb, ptb-java, jieba or char")


# --- English -------------------------------------------------------------------------------------------------------


@cache
def _treebank():
    from nltk.tokenize import TreebankWordTokenizer  # 0.6 s that a Chinese evaluation need not wait for

    return TreebankWordTokenizer()


# What Stanford's tokeniser does and the Treebank rules do not.
_TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "…": " ... ", "–": " -- ", "—": " -- ", "~": " ~ "}
)
_ABBREVIATIONS = frozenset(
    ["mr", "mrs", "ms", "dr", "st", "vs", "etc", "no", "ft", "co", "inc", "jr", "sr", "ltd", "corp", "ave", "prof"]
)
_WORD_AND_STOP = re.compile(r"(?<![\w.])([a-z][\w'-]+)\.(?=[\s\"']|$)")
_OPENING_QUOTE = re.compile(r"(?:^|(?<=[\s(]))'(?=\w)(?!n'|\d0s)")


def _ptb(text: str) -> list[str]:
    text = _OPENING_QUOTE.sub("` ", text.lower().replace("\n", " ").translate(_TYPOGRAPHY))
    text = _WORD_AND_STOP.sub(lambda found: found[0] if found[1] in _ABBREVIATIONS else f"{found[1]} . ", text)
    # The Treebank rules cut a full stop off the last word whatever it is: let it be one that stands alone.
    words = _treebank().tokenize(f"{text} .", convert_parentheses=True)
    return [word for word in (word.lower() for word in words) if word not in COCO_PUNCTUATION]


def _ptb_java(texts: list[str]) -> list[list[str]]:
    if not shutil.which("java"):
        raise RuntimeError("ptb-java needs Java on the PATH; ptb needs none and differs on very few captions")
    with as_file(files("pycocoevalcap") / "tokenizer" / "stanford-corenlp-3.4.1.jar") as jar:
        command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
        lines = "\n".join(text.replace("\n", " ") for text in texts) + "\n"
        done = subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=True)
    rows = [[word for word in line.split() if word not in COCO_PUNCTUATION] for line in done.stdout.split("\n")]
    return rows[: len(texts)]


# --- Chinese -------------------------------------------------------------------------------------------------------


def _chinese(text: str) -> str:
    """NFKC, without spaces and punctuation: what is left are the characters somebody wrote on purpose."""
    normal = unicodedata.normalize("NFKC", text).lower()
    return "".join(character for character in normal if unicodedata.category(character)[0] in "LNMS")


@cache
def cutter():
    """jieba with its dictionary read, which takes a second."""
    import logging
    import marshal
    import warnings
    from types import SimpleNamespace

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it still asks for pkg_resources
        import jieba

    # The library asks the file for each of half a million words by itself: at once takes a third of the time.
    jieba.marshal = SimpleNamespace(load=lambda file: marshal.loads(file.read()), dump=marshal.dump)
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba


def _jieba(text: str) -> list[str]:
    return cutter().lcut(_chinese(text)) if text else []
