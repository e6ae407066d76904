"""Pictures of instances, detections, origins and errors, for people to look at.

Images are RGB uint8 (H, W, 3), in and out; inputs stay untouched. Pictures come out at *display
size*: between 768 and 1280 pixels wide, so that outlines and words are thin and legible on
128x256 as on 1024x2048.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.colors import (
    BACKGROUND_RIGHT,
    CLASS_COLORS,
    DROPPED_COLOR,
    ERROR_COLORS,
    HALO,
    IGNORED_OBJECT_COLOR,
    NO_CLASS_COLOR,
    ORIGIN_COLORS,
    RIGHT,
    VOID,
    WRONG,
    Rgb,
)
from uda4inst.draw_text import TEXT_HEIGHT, PlacedText, label_text, text_width
from uda4inst.ops.masks import inner_point
from uda4inst.structures import Size

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MIN_WIDTH: Final = 768
MAX_WIDTH: Final = 1280

_DASH: Final = (7, 6)  # pixels drawn, pixels left out
_IGNORE_ALPHA: Final = 0.6


class DrawnDetection(NamedTuple):
    """One detection as it is drawn: kept ones filled and named, dropped ones dashed.

    Of dropped ones, those that training ignores are filled, without a name.
    """

    mask: Mask
    label: int
    score: float
    kept: bool = True
    ignored: bool = False


def display_size(size: Size) -> Size:
    """Return the size a picture of an image has: 768 to 1280 wide, the same proportions.

    Example:
        >>> display_size((128, 256)), display_size((1024, 2048))
        ((384, 768), (640, 1280))
    """
    width = min(max(size[1], MIN_WIDTH), MAX_WIDTH)
    return max(1, round(size[0] * width / size[1])), width


def resize(image: Image, size: Size) -> Image:
    """Return an image at another size: smooth when enlarged, averaged when reduced."""
    if image.shape[:2] == size:
        return image.copy()
    method = cv2.INTER_CUBIC if size[1] > image.shape[1] else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size[::-1], interpolation=method), dtype=np.uint8)


def upscale(image: Image, width: int = MIN_WIDTH) -> Image:
    """Return an image at least `width` wide; larger ones as they are."""
    height = round(image.shape[0] * width / image.shape[1])
    return image.copy() if image.shape[1] >= width else resize(image, (height, width))


def upscale_ids(ids: NDArray[np.integer], width: int = MIN_WIDTH) -> NDArray[np.integer]:
    """Return an id or code map at least `width` wide, without mixing values."""
    if ids.shape[1] >= width:
        return ids.copy()
    return _resize_ids(ids, (round(ids.shape[0] * width / ids.shape[1]), width))


def overlay_instances(
    image: Image,
    ids: NDArray[np.integer],
    labels: Sequence[int] | NDArray[np.integer],
    *,
    alpha: float = 0.45,
    outline: bool = True,
    names: Sequence[str] | None = None,
) -> Image:
    """Return the picture of an instance map over its image, in class colours.

    Args:
        image: the image.
        ids: 0 background, k > 0 the k-th instance, -1 ignore (dimmed), the image's size.
        labels: thing index of instance k at `labels[k-1]`; -1 is not drawn.
        alpha: opacity of the fill, 0..1.
        outline: draw each instance's outline.
        names: of the classes by thing index, to write on each instance; None writes nothing.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    large = _resize_ids(ids, size)
    _fill(canvas, large < 0, HALO, _IGNORE_ALPHA)
    texts: list[PlacedText] = []
    for number, label in enumerate(labels, start=1):
        mask = large == number
        if label < 0 or not mask.any():
            continue
        color = CLASS_COLORS[int(label)]
        _fill(canvas, mask, color, alpha)
        if outline:
            _outline(canvas, mask, color)
        if names is not None:
            texts.append(_placed(names[int(label)], mask, color))
    return label_text(canvas, texts)


