"""The colours that classes, origins and errors have in every picture, and the codes of errors."""

from __future__ import annotations

import colorsys
from typing import Final

from uda4inst.classes import MAX_OWN_CLASSES

Rgb = tuple[int, int, int]


def _own_colors() -> tuple[Rgb, ...]:
    """Return colours of classes beside the eight: hues a golden section apart, some paler."""
    found: list[Rgb] = []
    for place in range(MAX_OWN_CLASSES):
        hue, pale = (0.13 + place * 0.618034) % 1, 0.35 * (place % 5 == 4)
        red, green, blue = colorsys.hls_to_rgb(hue, 0.5 + pale / 2, 0.8)
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(found)


# Told apart on street scenes; Cityscapes' own car, truck, bus and train are four dark blues. By
# thing index.
CLASS_COLORS: Final[tuple[Rgb, ...]] = (
    (236, 72, 84),  # person
    (245, 150, 30),  # rider
    (64, 140, 255),  # car
    (150, 100, 245),  # truck
    (20, 175, 165),  # bus
    (232, 80, 190),  # train
    (150, 175, 30),  # motorcycle
    (165, 120, 95),  # bicycle
    *_own_colors(),
)
# Where a pasted object comes from, as in the origin maps of mixing: light grey, sky blue, orange
# and pink differ in hue and lightness for every common kind of colour blindness. Base image,
# source, pseudo-label, pool.
ORIGIN_COLORS: Final[tuple[Rgb, ...]] = (
    (235, 235, 235),
    (64, 170, 255),
    (255, 176, 0),
    (255, 70, 200),
)
DROPPED_COLOR: Final[Rgb] = (205, 205, 205)
# What training leaves out: pixels of ignored objects, and all others without a class.
IGNORED_OBJECT_COLOR: Final[Rgb] = (255, 232, 60)
NO_CLASS_COLOR: Final[Rgb] = (255, 140, 0)

# Codes of error maps.
NOT_OF_INTEREST: Final = 0
BACKGROUND_RIGHT: Final = 1
RIGHT: Final = 2
WRONG: Final = 3
VOID: Final = 4
ERROR_COLORS: Final[tuple[Rgb, ...]] = (
    (24, 24, 26),
    (16, 74, 40),
    (60, 200, 90),
    (228, 50, 50),
    (120, 120, 120),
)
# Behind words, around lines.
HALO: Final[Rgb] = (12, 12, 14)
