from __future__ import annotations

import re

import numpy as np

from uda4inst.toystreets import ToyDomain, render_scene
from workbench.pages.data.colors import color_view


def scene(domain: ToyDomain, size: tuple[int, int] = (64, 128)) -> np.ndarray:
    return render_scene(seed=0, domain=domain, split="train", index=1, size=size).image


def means(table: str) -> list[float]:
    return [float(text) for text in re.findall(r"<td>(-?\d+\.\d) ", table)]


def test_color_view__aligned_source_has_the_targets_statistics() -> None:
    view = color_view(scene("render"), scene("camera"))
    numbers = np.array(means(view.table)).reshape(3, 3)  # channel, (source, aligned, target)
    before = np.abs(numbers[:, 0] - numbers[:, 2])
    after = np.abs(numbers[:, 1] - numbers[:, 2])
    assert (after <= 1.0).all()  # clipping to RGB moves them a little
    assert before.max() > 3
    assert view.charts.count("<svg") == 3


def test_color_view__sizes_may_differ_and_inputs_stay() -> None:
    source, target = scene("render"), scene("camera", (48, 64))
    before = source.copy()
    view = color_view(source, target)
    assert view.plain.shape == view.aligned.shape == (384, 768, 3)
    np.testing.assert_array_equal(source, before)


def test_color_view__one_flat_colour_is_no_error() -> None:
    flat = np.full((32, 64, 3), 128, dtype=np.uint8)
    view = color_view(flat, flat)
    np.testing.assert_allclose(view.aligned, view.plain, atol=1)
