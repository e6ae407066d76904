"""Pictures: sizes, colours where they belong, inputs untouched."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from uda4inst import colors, draw
from uda4inst.classes import THING_NAMES

SIZE = (128, 256)
GRAY = np.full((*SIZE, 3), 90, dtype=np.uint8)
IDS = np.zeros(SIZE, dtype=np.int32)
IDS[30:80, 20:90] = 1
IDS[40:100, 120:200] = 2
IDS[:10] = -1
ORIGIN = np.zeros(SIZE, dtype=np.uint8)
ORIGIN[IDS == 2] = 3
ORIGIN[40:45, 120:130] = 2


def at(picture: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """Return the pixel of a display-size picture at a place of the small image."""
    scale = picture.shape[1] / SIZE[1]
    return picture[int((row + 0.5) * scale), int((column + 0.5) * scale)]


def has_color(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(color)).all(axis=-1).any())


@pytest.mark.parametrize(
    ("size", "expected"),
    [((128, 256), (384, 768)), ((600, 900), (600, 900)), ((1024, 2048), (640, 1280))],
)
def test_display_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert draw.display_size(size) == expected


def test_overlay_instances__fills_in_class_colors() -> None:
    before = GRAY.copy()
    picture = draw.overlay_instances(GRAY, IDS, [0, 2], names=THING_NAMES)
    assert picture.shape == (384, 768, 3)
    assert at(picture, 70, 30)[0] > 120 > at(picture, 70, 30)[2]  # person: red
    assert at(picture, 90, 190)[2] > 120 > at(picture, 90, 190)[0]  # car: blue
    assert at(picture, 120, 10).tolist() == [90, 90, 90]
    assert at(picture, 3, 3).max() < 60  # ignored: dimmed
    np.testing.assert_array_equal(GRAY, before)


def test_overlay_instances__empty_slots_are_not_drawn() -> None:
    picture = draw.overlay_instances(GRAY, IDS, [-1, -1])
    assert at(picture, 60, 50).tolist() == [90, 90, 90]


def test_draw_boxes__around_each_instance_and_named() -> None:
    picture = draw.draw_boxes(GRAY, IDS, [0, -1])
    assert picture[30 * 3 + 1, 40 * 3].tolist() == list(colors.CLASS_COLORS[0])
    assert at(picture, 60, 50).tolist() == [90, 90, 90]  # inside: the image
    assert not has_color(picture, colors.CLASS_COLORS[2])


def test_overlay_semantic__classes_in_their_colors_and_ignore_dimmed() -> None:
    semantic = np.full(SIZE, 255, dtype=np.uint8)
    semantic[:, 128:] = 10  # sky
    picture = draw.overlay_semantic(GRAY, semantic, alpha=1.0)
    assert at(picture, 60, 200).tolist() == [70, 130, 180]
    assert at(picture, 60, 20).max() < 60


def test_overlay_ignored__objects_and_pixels_without_class() -> None:
    semantic = np.zeros(SIZE, dtype=np.uint8)
    semantic[:20] = 255
    picture = draw.overlay_ignored(GRAY, IDS, semantic, alpha=1.0)
    assert at(picture, 5, 50).tolist() == list(colors.IGNORED_OBJECT_COLOR)
    assert at(picture, 15, 50).tolist() == list(colors.NO_CLASS_COLOR)
    assert at(picture, 60, 50).max() < 90


def test_draw_detections__fills_kept_and_dashes_dropped() -> None:
    detections = [
        draw.DrawnDetection(IDS == 1, 0, 0.95),
        draw.DrawnDetection(IDS == 2, 2, 0.4, kept=False),
        draw.DrawnDetection(np.zeros(SIZE, dtype=bool), 2, 0.9),
    ]
    picture = draw.draw_detections(GRAY, detections)
    assert at(picture, 70, 30)[0] > 120
    assert at(picture, 70, 150).tolist() == [90, 90, 90]
    assert has_color(picture, colors.DROPPED_COLOR)
    assert has_color(picture, (255, 255, 255))  # words


def test_draw_detections__takes_masks_along_columns() -> None:
    picture = draw.draw_detections(GRAY, [draw.DrawnDetection(np.asfortranarray(IDS == 1), 0, 0.9)])
    assert at(picture, 70, 30)[0] > 120


def test_outline_by_origin__colors_each_object_by_most_of_its_pixels() -> None:
    assert draw.origins_of(IDS, ORIGIN) == {1: 0, 2: 3}
    picture = draw.outline_by_origin(GRAY, IDS, ORIGIN)
    assert has_color(picture, colors.ORIGIN_COLORS[3])
    assert not has_color(picture, colors.ORIGIN_COLORS[2])
    assert at(picture, 60, 150).tolist() == [90, 90, 90]


def test_outline_by_origin__no_instances_is_the_image() -> None:
    empty = np.zeros(SIZE, dtype=np.int32)
    assert draw.origins_of(empty, ORIGIN) == {}
    assert (draw.outline_by_origin(GRAY, empty, ORIGIN) == 90).all()


def test_error_picture__has_the_colors_of_its_codes() -> None:
    codes = np.array([[0, 1, 2, 3, 4]], dtype=np.uint8)
    assert draw.error_picture(codes)[0].tolist() == [list(c) for c in colors.ERROR_COLORS]


def test_error_overlay__shows_green_red_and_grey() -> None:
    codes = np.full(SIZE, colors.BACKGROUND_RIGHT, dtype=np.uint8)
    codes[:, :60], codes[:, 60:120], codes[:, 120:180] = colors.RIGHT, colors.WRONG, colors.VOID
    picture = draw.error_overlay(GRAY, codes)
    assert at(picture, 60, 30).argmax() == 1
    assert at(picture, 60, 90).argmax() == 0
    assert len(set(at(picture, 60, 150).tolist())) == 1
    assert at(picture, 60, 220).max() < 90


def test_upscale__enlarges_only_and_never_mixes_ids() -> None:
    assert draw.upscale(GRAY, 512).shape == (256, 512, 3)
    assert draw.upscale(GRAY, 100).shape == GRAY.shape
    large = draw.upscale_ids(IDS, 600)
    assert large.shape == (300, 600)
    assert set(np.unique(large)) == {-1, 0, 1, 2}
