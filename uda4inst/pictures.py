"""Pictures of any common kind, by Pillow, whatever their names say; none too large for memory.

What data sets hold is read by `uda4inst.data.files`, which is stricter and quicker.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS: Final = 2**26  # 8192x8192, the largest crop; 200 MB as RGB
MAX_PICTURE: Final = 2**29  # bytes of a file: what `MAX_PIXELS` of 16-bit RGBA take unpacked
_PNG_SIGNATURE: Final = 8  # bytes before the first part
# None that starts another program, as EPS does.
_KINDS: Final = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")


def check_picture(data: bytes) -> None:
    """Raise unless the first bytes are a picture's, of a size that it may have.

    Raises:
        ValueError: they are not, or as `check_png_parts`.
    """
    with _opened(data) as image:
        if image.format == "PNG":
            check_png_parts(data)


def check_png_parts(data: bytes) -> None:
    """Raise unless the parts of a PNG lie within the file; whether the last is there is not asked.

    OpenCV would take as much memory as a part says it has bytes, before it looks for them: 2.5 GiB
    were seen for a file of 118 bytes.

    Raises:
        ValueError: one does not.
    """
    place, kind = _PNG_SIGNATURE, b""
    while place < len(data) and kind != b"IEND":
        kind = data[place + 4 : place + 8]
        place += 12 + int.from_bytes(data[place : place + 4])
    if place > len(data):
        raise ValueError("a part that is longer than the file")


def decode_picture(
    data: bytes, convert: Callable[[Image.Image], Image.Image] | None = None
) -> NDArray[np.uint8]:
    """Return the pixels of a picture.

    Args:
        data: of the file.
        convert: turns it upright, into another mode, or whatever is wanted; None: as it is.

    Raises:
        ValueError: it is none, cut short, damaged, or too large.
    """
    with _opened(data) as image:
        try:
            return np.asarray(image if convert is None else convert(image))
        except Exception as error:  # decoders of pictures raise whatever they like
            raise ValueError(f"a damaged {image.format} ({error})") from error


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_KINDS)
    except Exception as error:  # the same
        raise ValueError(f"none of {', '.join(_KINDS)}, or a damaged one") from error
    if not 0 < image.width * image.height <= MAX_PIXELS:
        raise ValueError(f"{image.height}x{image.width} of 1 to {MAX_PIXELS:,} pixels")
    return image
