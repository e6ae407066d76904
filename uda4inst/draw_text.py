"""Words on pictures, each in a box of its own that covers no other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from uda4inst.colors import HALO, Rgb
from uda4inst.structures import Size

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]

_FONT_PIXELS: Final = 15
TEXT_HEIGHT: Final = 21


class PlacedText(NamedTuple):
    """Words and where they belong: (row, column) of the picture they are drawn on."""

    text: str
    at: tuple[int, int]
    color: Rgb


def label_text(image: Image, texts: Sequence[PlacedText]) -> Image:
    """Return an image with words in small boxes; boxes make way for the ones before them.

    Words without a free place nearby are left out, so the most important come first.
    """
    if not texts:
        return image
    picture = PilImage.fromarray(image)
    pen = ImageDraw.Draw(picture)
    taken: list[Box] = []
    for text in texts:
        width, height = round(text_width(text.text)) + 10, TEXT_HEIGHT
        place = _free_place(text.at, (height, width), (image.shape[0], image.shape[1]), taken)
        if place is None:
            continue
        x, y = place
        taken.append((x, y, x + width, y + height))
        pen.rounded_rectangle((x, y, x + width, y + height), radius=3, fill=HALO)
        pen.rectangle((x, y + 2, x + 2, y + height - 2), fill=text.color)
        middle = (x + 6, y + height / 2)
        pen.text(middle, text.text, font=_font(), anchor="lm", fill=(255, 255, 255))
    return np.array(picture)


def _free_place(
    at: tuple[int, int], box: tuple[float, float], size: Size, taken: Sequence[Box]
) -> tuple[float, float] | None:
    """Return (left, top) for a box near a point that meets none of the taken ones, or None."""
    height, width = box
    row, column = at
    for down, right in ((0, 0), (-1, 0), (1, 0), (0, 0.6), (0, -0.6), (-2, 0), (2, 0)):
        x = min(max(column - width / 2 + right * width, 0), max(size[1] - width - 1, 0))
        y = min(max(row - height / 2 + down * (height + 1), 0), max(size[0] - height - 1, 0))
        if all(
            x >= r or x + width <= left or y >= b or y + height <= top for left, top, r, b in taken
        ):
            return x, y
    return None


def text_width(text: str) -> float:
    """Return how many pixels wide words are."""
    return _font().getlength(text)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font: no font needs to be installed."""
    return ImageFont.load_default(size=_FONT_PIXELS)
