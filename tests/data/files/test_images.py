"""Reading pictures: PNG and JPEG of every kind, good and broken."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from uda4inst.data.files.images import is_image_name, picture_size, read_picture
from uda4inst.errors import UserError

Reader = Callable[[Path], object]


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """Return a picture that JPEG keeps nearly as it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([rows * 5, columns * 4, rows + columns]).astype(np.uint8)


def save(path: Path, image: Image.Image | None = None, **options: Any) -> Path:
    (image or Image.fromarray(smooth())).save(path, **options)
    return path


def png_of_size(height: int, width: int) -> bytes:
    """Return a tiny PNG, whole but for its declared size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        checksum = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))
    return b"".join(parts)


def jpeg_of_size(path: Path, height: int, width: int) -> bytes:
    """Return a small JPEG with another declared size."""
    data = bytearray(save(path, quality=90).read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "b.jpg", "b.JPG", "c.jpeg", "c.d.Jpeg"])
def test_is_image_name__pictures(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.webp", "png", "a.png.txt", "a.jpg~", ""])
def test_is_image_name__others(name: str) -> None:
    assert not is_image_name(name)


def test_read_picture__png_exactly(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(path), smooth())
    assert picture_size(path) == (24, 40)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", [0, 2], ids=["444", "420"])
def test_read_picture__jpeg_as_another_decoder(
    tmp_path: Path, progressive: bool, subsampling: int
) -> None:
    path = tmp_path / "a.jpg"
    save(path, quality=98, progressive=progressive, subsampling=subsampling)
    read = read_picture(path)
    assert (read.shape, read.dtype) == ((24, 40, 3), np.uint8)
    np.testing.assert_array_equal(read, np.array(Image.open(path)))
    assert picture_size(path) == (24, 40)


def test_read_picture__gray_jpeg_has_equal_channels(tmp_path: Path) -> None:
    gray = Image.fromarray(smooth()).convert("L")
    read = read_picture(save(tmp_path / "a.jpg", gray))
    assert read.shape == (24, 40, 3)
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_read_picture__rotation_marks_are_not_obeyed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name, exif=exif)
        assert read_picture(path).shape == (24, 40, 3)
        assert picture_size(path) == (24, 40)


def test_picture_size__behind_a_large_preview(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    data = path.read_bytes()
    previews = (b"\xff\xe2\xff\xff" + bytes(65533)) * 3
    path.write_bytes(data[:2] + previews + data[2:])
    assert picture_size(path) == (24, 40)
    assert read_picture(path).shape == (24, 40, 3)


def test_read_picture__png_called_jpg(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_picture(path), smooth())
    assert picture_size(path) == (24, 40)


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_read_picture__jpeg_called_png(tmp_path: Path, read: Reader) -> None:
    path = save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(UserError, match=r"must be a PNG, got a JPEG \(.*a.png\)"):
        read(path)


def test_read_picture__alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([smooth(), np.zeros((24, 40), np.uint8)])
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    np.testing.assert_array_equal(read_picture(path), smooth())


def test_read_picture__sixteen_bit_png(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), smooth().astype(np.uint16) * 257)
    with pytest.raises(UserError, match=r"8-bit RGB or 8-bit RGBA, got 16-bit RGB \(.*a.png\)"):
        read_picture(tmp_path / "a.png")


def test_read_picture__palette_png(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(smooth()).convert("P"))
    with pytest.raises(UserError, match=r"got palette \(.*a.png\). It looks like a label map"):
        read_picture(path)


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_read_picture__cmyk_jpeg(tmp_path: Path, read: Reader) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(smooth()).convert("CMYK"))
    with pytest.raises(UserError, match=r"must be a gray or colour JPEG, got 4 .* \(.*a.jpg\)"):
        read(path)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("missing", [1, 2, 3, 200, 0.3, 0.6])
def test_read_picture__cut_jpeg(tmp_path: Path, missing: float, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(noise), progressive=progressive)
    data = path.read_bytes()
    path.write_bytes(data[: -int(missing if missing >= 1 else len(data) * missing)])
    with pytest.raises(UserError, match=r"image must be an undamaged JPEG, got .* \(.*a.jpg\)"):
        read_picture(path)


@pytest.mark.parametrize("kept", [2, 3, 21, 150])
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_read_picture__jpeg_cut_within_its_header(tmp_path: Path, read: Reader, kept: int) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"complete JPEG, .*, {kept} bytes \(.*a.jpg\)"):
        read(path)


def test_read_picture__jpeg_with_a_damaged_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12  # bits of a sample
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"complete JPEG, got one cut short or damaged .*a.jpg"):
        picture_size(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("read", [read_picture, picture_size])
@pytest.mark.parametrize(
    ("content", "got"),
    [(b"", "an empty file"), (b"GIF89a" + bytes(200), "another kind of file")],
    ids=["empty", "GIF"],
)
def test_read_picture__no_picture(
    tmp_path: Path, suffix: str, read: Reader, content: bytes, got: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"must be a PNG.*, got {got} \(.*a.{suffix}\)"):
        read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_read_picture__folder_and_missing_file(tmp_path: Path, suffix: str, read: Reader) -> None:
    path = tmp_path / f"x.{suffix}"
    with pytest.raises(UserError, match=rf"readable, got no such file \(.*x.{suffix}\)"):
        read(path)
    path.mkdir()
    with pytest.raises(UserError, match=rf"readable, got is a directory \(.*x.{suffix}\)"):
        read(path)


@pytest.mark.parametrize(
    ("suffix", "size"),
    [
        *(
            (s, size)
            for s in ("png", "jpg")
            for size in ((60_000,) * 2, (8_000,) * 2, (3_000,) * 2)
        ),
        ("png", (0, 40)),
    ],
)
def test_read_picture__declares_more_than_the_file_can_hold(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(png_of_size(*size) if suffix == "png" else jpeg_of_size(path, *size))
    expected = rf"got {size[0]}x{size[1]} in {path.stat().st_size} bytes \(.*a.{suffix}\)"
    tracemalloc.start()
    with pytest.raises(UserError, match=expected):
        read_picture(path)
    with pytest.raises(UserError, match=expected):
        picture_size(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_read_picture__jpeg_without_pixels(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_of_size(path, 0, 40))
    with pytest.raises(UserError, match=r"complete JPEG, got one .* damaged .*a.jpg"):
        read(path)


def test_read_picture__largest_png_is_measured_in_bytes_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    blank = np.zeros((1200, 1200, 3), dtype=np.uint8)  # compresses as far as deflate can
    assert cv2.imwrite(str(path), blank, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert path.stat().st_size < 6_000
    assert read_picture(path).shape == (1200, 1200, 3)


def test_read_picture__blank_jpeg_of_many_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("L", (2000, 2000)), quality=1, optimize=True)
    assert read_picture(path).shape == (2000, 2000, 3)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_read_picture__jpeg_filled_up_with_zeros(tmp_path: Path, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(noise), progressive=progressive)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(UserError, match=r"image must be an undamaged JPEG, got .* \(.*a.jpg\)"):
        read_picture(path)
    path.write_bytes(data + b"what a camera adds \xff\xda")
    assert read_picture(path).shape == (64, 64, 3)
