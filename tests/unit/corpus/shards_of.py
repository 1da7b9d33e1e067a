"""Writes tar files as img2dataset does, for tests."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def picture(shade: int) -> bytes:
    """A JPEG of one grey shade, 0 to 255."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar file with these members in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_shards(folder: Path, shards: int = 3, pictures: int = 4) -> str:
    """Shards of pictures in shades of 5 with captions and metadata; returns the pattern that names them."""
    for shard in range(shards):
        members = {}
        for number in range(shard * pictures, (shard + 1) * pictures):
            key = f"{shard:05d}{number:04d}"
            members |= {f"{key}.jpg": picture(5 * number), f"{key}.json": b'{"status": "success"}'}
            members[f"{key}.txt"] = f"shade {number}".encode()
        write_tar(folder / f"{shard:05d}.tar", members)
    return f"{folder}/{{00000..{shards - 1:05d}}}.tar"
