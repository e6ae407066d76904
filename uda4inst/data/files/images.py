"""Reading pictures of the kinds data sets come in: PNG and JPEG."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from jaxtyping import UInt8
from PIL.JpegImagePlugin import JpegImageFile

from uda4inst.data.files import png
from uda4inst.errors import UserError
from uda4inst.pictures import MAX_PICTURE
from uda4inst.reading import open_regular
from uda4inst.structures import Size

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_START: Final = b"\xff\xd8"
# A JPEG spends at least a bit on each 8x8 block: 512 pixels a byte. Twice that is left as slack.
_MAX_PIXELS_A_BYTE: Final = 1024
# What Pillow makes of a header that is none.
_NO_JPEG: Final = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error)
_END_OF_IMAGE: Final = b"\xff\xd9"
_RESTORE: Final = "Restore the file from its archive."


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
    data = png.read_bytes(path)
    file = io.BytesIO(data)
    _jpeg_size(file, path)
    # A file of which only the first part has arrived may be filled up with zeros. The header has
    # been read; what cameras add behind the end may be anything.
    if data.find(_END_OF_IMAGE, file.tell()) < 0:
        raise UserError(
            f"image must be an undamaged JPEG, got one without an end, {len(data)} bytes ({path}). "
            f"{_RESTORE}"
        )
    # OpenCV: the same bytes as Pillow in three quarters of its time; both refuse a cut file.
    return png.decode(data, png.READ_RGB, path, what="image", kind="JPEG")


def picture_size(path: Path) -> Size:
    """Return (height, width) of a picture from its first bytes.

    Raises:
        UserError: missing, unreadable or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_header(path).size
    try:
        with open_regular(path, limit=MAX_PICTURE) as file:
            return _jpeg_size(file, path)
    except OSError as error:
        raise png.unreadable(error, path) from error


def require_picture(path: Path) -> None:
    """Raise if the first bytes of a file are those of a picture that `read_picture` refuses.

    Raises:
        UserError: missing, or a PNG of gray, a palette or 16 bits; the message has the path.
    """
    if _is_png(path):
        png.picture_header(path)
    else:
        picture_size(path)


def _is_png(path: Path) -> bool:
    """Whether PNG's reader has the say: it is one, or it is unreadable and called one."""
    if path.suffix.lower() == ".png":
        return True
    try:
        with open_regular(path, limit=MAX_PICTURE) as file:
            return file.read(len(png.SIGNATURE)) == png.SIGNATURE
    except OSError:
        return False


def _jpeg_size(file: BinaryIO, path: Path) -> Size:
    """Return (height, width) by the header, having refused a JPEG that cannot be read."""
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        # Not by `Image.open`, which has limits of its own.
        image = JpegImageFile(file)
    except _NO_JPEG as error:
        file.seek(0)
        if file.read(len(_START)) != _START:
            got = "an empty file" if file_bytes == 0 else "another kind of file"
            raise UserError(
                f"image must be a PNG or JPEG, got {got} ({path}). {_RESTORE}"
            ) from error
        raise UserError(
            f"image must be a complete JPEG, got one cut short or damaged within its header, "
            f"{file_bytes} bytes ({path}). {_RESTORE}"
        ) from error
    size = image.height, image.width
    needed = image.height * image.width // _MAX_PIXELS_A_BYTE
    png.check_declared_size(size, path, file_bytes=file_bytes, needed_bytes=needed)
    if (channels := len(image.getbands())) not in (1, 3):
        raise UserError(
            f"image must be a gray or colour JPEG, got {channels} channels (CMYK?) ({path}). "
            "Save it as RGB."
        )
    return size
