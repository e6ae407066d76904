"""Reading pictures of the kinds data sets come in: PNG and JPEG."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from uda4inst.data.files import png
from uda4inst.errors import UserError
from uda4inst.structures import Size

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_START: Final = b"\xff\xd8"
_FIRST_READ: Final = 65536  # a JPEG without embedded previews declares its size within this
# A JPEG spends at least a bit on each 8x8 block: 512 pixels a byte. Twice that is left as slack.
_MAX_PIXELS_A_BYTE: Final = 1024
_RESTORE: Final = "Restore the file from its archive."
# Frame headers (SOF0..15) without the three other markers in their range.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset((0x01, *range(0xD0, 0xD9)))  # markers that have no length


def is_image_name(name: str) -> bool:
    """Whether a file name ends as a picture's does, in any case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture as RGB. Rotation marks are not obeyed: labels know nothing of them.

    A gray JPEG becomes three equal channels; a gray, palette or 16-bit PNG is refused, see
    `png.read_image`.

    Raises:
        UserError: missing, cut short, damaged or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_image(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise png.unreadable(error, path) from error
    _check_frame(_find_frame(data), path, file_bytes=len(data))
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"image must be undamaged, got {error} ({path}). {_RESTORE}") from error


def picture_size(path: Path) -> Size:
    """Return (height, width) of a picture from its first bytes.

    Raises:
        UserError: missing, unreadable or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_header(path).size
    try:
        with path.open("rb") as file:
            data = file.read(_FIRST_READ)
            frame = _find_frame(data)
            if frame is None and len(data) == _FIRST_READ:
                data += file.read()
                frame = _find_frame(data)
            file_bytes = file.seek(0, io.SEEK_END)
    except OSError as error:
        raise png.unreadable(error, path) from error
    return _check_frame(frame, path, file_bytes=file_bytes)


def _is_png(path: Path) -> bool:
    """Whether PNG's reader has the say: it is one, or it is unreadable and called one."""
    if path.suffix.lower() == ".png":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(png.SIGNATURE)) == png.SIGNATURE
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a JPEG declares of its picture; `size` is None where it ends before that."""

    is_jpeg: bool
    size: Size | None = None
    channels: int = 3


def _find_frame(data: bytes) -> _Frame | None:
    """Return what the frame header says; None where the data end before it."""
    if not data.startswith(_START):
        return _Frame(is_jpeg=False)
    position = len(_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return _Frame(is_jpeg=True)  # no marker where one must be
        kind = data[position + 1]
        if kind == 0xFF:  # padding
            position += 1
        elif kind in _BARE:
            position += 2
        elif kind in _FRAMES and position + 10 <= len(data):
            height, width, channels = struct.unpack_from(">HHB", data, position + 5)
            return _Frame(is_jpeg=True, size=(height, width), channels=channels)
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _check_frame(frame: _Frame | None, path: Path, *, file_bytes: int) -> Size:
    """Return the size a JPEG declares, refusing what cannot be read."""
    if frame is not None and not frame.is_jpeg:
        got = "an empty file" if file_bytes == 0 else "another kind of file"
        raise UserError(f"image must be a PNG or JPEG, got {got} ({path}). {_RESTORE}")
    if frame is None or frame.size is None:
        raise UserError(
            f"image must be a complete JPEG, got one cut short or damaged within its header, "
            f"{file_bytes} bytes ({path}). {_RESTORE}"
        )
    height, width = frame.size
    needed = height * width // _MAX_PIXELS_A_BYTE
    png.check_declared_size(frame.size, path, file_bytes=file_bytes, needed_bytes=needed)
    if frame.channels not in (1, 3):
        raise UserError(
            f"image must be a gray or colour JPEG, got {frame.channels} channels (CMYK?) ({path}). "
            "Save it as RGB."
        )
    return frame.size
