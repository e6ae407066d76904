"""Reading PNG files so that every defect is one clear message.

OpenCV decodes: from 4.12 on it refuses a cut file and checks every checksum, Pillow only some. What
neither does is here: to tell layouts apart and refuse those a data set does not use, to refuse a
size before memory is taken for it, and to say what is wrong.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from uda4inst import reading
from uda4inst.errors import UserError
from uda4inst.pictures import MAX_PICTURE, MAX_PIXELS, check_png_parts
from uda4inst.reading import open_regular
from uda4inst.structures import Size

Layout = Literal[
    "8-bit gray",
    "16-bit gray",
    "8-bit RGB",
    "16-bit RGB",
    "8-bit RGBA",
    "16-bit RGBA",
    "8-bit gray with alpha",
    "palette",
    "other",
]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Turned by no mark: labels know nothing of them.
READ_RGB: Final = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_END: Final = b"IEND\xaeB`\x82"  # kind and checksum of the last chunk
_HEADER_BYTES: Final = 33  # signature, then the whole IHDR chunk
_MAX_DEFLATE_RATIO: Final = 1032  # a deflate stream grows no more than this (RFC 1951: 258 B / 2 b)
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_RESTORE: Final = "Restore the file from its archive, or make the tree again."
# (bit depth, colour type) of the PNG specification.
_LAYOUTS: Final[dict[tuple[int, int], Layout]] = {
    (8, 0): "8-bit gray",
    (16, 0): "16-bit gray",
    (8, 2): "8-bit RGB",
    (16, 2): "16-bit RGB",
    (8, 6): "8-bit RGBA",
    (16, 6): "16-bit RGBA",
    (8, 4): "8-bit gray with alpha",
    (8, 3): "palette",
    (4, 3): "palette",
    (2, 3): "palette",
    (1, 3): "palette",
}
_PICTURES: Final = frozenset[Layout]({"8-bit RGB", "8-bit RGBA"})


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What the first bytes of a PNG say about it.

    Args:
        size: (height, width) in pixels.
        layout: bit depth and channels, in words.
    """

    size: Size
    layout: Layout


def read_header(path: Path) -> PngHeader:
    """Return size and layout of a PNG from its first 33 bytes.

    Raises:
        UserError: the file is missing, unreadable or not a PNG.
    """
    try:
        with open_regular(path, limit=MAX_PICTURE) as file:
            size = os.fstat(file.fileno()).st_size
            return _parse_header(file.read(_HEADER_BYTES), path, file_bytes=size)
    except OSError as error:
        raise unreadable(error, path) from error


def picture_header(path: Path) -> PngHeader:
    """Return what the first bytes of a picture say.

    Raises:
        UserError: as `read_image`, but for what lies behind these bytes.
    """
    header = read_header(path)
    _require(header.layout, _PICTURES, "image", path)
    return header


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Return an 8-bit RGB picture; an alpha channel is dropped.

    Gray, palette and 16-bit files are refused: they are what label maps are kept in, and a label
    map taken for a picture would be trained on.

    Raises:
        UserError: missing, cut short, damaged, or of another layout; the message has the path.
    """
    data, _ = _read(path, "image", _PICTURES)
    return decode(data, READ_RGB, path, what="image", kind="PNG")


def read_map(
    path: Path, *, what: str, allow: Collection[Layout]
) -> UInt[np.ndarray, "H W"] | UInt[np.ndarray, "H W C"]:
    """Return a map as stored, of 8 or 16 bits: values, never colours made of them.

    Gray stays two-dimensional, channels are in RGB(A) order, and of a palette file the indices are
    returned.

    Args:
        path: the file.
        what: what the map is, for error messages ("label map").
        allow: the layouts the data set may use. Where all have 16 bits, an 8-bit file is refused
            as one that has lost the instance numbers.

    Raises:
        UserError: missing, cut short, damaged, or of another layout; the message has the path.
    """
    data, layout = _read(path, what, allow)
    if layout == "palette":
        return _read_indices(data, path, what)
    flags = READ_RGB | cv2.IMREAD_ANYDEPTH if layout.endswith("RGB") else cv2.IMREAD_UNCHANGED
    stored = decode(data, flags, path, what=what, kind="PNG")
    has_alpha = stored.shape[2:] == (4,)
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA)) if has_alpha else stored


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        UserError: the file is missing or unreadable; the message has the path.
    """
    try:
        return reading.read_bytes(path, limit=MAX_PICTURE)
    except OSError as error:
        raise unreadable(error, path) from error


