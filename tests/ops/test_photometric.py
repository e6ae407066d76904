"""Colour distortion: each part against its own arithmetic."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from uda4inst.ops.photometric import Distortion

IMAGE = np.random.default_rng(1).integers(0, 256, (6, 7, 3), dtype=np.uint8)


def test_apply__defaults_change_nothing() -> None:
    np.testing.assert_array_equal(Distortion().apply(IMAGE), IMAGE)


def test_apply__brightness_is_added_and_clipped() -> None:
    expected = np.clip(IMAGE.astype(int) + 30, 0, 255)
    np.testing.assert_array_equal(Distortion(brightness=30.0).apply(IMAGE), expected)


@pytest.mark.parametrize("last", [False, True])
def test_apply__contrast_scales(last: bool) -> None:
    expected = np.clip(np.rint(IMAGE * 1.3), 0, 255)
    seen = Distortion(contrast=1.3, contrast_last=last).apply(IMAGE)
    np.testing.assert_array_equal(seen, expected)


def test_apply__hue_turns_red_to_green() -> None:
    red = np.zeros((1, 1, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert Distortion(hue=60).apply(red)[0, 0].tolist() == [0, 200, 0]
    assert Distortion(hue=-60).apply(red)[0, 0].tolist() == [0, 0, 200]


def test_apply__saturation_against_the_standard_library() -> None:
    seen = Distortion(saturation=0.5).apply(IMAGE).reshape(-1, 3)
    for pixel, got in zip(IMAGE.reshape(-1, 3), seen, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation / 2, value)) * 255
        assert np.abs(expected - got).max() < 4  # hue and saturation are whole numbers here


def test_apply__order_of_contrast_matters() -> None:
    first = Distortion(contrast=1.5, saturation=1.5)
    last = Distortion(contrast=1.5, saturation=1.5, contrast_last=True)
    assert (first.apply(IMAGE) != last.apply(IMAGE)).any()


def test_apply__leaves_its_input_alone() -> None:
    before = IMAGE.copy()
    Distortion(brightness=9.0, contrast=1.2, saturation=0.7, hue=5).apply(IMAGE)
    np.testing.assert_array_equal(IMAGE, before)


def test_draw__ranges_and_shares() -> None:
    generator = np.random.default_rng(0)
    drawn = [Distortion.draw(generator) for _ in range(2000)]
    for name, low, high, none in (
        ("brightness", -32, 32, 0),
        ("contrast", 0.5, 1.5, 1),
        ("saturation", 0.5, 1.5, 1),
        ("hue", -18, 18, 0),
    ):
        values = np.array([getattr(d, name) for d in drawn])
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
        assert 0.45 < (values != none).mean() < 0.55
    assert 0.45 < np.mean([d.contrast_last for d in drawn]) < 0.55