def draw_boxes(
    image: Image,
    ids: NDArray[np.integer],
    labels: Sequence[int] | NDArray[np.integer],
    *,
    names: Sequence[str] = THING_NAMES,
) -> Image:
    """Return the picture of the boxes around instances, each with the name of its class.

    Args:
        image: the image.
        ids: its instances, as in `overlay_instances`.
        labels: thing index of instance k at `labels[k-1]`; -1 is not drawn.
        names: of the classes by thing index.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    large = _resize_ids(ids, size)
    texts: list[PlacedText] = []
    for number, label in enumerate(labels, start=1):
        mask = large == number
        if label < 0 or not mask.any():
            continue
        rows, columns = _window(mask)
        first, last = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
        color = CLASS_COLORS[int(label)]
        for line_color, thickness in ((HALO, 4), (color, 2)):
            cv2.rectangle(canvas, first, last, line_color, thickness)
        above = (rows.start - TEXT_HEIGHT // 2 - 2, (columns.start + columns.stop) // 2)
        texts.append(PlacedText(names[int(label)], above, color))
    return label_text(canvas, texts)


def overlay_semantic(image: Image, semantic: NDArray[np.uint8], *, alpha: float = 0.6) -> Image:
    """Return the picture of a semantic map over its image, in Cityscapes' colours.

    Args:
        image: the image.
        semantic: trainIds, 255 ignore (dimmed), the image's size.
        alpha: opacity of the colours, 0..1.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    large = _resize_ids(semantic, size)
    for known in SEMANTIC_CLASSES:
        _fill(canvas, large == known.train_id, known.color, alpha)
    _fill(canvas, large == IGNORE_TRAIN_ID, HALO, _IGNORE_ALPHA)
    return canvas


def overlay_ignored(
    image: Image, ids: NDArray[np.integer], semantic: NDArray[np.uint8], *, alpha: float = 0.6
) -> Image:
    """Return the picture of what training leaves out; all else is a little darker.

    Args:
        image: the image.
        ids: its instances; -1 marks ignored objects.
        semantic: trainIds; 255 marks pixels without a class.
        alpha: opacity of the colours, 0..1.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    objects = _resize_ids(ids, size) < 0
    others = (_resize_ids(semantic, size) == IGNORE_TRAIN_ID) & ~objects
    _fill(canvas, ~(objects | others), HALO, 0.35)
    _fill(canvas, objects, IGNORED_OBJECT_COLOR, alpha)
    _fill(canvas, others, NO_CLASS_COLOR, alpha)
    return canvas


def draw_detections(
    image: Image,
    detections: Sequence[DrawnDetection],
    *,
    alpha: float = 0.45,
    names: Sequence[str] = THING_NAMES,
) -> Image:
    """Return the picture of scored detections; see `DrawnDetection`.

    Args:
        image: the image.
        detections: in any order; the surest lie on top, all kept ones above all dropped.
        alpha: opacity of the fill, 0..1.
        names: of the classes by thing index.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    texts: list[PlacedText] = []
    for detection in sorted(detections, key=lambda d: (d.kept, d.score)):
        mask = _resize_mask(detection.mask, size)
        if not mask.any():
            continue
        color = IGNORED_OBJECT_COLOR if detection.ignored else DROPPED_COLOR
        if detection.ignored:
            _fill(canvas, mask, color, alpha / 2)
        if detection.kept:
            color = CLASS_COLORS[detection.label]
            _fill(canvas, mask, color, alpha)
            text = f"{names[detection.label]} {detection.score:.2f}"
            texts.append(_placed(text, mask, color))
        _outline(canvas, mask, color, dashed=not detection.kept)
    return label_text(canvas, texts[::-1])


