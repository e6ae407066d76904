"""LAB against scikit-image, and alignment of colours against the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from uda4inst.ops import color
from uda4inst.ops.color import align_lab, lab_to_rgb, rgb_to_lab


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def channels_last(image: Tensor) -> np.ndarray:
    return image.movedim(-3, -1).double().numpy()


def every_gray_and_primary() -> Tensor:
    """Ramps of gray, red, green and blue through all 256 levels."""
    ramp = torch.arange(256) / 255
    off = torch.zeros(256)
    rows = [
        torch.stack(rgb)
        for rgb in ((ramp, ramp, ramp), (ramp, off, off), (off, ramp, off), (off, off, ramp))
    ]
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("image", [picture(3, 33, 47), every_gray_and_primary()])
def test_rgb_to_lab__equals_skimage(image: Tensor) -> None:
    expected = rgb2lab(channels_last(image))
    np.testing.assert_allclose(channels_last(rgb_to_lab(image)), expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_lab_to_rgb__equals_skimage() -> None:
    scale = torch.tensor([90.0, 60.0, 60.0])[:, None, None]
    lab = (picture(3, 20, 30) - torch.tensor([0.0, 0.5, 0.5])[:, None, None]) * scale
    expected = lab2rgb(channels_last(lab))
    np.testing.assert_allclose(channels_last(lab_to_rgb(lab)), expected, atol=1e-4)


def test_lab_to_rgb__undoes_rgb_to_lab() -> None:
    image = picture(2, 3, 16, 16)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(image)), image, atol=2e-5, rtol=0)


def test_rgb_to_lab__blocks_and_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    images = picture(2, 2, 3, 9, 11)
    whole = rgb_to_lab(images)
    monkeypatch.setattr(color, "_BLOCK", 7)
    torch.testing.assert_close(rgb_to_lab(images), whole)
    torch.testing.assert_close(rgb_to_lab(images[1, 0]), whole[1, 0])


def slow_align(source: Tensor, target: Tensor) -> np.ndarray:
    """The formula, by scikit-image in float64."""
    source_lab, target_lab = rgb2lab(channels_last(source)), rgb2lab(channels_last(target))
    axes = (0, 1)
    moved = (source_lab - source_lab.mean(axes)) / source_lab.std(axes)
    return lab2rgb(moved * target_lab.std(axes) + target_lab.mean(axes))


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_align_lab__equals_the_formula() -> None:
    source, target = picture(3, 24, 40), picture(3, 24, 40, seed=1) * 0.5 + 0.2
    np.testing.assert_allclose(
        channels_last(align_lab(source, target)), slow_align(source, target), atol=1e-3
    )


def test_align_lab__gives_the_targets_statistics() -> None:
    # Low contrast, so that nothing is clipped.
    source, target = picture(3, 64, 64) * 0.2 + 0.4, picture(3, 32, 48, seed=1) * 0.2 + 0.3
    seen = rgb_to_lab(align_lab(source, target))
    wanted = rgb_to_lab(target)
    torch.testing.assert_close(seen.mean((1, 2)), wanted.mean((1, 2)), atol=0.05, rtol=0)
    torch.testing.assert_close(seen.std((1, 2)), wanted.std((1, 2)), atol=0.05, rtol=0)


def test_align_lab__to_itself_is_nothing() -> None:
    image = picture(3, 32, 32)
    torch.testing.assert_close(align_lab(image, image), image, atol=1e-4, rtol=0)


def test_align_lab__pairs_of_a_batch_are_apart() -> None:
    source, target = picture(2, 3, 16, 16), picture(2, 3, 16, 16, seed=1)
    both = align_lab(source, target)
    torch.testing.assert_close(both[1], align_lab(source[1], target[1]))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_align_lab__flat_source_takes_the_targets_mean(level: float) -> None:
    source, target = torch.full((3, 8, 8), level), picture(3, 8, 8) * 0.2 + 0.4
    seen = align_lab(source, target)
    expected = rgb_to_lab(target).mean((1, 2))
    torch.testing.assert_close(rgb_to_lab(seen)[:, 3, 3], expected, atol=0.01, rtol=0)
    assert float(seen.std((1, 2)).max()) < 1e-5


def test_align_lab__flat_target_makes_a_flat_image() -> None:
    seen = align_lab(picture(3, 8, 8), torch.full((3, 8, 8), 0.25))
    torch.testing.assert_close(seen, torch.full((3, 8, 8), 0.25), atol=1e-4, rtol=0)


def test_align_lab__stays_in_range_and_leaves_its_inputs() -> None:
    source, target = picture(3, 16, 16), (picture(3, 16, 16, seed=1) > 0.5).float()
    kept = source.clone(), target.clone()
    seen = align_lab(source, target)
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1
    assert torch.equal(source, kept[0])
    assert torch.equal(target, kept[1])
