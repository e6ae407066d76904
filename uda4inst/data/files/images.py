"""Reading pictures of the kinds data sets come in: PNG and JPEG."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import UInt8
from PIL.JpegImagePlugin import JpegImageFile

from uda4inst.data.files import png
from uda4inst.errors import UserError
from uda4inst.structures import Size

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_START: Final = b"\xff\xd8"
# A JPEG spends at least a bit on each 8x8 block: 512 pixels a byte. Twice that is left as slack.
_MAX_PIXELS_A_BYTE: Final = 1024
_RESTORE: Final = "Restore the file from its archive."
_FAULTS: Final = (OSError, SyntaxError, ValueError)  # what Pillow makes of a file it cannot read


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
    with _opened_jpeg(path) as image:
        try:
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
        except _FAULTS as error:
            raise UserError(f"image must be undamaged, got {error} ({path}). {_RESTORE}") from error


def picture_size(path: Path) -> Size:
    """Return (height, width) of a picture from its first bytes.

    Raises:
        UserError: missing, unreadable or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_header(path).size
    with _opened_jpeg(path) as image:
        return image.height, image.width


def _is_png(path: Path) -> bool:
    """Whether PNG's reader has the say: it is one, or it is unreadable and called one."""
    if path.suffix.lower() == ".png":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(png.SIGNATURE)) == png.SIGNATURE
    except OSError:
        return False


@contextmanager
def _opened_jpeg(path: Path) -> Iterator[JpegImageFile]:
    """Give a JPEG of which Pillow has read the header, having refused what cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise png.unreadable(error, path) from error
    with file:
        file_bytes = os.fstat(file.fileno()).st_size
        try:
            # Not by `Image.open`, which has limits of its own.
            image = JpegImageFile(file)
        except _FAULTS as error:
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
        needed = image.height * image.width // _MAX_PIXELS_A_BYTE
        png.check_declared_size(
            (image.height, image.width), path, file_bytes=file_bytes, needed_bytes=needed
        )
        if (channels := len(image.getbands())) not in (1, 3):
            raise UserError(
                f"image must be a gray or colour JPEG, got {channels} channels (CMYK?) ({path}). "
                "Save it as RGB."
            )
        yield image