def decode(data: bytes, flags: int, path: Path, *, what: str, kind: str) -> np.ndarray:
    """Decode a PNG or JPEG by OpenCV, turning its two ways of failing into one error.

    Raises:
        UserError: cut short or damaged; the message says `what` and `kind` of file it is.
    """
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise UserError(
            f"{what} must be an undamaged {kind}, got one that cannot be decoded whole, "
            f"{len(data)} bytes ({path}). {_RESTORE}"
        )
    return np.asarray(decoded)


def _read_indices(data: bytes, path: Path, what: str) -> UInt8[np.ndarray, "H W"]:
    """Return the indices of a palette file. OpenCV makes colours of them, so Pillow decodes."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()  # the checksums, which it does not look at when decoding
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.array(image)
    except Exception as error:  # Pillow raises whatever it likes
        raise UserError(
            f"{what} must be an undamaged PNG, got {error} ({path}). {_RESTORE}"
        ) from error


def _read(path: Path, what: str, allow: Collection[Layout]) -> tuple[bytes, Layout]:
    """Return a whole file of an allowed layout, and the layout."""
    data = read_bytes(path)
    layout = _parse_header(data, path, file_bytes=len(data)).layout
    if data.rfind(_END) < 0:  # decoders see it too, and print a line of their own
        raise _cut_short(data, path)
    _require(layout, allow, what, path)
    try:
        check_png_parts(data)
    except ValueError as error:
        raise UserError(
            f"{what} must be an undamaged PNG, got one with {error} ({path}). {_RESTORE}"
        ) from error
    return data, layout


def _parse_header(data: bytes, path: Path, *, file_bytes: int) -> PngHeader:
    """Return size and layout from the first bytes of a file of so many."""
    if not data.startswith(SIGNATURE) or data[12:16] not in (b"IHDR", b""):
        is_jpeg = data.startswith(b"\xff\xd8\xff")
        got = "an empty file" if not data else "a JPEG" if is_jpeg else "another kind of file"
        raise UserError(f"file must be a PNG, got {got} ({path}). {_RESTORE}")
    if len(data) < _HEADER_BYTES:
        raise _cut_short(data, path)
    width, height, bits, color_type = struct.unpack_from(">IIBB", data, 16)
    needed = height * (width * bits * _CHANNELS.get(color_type, 1) // 8) // _MAX_DEFLATE_RATIO
    check_declared_size((height, width), path, file_bytes=file_bytes, needed_bytes=needed)
    return PngHeader(size=(height, width), layout=_LAYOUTS.get((bits, color_type), "other"))


def _cut_short(data: bytes, path: Path) -> UserError:
    """Return the error of a file whose end is missing."""
    return UserError(
        f"file must be a complete PNG, got one cut short after {len(data)} bytes ({path}). "
        f"{_RESTORE}"
    )


def check_declared_size(size: Size, path: Path, *, file_bytes: int, needed_bytes: int) -> None:
    """Refuse a size that no picture has, or that the file cannot hold.

    Args:
        size: (height, width) as the file declares it.
        path: the file, for the message.
        file_bytes: how long the file is.
        needed_bytes: how long the best compressor would make a picture of this size.

    Raises:
        UserError: no pixels, more than `MAX_PIXELS`, or more than the file can hold.
    """
    height, width = size
    if 0 < height * width <= MAX_PIXELS and needed_bytes <= file_bytes:
        return
    rule = (
        "be large enough for the size it declares"
        if 0 < height * width <= MAX_PIXELS
        else f"declare between 1 and {MAX_PIXELS} pixels"
    )
    raise UserError(
        f"image file must {rule}, got {height}x{width} in {file_bytes} bytes ({path}). {_RESTORE}"
    )


def unreadable(error: OSError, path: Path) -> UserError:
    """Return the error of a file that cannot be opened."""
    missing = isinstance(error, FileNotFoundError)
    reason = "no such file" if missing else (error.strerror or str(error)).lower()
    return UserError(f"file must be readable, got {reason} ({path}). {_RESTORE}")


def _require(layout: Layout, allow: Collection[Layout], what: str, path: Path) -> None:
    """Refuse a layout the data set does not use."""
    if layout in allow:
        return
    hint = ""
    is_narrow = layout == "palette" or layout.startswith("8-bit")
    if is_narrow and all(wanted.startswith("16-bit") for wanted in allow):
        hint = "An 8-bit copy has lost the instance numbers. "
    elif allow is _PICTURES:
        hint = "It looks like a label map; save it as 8-bit RGB if it is a picture. "
    raise UserError(
        f"{what} must be a PNG of {' or '.join(sorted(allow))}, got {layout} ({path}). "
        f"{hint}{_RESTORE}"
    )
