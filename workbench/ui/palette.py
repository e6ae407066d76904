"""The colours of `uda4inst.draw` as CSS, and those of curves that stand for no class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from uda4inst.classes import SEMANTIC_CLASSES, THING_NAMES
from uda4inst.colors import CLASS_COLORS, Rgb

# Curves without a class, in the order they are given out.
LINE_COLORS: Final[tuple[str, ...]] = (
    "#3b82f6",
    "#f59e0b",
    "#10b981",
    "#ef4444",
    "#a855f7",
    "#14b8a6",
    "#ec4899",
    "#84cc16",
    "#78716c",
)


def css(color: Rgb) -> str:
    """Return a colour as CSS writes it.

    Example:
        >>> css((255, 176, 0))
        '#ffb000'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def thing_css(thing: int) -> str:
    """Return the CSS colour of a thing class by its index."""
    return css(CLASS_COLORS[thing])


def class_css(name: str, names: Sequence[str] = THING_NAMES) -> str:
    """Return the CSS colour of a thing class; `names` are all there are, by thing index."""
    return thing_css(names.index(name))


def semantic_css(name: str) -> str:
    """Return the CSS colour of one of the 19 classes, as semantic maps are drawn."""
    return next(css(c.color) for c in SEMANTIC_CLASSES if c.name == name)
