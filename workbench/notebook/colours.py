"""Colours of a source image before and after they are aligned with a target image's."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from uda4inst.data.stream.dataset import Trees
from uda4inst.draw import display_size, resize
from uda4inst.ops.color import align_lab, lab_statistics
from uda4inst.structures import Size
from workbench.notebook.shown import Captioned, Image
from workbench.notebook.stepper import Stepper

SHOWN: Final = ("source", "aligned source", "target")


def colour_alignment(data: Trees, *, pairs: int = 8) -> Stepper:
    """Step through pairs of a source and a target image, the source before and after alignment.

    Args:
        data: source and target; the target's labels are not read.
        pairs: how many, from the first images of each.
    """
    source, target = data.source, data.target
    assert source is not None
    assert target is not None
    count = min(pairs, len(source), len(target))

    def draw(pair: int, show: str) -> Captioned:
        two = source.read_image(pair - 1), target.read_image(pair - 1)
        aligned = aligned_colours(*two)
        chosen = (two[0], aligned, two[1])[SHOWN.index(show)]
        size: Size = display_size((chosen.shape[0], chosen.shape[1]))
        return Captioned(resize(chosen, size), f"pair {pair}, {show}: {_statistics(chosen)}")

    return Stepper(draw, {"pair": range(1, count + 1), "show": SHOWN})


def aligned_colours(source: Image, target: Image) -> Image:
    """Return a source image in the target image's colours, as training makes it."""
    found = align_lab(_tensor(source), _tensor(target))
    pixels = (found * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _statistics(image: Image) -> str:
    found = lab_statistics(_tensor(image))
    means, spreads = found.mean.flatten().tolist(), found.std.flatten().tolist()
    named = zip("Lab", means, spreads, strict=True)
    return ", ".join(f"{name} {mean:z.0f} ± {spread:.0f}" for name, mean, spread in named)


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255
