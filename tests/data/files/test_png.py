"""Reading PNGs: every layout the data sets use, and every way a file can be broken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from uda4inst.data.files.png import (
    SIGNATURE,
    Layout,
    PngHeader,
    read_header,
    read_image,
    read_map,
)
from uda4inst.errors import UserError
from uda4inst.toystreets.encode import encode_png

INDICES: frozenset[Layout] = frozenset({"palette", "8-bit gray"})
EVERY_LAYOUT: tuple[Layout, ...] = get_args(Layout)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.mark.parametrize("smooth", [False, True], ids=["map", "picture"])
def test_encode_png__reads_back_the_same(tmp_path: Path, smooth: bool) -> None:
    path = tmp_path / "a.png"
    gray, deep, rgb, rgba = (
        noise(5, 7),
        noise(5, 7, dtype=np.uint16),
        noise(5, 7, 3),
        noise(4, 3, 4),
    )
    path.write_bytes(encode_png(gray, smooth=smooth))
    np.testing.assert_array_equal(read_map(path, what="map", allow={"8-bit gray"}), gray)
    path.write_bytes(encode_png(deep, smooth=smooth))
    np.testing.assert_array_equal(read_map(path, what="map", allow={"16-bit gray"}), deep)
    path.write_bytes(encode_png(rgb, smooth=smooth))
    np.testing.assert_array_equal(read_image(path), rgb)
    path.write_bytes(encode_png(rgba, smooth=smooth))
    np.testing.assert_array_equal(read_map(path, what="map", allow={"8-bit RGBA"}), rgba)
    np.testing.assert_array_equal(read_image(path), rgba[..., :3])


def test_read_image__agrees_with_files_of_another_encoder(tmp_path: Path) -> None:
    rgb = noise(9, 11, 3)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgb)


def test_read_header__tells_size_and_layout(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7, dtype=np.uint16)))
    assert read_header(tmp_path / "a.png") == PngHeader(size=(5, 7), layout="16-bit gray")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.995])
def test_read_image__cut_file(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.png"
    data = encode_png(noise(64, 64, 3), smooth=True)
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=r"complete PNG, got one cut short after \d+ bytes .*cut"):
        read_image(path)


@pytest.mark.parametrize("missing", [1, 4, 12])
def test_read_image__last_bytes_missing(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encode_png(noise(64, 64, 3))[:-missing])
    with pytest.raises(UserError, match="cut short"):
        read_image(path)


@pytest.mark.parametrize("part", [b"IDAT", b"IEND"])
def test_read_image__a_part_that_says_it_is_longer_than_the_file(
    tmp_path: Path, part: bytes
) -> None:
    data = bytearray(encode_png(noise(64, 64, 3)))
    place = data.index(part) - 4
    data[place : place + 4] = (2**31 - 13).to_bytes(4)  # OpenCV would make room for it
    path = tmp_path / "bad.png"
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"undamaged PNG, got one with a part that .*bad.png"):
        read_image(path)


def test_read_image__damaged_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encode_png(noise(64, 64, 3)))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "bad.png"
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"undamaged PNG, got one that cannot be decoded .*bad.png"):
        read_image(path)
    capfd.readouterr()


@pytest.mark.parametrize(
    ("content", "got"),
    [(b"", "an empty file"), (b"GIF89a" * 20, "another kind of file")],
    ids=["empty", "gif"],
)
def test_read_image__no_png(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"must be a PNG, got {got}"):
        read_image(path)
    with pytest.raises(UserError, match=f"must be a PNG, got {got}"):
        read_header(path)


def test_read_image__missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be readable, got no such file .*gone.png"):
        read_image(tmp_path / "gone.png")


def test_read_image__folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be readable, got is a directory"):
        read_image(tmp_path)


def test_read_image__gray_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(noise(4, 4)))
    with pytest.raises(
        UserError, match="image must be a PNG of 8-bit RGB or 8-bit RGBA, got 8-bit"
    ):
        read_image(tmp_path / "a.png")


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def palette_png(path: Path, indices: np.ndarray) -> Path:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)
    return path


def test_read_map__palette_keeps_its_indices(tmp_path: Path) -> None:
    indices = noise(5, 7)
    path = palette_png(tmp_path / "a.png", indices)
    np.testing.assert_array_equal(read_map(path, what="map", allow=INDICES), indices)
    assert read_header(path).layout == "palette"


def test_read_map__palette_with_transparency(tmp_path: Path) -> None:
    path = palette_png(tmp_path / "a.png", noise(5, 7))
    Image.open(path).save(path, transparency=0)
    np.testing.assert_array_equal(read_map(path, what="map", allow=INDICES), noise(5, 7))


def test_read_map__gray_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7)))
    np.testing.assert_array_equal(
        read_map(tmp_path / "a.png", what="map", allow=INDICES), noise(5, 7)
    )


def test_read_map__damaged_palette_file(tmp_path: Path) -> None:
    path = palette_png(tmp_path / "a.png", noise(64, 64))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 40] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"label map must be an undamaged PNG, got .* \(.*a.png\)"):
        read_map(path, what="label map", allow=INDICES)


def test_read_map__palette_file_has_lost_the_numbers(tmp_path: Path) -> None:
    path = palette_png(tmp_path / "a.png", noise(5, 7))
    with pytest.raises(UserError, match=r"16-bit gray, got palette \(.*a.png\). .*lost the instan"):
        read_map(path, what="instance map", allow={"16-bit gray"})


@pytest.mark.parametrize("read", [read_header, read_image], ids=["header", "image"])
@pytest.mark.parametrize(
    ("width", "height"), [(2**31 - 1, 2**31 - 1), (2**13, 2**13), (0, 5), (5, 0)]
)
def test_read_image__declared_size_that_the_file_cannot_hold(
    tmp_path: Path, read: Callable[[Path], object], width: int, height: int
) -> None:
    data = bytearray(encode_png(noise(4, 4, 3)))
    data[16:24] = struct.pack(">II", width, height)
    (tmp_path / "a.png").write_bytes(bytes(data))
    message = rf"image file must .*, got {height}x{width} in {len(data)} bytes \(.*a.png\)"
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.png")


def test_read_map__three_channels_are_red_green_blue(tmp_path: Path) -> None:
    path, rgb = tmp_path / "a.png", noise(5, 7, 3)
    path.write_bytes(encode_png(rgb))
    np.testing.assert_array_equal(read_map(path, what="map", allow={"8-bit RGB"}), rgb)


@pytest.mark.parametrize("channels", [3, 4])
def test_read_map__sixteen_bits_keep_their_values(tmp_path: Path, channels: int) -> None:
    path, deep = tmp_path / "a.png", noise(5, 7, channels, dtype=np.uint16)
    order = [2, 1, 0, 3][:channels]
    cv2.imwrite(str(path), deep[..., order])
    read = read_map(path, what="map", allow={"16-bit RGB", "16-bit RGBA"})
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, deep)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_read_map__transparent_colour_is_no_fourth_channel(tmp_path: Path, dtype: type) -> None:
    path, rgb = tmp_path / "a.png", noise(5, 7, 3, dtype=dtype)
    data = encode_png(rgb)
    transparent = chunk(b"tRNS", struct.pack(">3H", *(int(v) for v in rgb[0, 0])))
    path.write_bytes(data[:33] + transparent + data[33:])
    np.testing.assert_array_equal(
        read_map(path, what="map", allow={"8-bit RGB", "16-bit RGB"}), rgb
    )


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("missing", [1, 4, 12, 13, 40, 2000])
def test_read_map__cut_file(
    tmp_path: Path, mode: str, missing: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.png"
    if mode == "P":
        palette_png(path, noise(64, 64))
    else:
        shape = (64, 64, len(mode)) if mode.startswith("RGB") else (64, 64)
        path.write_bytes(encode_png(noise(*shape, dtype=np.uint16 if mode == "I;16" else np.uint8)))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(UserError, match=r"complete PNG, got one cut short after \d+ bytes .*cut"):
        read_map(path, what="map", allow=EVERY_LAYOUT)
    assert capfd.readouterr() == ("", "")  # the message is the only one


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("is_palette", [False, True], ids=["gray", "palette"])
def test_read_map__damaged_byte(
    tmp_path: Path, at: float, is_palette: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    values = np.repeat(noise(64, 8), 8, axis=1)  # compressed: one wrong byte is many wrong values
    if is_palette:
        palette_png(path, values)
    else:
        path.write_bytes(encode_png(values))
    data = bytearray(path.read_bytes())
    first, last = data.index(b"IDAT") + 4, len(data) - 17  # up to the checksum of the last chunk
    data[first + int((last - first) * at)] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"label map must be an undamaged PNG, got .* \(.*a.png\)"):
        read_map(path, what="label map", allow=INDICES)
    capfd.readouterr()


def test_read_map__palette_file_without_pixels(tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 3, 8, 3, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(SIGNATURE + header + chunk(b"PLTE", bytes(9)) + chunk(b"IEND", b""))
    with pytest.raises(UserError, match=r"map must be an undamaged PNG, got .* \(.*a.png\)"):
        read_map(path, what="map", allow={"palette"})


def test_read_map__palette_file_whose_checksum_alone_tells(tmp_path: Path) -> None:
    packed = zlib.compress((b"\0" + bytes(64)) * 64, 0)
    damaged = packed[:1000] + b"\7" + packed[1001:]  # unpacks to a wrong value
    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", bytes(768)),
        chunk(b"IDAT", packed[:-4]).replace(packed[:-4], damaged[:-4]),
        chunk(b"IDAT", packed[-4:]),  # behind the last row, where Pillow stops
        chunk(b"IEND", b""),
    ]
    (tmp_path / "a.png").write_bytes(SIGNATURE + b"".join(chunks))
    with pytest.raises(UserError, match=r"label map must be an undamaged PNG, got .* \(.*a.png\)"):
        read_map(tmp_path / "a.png", what="label map", allow={"palette"})


def test_read_map__one_bit_palette(tmp_path: Path) -> None:
    bits = noise(5, 7) % 2
    path = palette_png(tmp_path / "a.png", bits)
    with Image.open(path) as image:
        image.save(tmp_path / "b.png", bits=1)
    read = read_map(tmp_path / "b.png", what="map", allow={"palette"})
    np.testing.assert_array_equal(read, bits)


def test_read_map__layout_the_data_set_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(noise(4, 4, 3)))
    with pytest.raises(
        UserError,
        match=r"class map must be a PNG of 8-bit gray or palette, got 8-bit RGB",
    ):
        read_map(tmp_path / "a.png", what="class map", allow=INDICES)
