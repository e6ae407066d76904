"""Reading pictures of the kinds data sets come in: PNG and JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from uda4inst.data import png
from uda4inst.errors import UserError
from uda4inst.structures import Size

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_MAX_PIXELS: Final = 2**28
_RESTORE: Final = "Restore the file from its archive."


def is_image_name(name: str) -> bool:
    """Whether a file name ends as a picture's does, in any case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture as RGB. Rotation marks are not obeyed: labels know nothing of them.

    Raises:
        UserError: missing, cut short, damaged or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_image(path)
    return np.array(_open_jpeg(path, decode=True).convert("RGB"))


def picture_size(path: Path) -> Size:
    """Return (height, width) of a picture from its first bytes.

    Raises:
        UserError: missing, unreadable or of an unknown kind; the message has the path.
    """
    if _is_png(path):
        return png.read_header(path).size
    image = _open_jpeg(path, decode=False)
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


def _open_jpeg(path: Path, *, decode: bool) -> Image.Image:
    try:
        image: Any = Image.open(path, formats=["JPEG"])
        if image.width * image.height > _MAX_PIXELS:
            raise UserError(
                f"image must have at most {_MAX_PIXELS} pixels, got {image.width}x{image.height} "
                f"({path}). {_RESTORE}"
            )
        if decode:
            image.load()
    except FileNotFoundError as error:
        raise UserError(f"file must be readable, got no such file ({path}). {_RESTORE}") from error
    except UnidentifiedImageError as error:
        got = "an empty file" if path.stat().st_size == 0 else "another kind of file"
        raise UserError(f"image must be a PNG or JPEG, got {got} ({path}). {_RESTORE}") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"image must be undamaged, got {error} ({path}). {_RESTORE}") from error
    return image
