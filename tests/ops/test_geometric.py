"""Resize, crop and flip: maps against a slow loop, pictures against their maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from uda4inst.ops.geometric import GeometricPolicy, Transform

CASES = {
    "crop": Transform((6, 8), (6, 8), (1, 2), (4, 5), flip=False),
    "crop and flip": Transform((6, 8), (6, 8), (1, 2), (4, 5), flip=True),
    "larger": Transform((6, 8), (9, 12), (2, 5), (5, 6), flip=False),
    "smaller": Transform((12, 16), (9, 12), (0, 3), (9, 8), flip=True),
    "padded": Transform((6, 8), (3, 4), (0, 0), (5, 7), flip=False),
    "padded in height alone": Transform((6, 8), (3, 4), (0, 1), (5, 3), flip=True),
}


def slow_map(values: np.ndarray, transform: Transform, fill: int) -> np.ndarray:
    """The same by a loop over output pixels, in exact fractions."""
    height, width = transform.crop
    out = np.full(transform.crop, fill, dtype=values.dtype)
    for y in range(height):
        for x in range(width):
            row, column = y + transform.offset[0], x + transform.offset[1]
            if row >= transform.resized[0] or column >= transform.resized[1]:
                continue
            source_row = int((row + 0.5) * transform.size[0] / transform.resized[0])
            source_column = int((column + 0.5) * transform.size[1] / transform.resized[1])
            out[y, x] = values[source_row, source_column]
    return out[:, ::-1] if transform.flip else out


@pytest.mark.parametrize("transform", CASES.values(), ids=CASES.keys())
def test_transform__maps_equal_a_slow_loop(transform: Transform) -> None:
    ids = np.arange(np.prod(transform.size), dtype=np.int32).reshape(transform.size)
    np.testing.assert_array_equal(transform.ids(ids), slow_map(ids, transform, -1))
    semantic = ids.astype(np.uint8)
    moved = transform.map(semantic, fill=255)
    np.testing.assert_array_equal(moved, slow_map(semantic, transform, 255))
    assert moved.dtype == np.uint8


def test_transform__pads_maps_as_told() -> None:
    valid = np.ones((2, 2), dtype=bool)
    moved = Transform((2, 2), (2, 2), (0, 0), (3, 3), flip=True).map(valid, fill=False)
    assert moved.tolist() == [[False, True, True], [False, True, True], [False] * 3]


@pytest.mark.parametrize("transform", CASES.values(), ids=CASES.keys())
def test_transform__picture_and_map_move_alike(transform: Transform) -> None:
    # A picture that is linear in x and y keeps its values under bilinear resizing.
    rows, columns = np.mgrid[: transform.size[0], : transform.size[1]]
    image = np.stack([rows * 12, columns * 12, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
    seen = transform.image(image)
    inside = transform.map(np.ones(transform.size, dtype=bool), fill=False)
    moved = [transform.map(image[..., c], fill=128) for c in range(3)]
    assert seen.shape == (*transform.crop, 3)
    assert (seen[~inside] == 128).all()
    assert np.abs(seen.astype(int) - np.stack(moved, axis=-1)).max() <= 12


def test_transform__flip_twice_is_nothing() -> None:
    ids = np.arange(12, dtype=np.int32).reshape(3, 4)
    flip = Transform((3, 4), (3, 4), (0, 0), (3, 4), flip=True)
    np.testing.assert_array_equal(flip.ids(flip.ids(ids)), ids)


def test_transform__leaves_its_input_alone() -> None:
    ids = np.arange(12, dtype=np.int32).reshape(3, 4)
    same = Transform((3, 4), (3, 4), (0, 0), (3, 4), flip=False).ids(ids)
    same[:] = 0
    assert ids[2, 3] == 11


def test_transform__refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"size \(6, 8\), got \(6, 9\)"):
        CASES["crop"].ids(np.zeros((6, 9), dtype=np.int32))


def policy(
    crop: tuple[int, int] = (32, 64), sides: tuple[int, ...] = (40, 48), longest: int = 2048
) -> GeometricPolicy:
    return GeometricPolicy(crop=crop, short_sides=sides, long_side_max=longest, flip=True)


def test_policy__draws_every_side_offset_and_flip() -> None:
    generator = np.random.default_rng(0)
    drawn = [policy().draw((64, 128), generator) for _ in range(400)]
    assert {t.resized for t in drawn} == {(40, 80), (48, 96)}
    assert {t.flip for t in drawn} == {True, False}
    small = [t.offset for t in drawn if t.resized == (40, 80)]
    assert {top for top, _ in small} == set(range(9))
    assert {left for _, left in small} == set(range(17))


def test_policy__long_side_is_held() -> None:
    drawn = policy(crop=(1024, 1024), sides=(2048,), longest=2048).draw(
        (1024, 2048), np.random.default_rng(0)
    )
    assert drawn.resized == (1024, 2048)


def test_policy__small_images_are_padded_not_cropped() -> None:
    drawn = policy(crop=(64, 64), sides=(40,)).draw((20, 20), np.random.default_rng(0))
    assert (drawn.resized, drawn.offset, drawn.crop) == ((40, 40), (0, 0), (64, 64))


def test_policy__takes_the_same_random_numbers_whatever_the_settings() -> None:
    generators = [np.random.default_rng(3) for _ in range(2)]
    policy().draw((64, 128), generators[0])
    GeometricPolicy((8, 8), (9, 10, 11), 50, flip=False).draw((64, 128), generators[1])
    assert generators[0].random() == generators[1].random()


def test_policy__no_flip_when_off() -> None:
    still = GeometricPolicy((32, 64), (32,), 2048, flip=False)
    generator = np.random.default_rng(0)
    assert not any(still.draw((32, 64), generator).flip for _ in range(50))


def test_geometric_policy__another_place_is_all_that_changes() -> None:
    policy = GeometricPolicy(crop=(4, 5), short_sides=(6, 9), long_side_max=40, flip=True)
    drawn = policy.draw((6, 8), np.random.default_rng(0))
    generator = np.random.default_rng(1)
    moved = [policy.draw_place(drawn, generator) for _ in range(600)]
    assert {replace(one, offset=drawn.offset) for one in moved} == {drawn}
    room = [have - want for have, want in zip(drawn.resized, drawn.crop, strict=True)]
    assert {one.offset for one in moved} == {
        (y, x) for y in range(room[0] + 1) for x in range(room[1] + 1)
    }
