"""Resize, crop and flip: a policy draws a transform, and one transform moves image and maps alike.

Arrays are numpy, uint8 pictures and integer maps, since this runs in the loader's workers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Int32, Int64, Shaped, UInt8
from numpy.typing import NDArray

from uda4inst.structures import IGNORE_ID, Size

_PAD_VALUE: Final = 128  # gray of padded pixels, Mask2Former's FixedSizeCrop


@dataclass(frozen=True, slots=True)
class Transform:
    """One drawn resize, crop and flip, applicable to any number of arrays of one image.

    Args:
        size: (height, width) of what goes in.
        resized: (height, width) after resizing.
        offset: (top, left) of the crop in the resized image.
        crop: (height, width) of what comes out; what lies beyond the resized image is padded.
        flip: mirror left and right, after the crop.
    """

    size: Size
    resized: Size
    offset: tuple[int, int]
    crop: Size
    flip: bool

    def image(self, image: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """Return the transformed picture: bilinear, padded with gray."""
        self._check(image.shape[:2])
        if self.resized != self.size:
            height, width = self.resized
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            image = np.asarray(resized, dtype=np.uint8)
        top, left = self.offset
        cut = image[top : top + self.crop[0], left : left + self.crop[1]]
        if cut.shape[:2] != self.crop:
            padded = np.full((*self.crop, 3), _PAD_VALUE, dtype=np.uint8)
            padded[: cut.shape[0], : cut.shape[1]] = cut
            cut = padded
        return (cut[:, ::-1] if self.flip else cut).copy(order="C")

    def ids(self, ids: Int32[NDArray[np.int32], "H W"]) -> Int32[NDArray[np.int32], "h w"]:
        """Return the transformed id map, padded with ignore (-1)."""
        return self.map(ids, fill=IGNORE_ID)

    def map(
        self, values: Shaped[NDArray[Any], "H W"], *, fill: int | bool
    ) -> Shaped[NDArray[Any], "h w"]:
        """Return a transformed map: the nearest pixel's value, `fill` where padded.

        Nearest means the pixel that holds the centre of the output pixel, so maps and the bilinear
        picture agree.
        """
        self._check(values.shape)
        rows = _nearest(self.size[0], self.resized[0], self.offset[0], self.crop[0])
        columns = _nearest(self.size[1], self.resized[1], self.offset[1], self.crop[1])
        if self.resized == self.size:
            cut = values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        else:
            cut = values[rows].take(columns, axis=1)
        if cut.shape != self.crop:
            padded = np.full(self.crop, fill, dtype=values.dtype)
            padded[: cut.shape[0], : cut.shape[1]] = cut
            cut = padded
        return (cut[:, ::-1] if self.flip else cut).copy(order="C")

    def _check(self, size: tuple[int, ...]) -> None:
        """Refuse arrays of another size than the transform was drawn for."""
        if size != self.size:
            raise ValueError(f"array must have the transform's size {self.size}, got {size}.")


@dataclass(frozen=True, slots=True)
class GeometricPolicy:
    """What may be drawn: the paper's resize of the shorter side, random crop, random flip.

    Args:
        crop: (height, width) of every output.
        short_sides: lengths of the shorter side to choose from, all equally likely.
        long_side_max: the longer side is held to this, the shorter one following.
        flip: mirror half of the images.
    """

    crop: Size
    short_sides: tuple[int, ...]
    long_side_max: int
    flip: bool

    def draw(self, size: Size, generator: np.random.Generator) -> Transform:
        """Draw a transform for an image of this size.

        Always takes four numbers from the generator, so what is drawn next does not depend on the
        settings.
        """
        which, down, right, mirror = generator.random(4)
        short_side = self.short_sides[int(which * len(self.short_sides))]
        resized = _resized(size, short_side, self.long_side_max)
        return Transform(
            size=size,
            resized=resized,
            offset=self._offset(resized, down, right),
            crop=self.crop,
            flip=self.flip and bool(mirror < 0.5),
        )

    def draw_place(self, transform: Transform, generator: np.random.Generator) -> Transform:
        """Draw another place for the crop of a transform; all else about it stays.

        Takes two numbers from the generator.
        """
        return replace(transform, offset=self._offset(transform.resized, *generator.random(2)))

    def _offset(self, resized: Size, down: float, right: float) -> tuple[int, int]:
        """Return the crop's place from two numbers in [0, 1)."""
        room = [max(have - want, 0) for have, want in zip(resized, self.crop, strict=True)]
        return int(down * (room[0] + 1)), int(right * (room[1] + 1))


def _resized(size: Size, short_side: int, long_side_max: int) -> Size:
    """Return the size whose shorter side is `short_side`, unless the longer one gets too long."""
    scale = min(short_side / min(size), long_side_max / max(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _nearest(length: int, resized: int, offset: int, count: int) -> Int64[NDArray[np.int64], " n"]:
    """Return which input row each output row shows: floor((y + 1/2) * length / resized)."""
    positions = np.arange(offset, min(offset + count, resized), dtype=np.int64)
    return (2 * positions + 1) * length // (2 * resized)
