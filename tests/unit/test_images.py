"""Pictures of every awkward kind are read as documented, or refused by name."""

import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcap_lib.images import difference_hash, open_picture, picture_fault


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def two_colours() -> Image.Image:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    return image


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # orientation: shot with the camera turned; show it a quarter turn clockwise
    picture = open_picture(saved(two_colours(), tmp_path / "a.jpg", exif=exif, quality=95))
    assert picture.size == (20, 40)
    red, _, blue = picture.getpixel((10, 5))
    assert red > 200
    assert blue < 60


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_picture(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "I;16", "RGBA", "P", "LA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(np.full((8, 8), 200, np.uint16)) if mode == "I;16" else Image.new(mode, (8, 8))
    path = saved(image, tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    assert open_picture(path).mode == "RGB"


def test_a_picture_of_30000_pixels_a_side_is_refused_unread(tmp_path):
    path = saved(Image.new("1", (8, 8)), tmp_path / "huge.png")
    shape = b"IHDR" + struct.pack(">II5B", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = bytearray(path.read_bytes())
    data[12:33] = shape + struct.pack(">I", zlib.crc32(shape))  # only the size is another; nothing else may be read
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"huge\.png.*pixels; make it smaller"):
        open_picture(path)
    assert "pixels" in picture_fault(path)


def test_one_just_over_the_limit_is_refused_without_a_warning(tmp_path, recwarn):
    path = saved(Image.new("1", (10_000, 9_000)), tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"10,000 × 9,000 is more than 89,478,485 pixels"):
        open_picture(path)
    assert not recwarn


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "the file is empty"), (b"hello", "format is unknown"), (None, "there is no such picture")],
)
def test_what_is_no_picture_is_named(tmp_path, data, message):
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        open_picture(path)
    assert str(path) in str(error.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says what it found before it gives up
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "tiff", "webp", "avif", "blp"])
def test_a_damaged_picture_is_refused_and_never_crashes(tmp_path, kind):
    rng, buffer = random.Random(0), io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("P" if kind == "blp" else "RGB").save(buffer, kind)
    whole, path, refused = buffer.getvalue(), tmp_path / "a.jpg", 0
    for _ in range(50):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 5, 20])):
            data[rng.randrange(min(len(data), rng.choice([16, 64, len(data)])))] = rng.randrange(256)
        path.write_bytes(data)
        picture_fault(path)
        try:
            open_picture(path)
        except ValueError as error:
            refused += str(path) in str(error)
    assert refused > 3


def test_uploaded_bytes_carry_their_name():
    buffer = io.BytesIO()
    two_colours().save(buffer, "jpeg")
    assert open_picture(buffer.getvalue()).size == (40, 20)
    with pytest.raises(ValueError, match=r"holiday\.jpg cannot be read as a picture"):
        open_picture(buffer.getvalue()[:200], "holiday.jpg")


def jpeg(progressive: bool, mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", progressive=progressive)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_found_at_reduced_size(tmp_path, progressive, mode):
    data, path = jpeg(progressive, mode), tmp_path / "a.jpg"
    path.write_bytes(data)
    assert picture_fault(path) is None
    for cut in (10, len(data) // 4, len(data) // 2, len(data) - 20, len(data) - 1):
        path.write_bytes(data[:cut])
        assert picture_fault(path) in ("not an image", "truncated or damaged")


# --- in tar files


@pytest.fixture
def shard(tmp_path):
    """A tar file with three pictures, one under a path of `tar -C folder .`, one whose suffix is in capitals."""
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for number, name in enumerate(("./a.png", "deep/b.jpg", "c.JPG", "a.txt")):
            path = saved(Image.new("RGB", (8, 8), (80 * number,) * 3), tmp_path / f"{number}.png")
            tar.add(path, name)
    return tmp_path / "0.tar"


def test_a_picture_in_a_tar_file_is_opened(shard):
    for number, name in enumerate(("a.png", "deep/b.jpg", "c.jpg")):
        assert open_picture(shard / name).getpixel((0, 0)) == (80 * number,) * 3
        assert difference_hash(shard / name) == 0
    for name in ("no.jpg", "a.txt"):
        with pytest.raises(ValueError, match=rf"0\.tar/{name}: there is no such picture"):
            open_picture(shard / name)
    with pytest.raises(ValueError, match=r"1\.tar/a\.jpg: there is no such picture|cannot be read"):
        open_picture(shard.with_name("1.tar") / "a.jpg")


def test_a_tar_file_that_changes_is_noticed(shard, tmp_path):
    open_picture(shard / "a.png")
    with tarfile.open(shard, "w") as tar:
        tar.add(tmp_path / "2.png", "a.png")
    assert open_picture(shard / "a.png").getpixel((0, 0)) == (160,) * 3


def test_what_lies_before_the_cut_of_a_tar_file_is_opened(shard):
    with tarfile.open(shard) as tar:
        cut = tar.getmember("deep/b.jpg").offset + 100
    shard.write_bytes(shard.read_bytes()[:cut])
    assert open_picture(shard / "a.png").getpixel((0, 0)) == (0,) * 3
    with pytest.raises(ValueError, match=r"b\.jpg: there is no such picture"):
        open_picture(shard / "deep/b.jpg")
