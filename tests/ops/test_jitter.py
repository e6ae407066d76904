"""Colour jitter against Python's own conversions and per-pixel loops; blur against OpenCV."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
import torch

from uda4inst.ops.jitter import Jitter, StrongView, gaussian_blur, gray, turn_hue


def picture(height: int = 5, width: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def by_pixel(image: torch.Tensor, change: object) -> torch.Tensor:
    assert callable(change)
    pixels = [change(*pixel.tolist()) for pixel in image.reshape(3, -1).T]
    return torch.tensor(pixels).T.reshape(image.shape)


@pytest.mark.parametrize("turn", [0.0, 0.2, -0.2, 1 / 3, 0.5])
def test_turn_hue__is_that_of_hsv(turn: float) -> None:
    image = picture()
    image[:, 0] = 0.4  # grays have no hue
    image[:, 1, 0] = torch.tensor([1.0, 1.0, 0.2])  # two channels share the value

    def slow(red: float, green: float, blue: float) -> tuple[float, float, float]:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)

    torch.testing.assert_close(turn_hue(image, turn), by_pixel(image, slow))


def test_jitter__brightness_contrast_saturation_in_this_order() -> None:
    image = picture()

    def luma(red: float, green: float, blue: float) -> float:
        return 0.299 * red + 0.587 * green + 0.114 * blue

    def clip(value: float) -> float:
        return min(max(value, 0.0), 1.0)

    bright = by_pixel(image, lambda *rgb: [clip(1.3 * v) for v in rgb])
    mean = float(np.mean([luma(*p.tolist()) for p in bright.reshape(3, -1).T]))
    firm = by_pixel(bright, lambda *rgb: [clip(mean + (v - mean) * 0.8) for v in rgb])
    expected = by_pixel(firm, lambda *rgb: [clip(luma(*rgb) + (v - luma(*rgb)) * 1.2) for v in rgb])
    before = image.clone()
    torch.testing.assert_close(Jitter(1.3, 0.8, 1.2).apply(image), expected)
    assert torch.equal(image, before)


def test_jitter__draws_within_its_strength_and_changes_nothing_at_none() -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = [Jitter.draw(0.2, generator) for _ in range(300)]
    for values, low, high in (
        ([d.brightness for d in drawn], 0.8, 1.2),
        ([d.contrast for d in drawn], 0.8, 1.2),
        ([d.saturation for d in drawn], 0.8, 1.2),
        ([d.hue for d in drawn], -0.2, 0.2),
    ):
        assert low <= min(values) < low + 0.02
        assert high - 0.02 < max(values) <= high
    image = picture()
    torch.testing.assert_close(Jitter.draw(0.0, generator).apply(image), image)


@pytest.mark.parametrize(("height", "width", "kernel"), [(20, 40, (3, 1)), (64, 96, (9, 7))])
@pytest.mark.parametrize("sigma", [0.3, 1.1])
def test_gaussian_blur__is_opencvs(
    height: int, width: int, kernel: tuple[int, int], sigma: float
) -> None:
    image = picture(height, width)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    expected = cv2.GaussianBlur(
        pixels, kernel, sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT_101
    )
    blurred = gaussian_blur(image, sigma).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_strong_view__as_often_as_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    views = [
        StrongView.draw(
            strength=0.2, jitter_chance=0.8, blur_chance=0.5, gray_chance=0.2, generator=generator
        )
        for _ in range(2000)
    ]
    assert np.mean([v.jitter is not None for v in views]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([v.sigma is not None for v in views]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([v.is_gray for v in views]) == pytest.approx(0.2, abs=0.03)
    sigmas = [v.sigma for v in views if v.sigma is not None]
    assert 0.15 <= min(sigmas) < 0.2
    assert 1.1 < max(sigmas) <= 1.15


def test_strong_view__gray_has_equal_channels() -> None:
    image = picture()
    made = StrongView(is_gray=True).apply(image)
    torch.testing.assert_close(made, gray(image).expand(3, -1, -1))
    assert StrongView().apply(image) is image
