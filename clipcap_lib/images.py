"""Pictures as people have them, in files or tar files: opened upright and in RGB, or refused with the reason."""

import io
import struct
import tarfile
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipcap_lib.wording import say

MOST_PIXELS = Image.MAX_IMAGE_PIXELS  # 89 million; what a decompression bomb holds, no camera does
# What Pillow raises for broken files.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, RuntimeError, TypeError, AttributeError)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
FLAT = 1  # grey levels by which compression alone makes neighbours differ
READING = "upright, RGB, first frame"  # part of an encoder's fingerprint


def open_picture(source: Path | bytes, name: str = "") -> Image.Image:
    """A picture from a file or its bytes: the first frame, turned as its EXIF says, in RGB without transparency.

    A picture in a shard has the path `shards/00000.tar/000000012.jpg`. Raises `ValueError` naming the picture (`name`,
    for bytes) when it is missing, not a picture, damaged, or of more than 89 million pixels.
    """
    name = name or str(source)
    if isinstance(source, Path) and source.is_dir():
        raise ValueError(say("{name} is a folder; name the pictures in it", name=name))
    try:
        source = _member(source) if isinstance(source, Path) and shard_of(source) else source
        with _begin(source) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise ValueError(say("{name}: there is no such picture", name=name)) from None
    except UnidentifiedImageError:
        empty = not (len(source) if isinstance(source, bytes) else source.stat().st_size)
        why = say("the file is empty") if empty else say("its format is unknown")
        raise ValueError(_unreadable(name, why)) from None
    except DAMAGE as error:
        raise ValueError(_unreadable(name, error)) from None


def _unreadable(name: str, why: str | Exception) -> str:
    return say("{name} cannot be read as a picture: {why}", name=name, why=why)


def shard_of(path: Path) -> Path | None:
    """The tar file that a picture lies in, by its path; None for a file of its own."""
    return next((above for above in path.parents if above.suffix == ".tar" and above.is_file()), None)


def _member(path: Path) -> bytes:
    """The bytes of a picture in a tar file. Raises `FileNotFoundError` where it holds no such picture."""
    shard = shard_of(path)
    stat, name = shard.stat(), path.relative_to(shard).as_posix()
    if (place := _members(shard, stat.st_size, stat.st_mtime_ns).get(name)) is None:
        raise FileNotFoundError(path)
    with shard.open("rb") as file:
        file.seek(place[0])
        return file.read(place[1])


@lru_cache(maxsize=4)  # a tar of ten thousand pictures takes 3 MB
def _members(shard: Path, size: int, modified: int) -> dict[str, tuple[int, int]]:
    """Where the pictures of a tar file begin, and their bytes; size and time are in the key only to notice changes."""
    found = {}
    with suppress(tarfile.ReadError), tarfile.open(shard, "r:") as tar:  # what lies before a cut can be read
        for member in tar:
            stem, dot, suffix = member.name.removeprefix("./").rpartition(".")
            if (suffix := dot + suffix.lower()) in SUFFIXES:  # small, as webdataset has suffixes
                found.setdefault(stem + suffix, (member.offset_data, member.size))
    return found


def picture_fault(source: Path | bytes) -> str | None:
    """Why a file or its bytes are no picture (zero bytes, not an image, truncated or damaged, too large), or None.

    Every byte is decoded; a JPEG at an eighth of its size, which finds the same truncations at a fraction of the cost.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    if not data:
        return "zero bytes"
    try:
        with _begin(data) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except UnidentifiedImageError:
        return "not an image"
    except _TooLargeError:
        return f"more than {MOST_PIXELS:,} pixels"
    except DAMAGE:
        return "truncated or damaged"
    return None


def difference_hash(path: Path) -> int:
    """64 bits that stay nearly the same when a picture is saved anew: where it grows darker from left to right."""
    with _begin(_member(path) if shard_of(path) else path) as image:
        image.draft("RGB", (128, 128))  # a JPEG is decoded at a fraction of its size
        upright = ImageOps.exif_transpose(image).convert("RGB").convert("L")
    grey = np.asarray(upright.resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    bits = grey[:, :-1] > grey[:, 1:] + FLAT
    return int.from_bytes(np.packbits(bits).tobytes())


class _TooLargeError(ValueError):
    pass


def _begin(source: Path | bytes) -> Image.Image:
    # Pillow reads the size before it decodes anything, so a bomb costs nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        except Image.DecompressionBombError:
            why = say("it has more than {most:,} pixels; make it smaller", most=2 * MOST_PIXELS)
            raise _TooLargeError(why) from None
    if image.width * image.height > MOST_PIXELS:
        size = {"width": image.width, "height": image.height, "most": MOST_PIXELS}
        image.close()
        raise _TooLargeError(say("{width:,} × {height:,} is more than {most:,} pixels; make it smaller", **size))
    return image