def outline_by_origin(image: Image, ids: NDArray[np.integer], origin: NDArray[np.integer]) -> Image:
    """Return the picture of a mixed image, every object outlined in the colour of its origin.

    Args:
        image: the mixed image.
        ids: its instances, as in `overlay_instances`.
        origin: 0 base image, 1 source, 2 pseudo-label, 3 pool, per pixel.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    large = _resize_ids(ids, size)
    origins = origins_of(ids, origin)
    # Pasted objects last, so that their outlines cover those of the base image.
    for number in sorted(origins, key=lambda n: origins[n] > 0):
        kind = origins[number]
        thickness = 1 if kind == 0 else 2
        _outline(canvas, large == number, ORIGIN_COLORS[kind], thickness=thickness)
    return canvas


def origins_of(ids: NDArray[np.integer], origin: NDArray[np.integer]) -> dict[int, int]:
    """Return the origin of every instance that has pixels: that of most of its pixels."""
    inside = ids > 0
    kinds = len(ORIGIN_COLORS)
    pairs = ids[inside].astype(np.intp) * kinds + origin[inside]
    table = np.bincount(pairs, minlength=kinds * (int(ids.max(initial=0)) + 1)).reshape(-1, kinds)
    return {int(n): int(table[n].argmax()) for n in np.flatnonzero(table.any(axis=1))}


def error_picture(codes: NDArray[np.uint8]) -> Image:
    """Return an error map in colours, at its own size: green right, red wrong, grey void."""
    return np.array(ERROR_COLORS, dtype=np.uint8)[codes]


def error_overlay(image: Image, codes: NDArray[np.uint8], *, alpha: float = 0.55) -> Image:
    """Return the picture of an error map over its image.

    Rightly empty background and pixels of no interest show the image, a little darker.

    Args:
        image: the image.
        codes: from `evaluation.error_maps.error_map`.
        alpha: opacity of green, red and grey, 0..1.
    """
    size = display_size(_size(image))
    canvas = resize(image, size)
    large = _resize_ids(codes, size)
    _fill(canvas, large <= BACKGROUND_RIGHT, HALO, 0.35)
    for code in (RIGHT, WRONG, VOID):
        _fill(canvas, large == code, ERROR_COLORS[code], alpha)
    return canvas


def _size(image: NDArray[np.uint8]) -> Size:
    return int(image.shape[0]), int(image.shape[1])


def _resize_ids(ids: NDArray[np.integer], size: Size) -> NDArray[np.integer]:
    """Return an integer map at another size, each pixel from its nearest."""
    if ids.shape == size:
        return ids.copy()
    rows = (np.arange(size[0]) * 2 + 1) * ids.shape[0] // (2 * size[0])
    columns = (np.arange(size[1]) * 2 + 1) * ids.shape[1] // (2 * size[1])
    return ids[np.ix_(rows, columns)]


def _resize_mask(mask: Mask, size: Size) -> Mask:
    """Return a mask at another size with a smooth border: interpolated, cut at one half."""
    mask = np.ascontiguousarray(mask)  # masks from run-length codes lie along columns
    if mask.shape == size:
        return mask
    method = cv2.INTER_LINEAR if size[1] > mask.shape[1] else cv2.INTER_AREA
    return cv2.resize(mask.astype(np.uint8) * 255, size[::-1], interpolation=method) > 127


def _window(mask: Mask) -> tuple[slice, slice]:
    """Return rows and columns of the smallest box around a mask: objects are small, images not."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _fill(canvas: Image, mask: Mask, color: Rgb, alpha: float) -> None:
    """Blend a colour into the canvas."""
    window = _window(mask)
    inside, part = mask[window], canvas[window]
    pixels = part[inside].astype(np.float32)
    part[inside] = (pixels * (1 - alpha) + np.array(color) * alpha + 0.5).astype(np.uint8)


def _outline(
    canvas: Image, mask: Mask, color: Rgb, *, thickness: int = 2, dashed: bool = False
) -> None:
    """Draw the border of a mask on the canvas, with a dark rim that keeps it visible anywhere."""
    rows, columns = _window(mask)
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask[rows, columns]).view(np.uint8),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
        offset=(columns.start, rows.start),
    )
    lines = [c for contour in found for c in (_dashes(contour) if dashed else [contour])]
    for line_color, width in ((HALO, thickness + 2), (color, thickness)):
        cv2.polylines(canvas, lines, not dashed, line_color, width, cv2.LINE_AA)


def _dashes(contour: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut a contour into dashes."""
    drawn, left_out = _DASH
    return [contour[i : i + drawn] for i in range(0, len(contour), drawn + left_out)]


def _placed(text: str, mask: Mask, color: Rgb) -> PlacedText:
    """Return words that belong to a mask with pixels: inside a large one, above a small one."""
    rows, columns = _window(mask)
    if columns.stop - columns.start < text_width(text) * 1.3:
        return PlacedText(text, (rows.start - 13, (columns.start + columns.stop) // 2), color)
    place = inner_point(mask[rows, columns])
    assert place is not None
    return PlacedText(text, (rows.start + place[0], columns.start + place[1]), color)
