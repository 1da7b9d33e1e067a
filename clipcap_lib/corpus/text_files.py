"""Text files as people have them: read as UTF-8, or refused with the encoding they look like and the line to type."""

import codecs
import shlex
from pathlib import Path
from typing import NoReturn

from charset_normalizer import from_bytes

SAMPLE = 1 << 16  # bytes that tell an encoding
KNOWN = {  # Python's name: what iconv calls it, and what people know it as
    "gb18030": ("GB18030", "GBK (GB18030), which Excel writes on a Chinese Windows"),
    "big5": ("BIG5", "Big5, which Excel writes on a Windows in traditional Chinese"),
    "cp932": ("CP932", "Shift-JIS, which Excel writes on a Japanese Windows"),
    "euc_jp": ("EUC-JP", "EUC-JP, a Japanese encoding"),
    "cp949": ("CP949", "CP949, which Excel writes on a Korean Windows"),
    "cp1252": ("CP1252", "Windows-1252, which Excel writes on a Western Windows"),
    "utf_16": ("UTF-16", "UTF-16, which Excel calls Unicode text"),
    "utf_16_le": ("UTF-16LE", "UTF-16 without a byte order mark"),
    "utf_16_be": ("UTF-16BE", "UTF-16 without a byte order mark"),
}
MOSTLY = 0.75  # of what is not ASCII


def read_text(path: Path) -> str:
    """The text of a UTF-8 file as it stands: byte order mark and line ends are kept.

    Raises `ValueError` naming the file, the line, the encoding it looks like and how to convert it.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(path, data, error.start)
    if "\x00" in text:  # UTF-16 of plain English is valid UTF-8
        _refuse(path, data, data.index(b"\x00"))
    return text


def _refuse(path: Path, data: bytes, place: int) -> NoReturn:
    line, begin = data.count(b"\n", 0, place) + 1, data.rfind(b"\n", 0, place) + 1
    where, found = f"{path}, line {line}", data[place : place + 8]
    if not (codec := _guess(data, begin)):
        raise ValueError(f"{where}: expected text in UTF-8, found {found!r}; save the file anew as UTF-8")
    name, words = KNOWN[codec]
    new = shlex.quote(str(path.with_name(f"{path.stem}.utf8{path.suffix}")))
    command = f"iconv -f {name} -t UTF-8 {shlex.quote(str(path))} > {new}"
    raise ValueError(f"{where}: looks like {words}; expected UTF-8: save it as UTF-8, or type {command}")


def _guess(data: bytes, begin: int) -> str | None:
    """Python's name of the encoding that the lines from `begin` on look like, or None."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf_16"
    sample = data[begin : begin + SAMPLE]
    if sample.count(0) > len(sample) / 20:
        return "utf_16_le" if data[1:SAMPLE:2].count(0) > data[:SAMPLE:2].count(0) else "utf_16_be"
    if _is_common_chinese(sample):
        return "gb18030"
    if _is_damaged_utf8(sample):
        return None
    best = from_bytes(sample, cp_isolation=["big5", "cp932", "euc_jp", "cp949", "cp1252"]).best()
    return best.encoding if best and best.encoding in KNOWN else None


def _is_common_chinese(sample: bytes) -> bool:
    """Whether the bytes, read as GB18030, are mostly the 3,755 characters of GB2312's first level and punctuation."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)  # a sample may end within a character
    except UnicodeDecodeError:
        return False
    pairs = [pair for character in text if len(pair := character.encode("gb18030")) > 1]
    common = [len(p) == 2 and p[1] > 0xA0 and (0xB0 <= p[0] <= 0xD7 or p[0] in (0xA1, 0xA3)) for p in pairs]
    return bool(common) and sum(common) >= MOSTLY * len(common)


def _is_damaged_utf8(sample: bytes) -> bool:
    text = sample.decode("utf-8", errors="replace")
    whole = sum(character > "\x7f" and character != "\ufffd" for character in text)
    return whole > 3 * text.count("\ufffd")
