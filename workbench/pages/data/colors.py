"""What LAB alignment does to a pair of images: the picture, the numbers, the distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.draw import display_size, resize
from uda4inst.ops.color import align_to_statistics, lab_statistics, rgb_to_lab
from workbench.ui import markup, plots
from workbench.ui.palette import LINE_COLORS

Image = NDArray[np.uint8]

CHANNELS: Final = ("L, lightness", "a, green to red", "b, blue to yellow")
NAMES: Final = ("source", "aligned source", "target")
_COLORS: Final = dict(zip(NAMES, LINE_COLORS, strict=False))
_BINS: Final = 48
# Larger images are thinned out to this, so that moving to the next takes no second.
_MAX_PIXELS: Final = 1 << 19


@dataclass(frozen=True, slots=True, eq=False)
class ColorView:
    """The colours of a pair of images.

    Args:
        plain: the source image.
        aligned: the source image with the target's colours.
        table: mean and spread per channel.
        charts: the values' distribution per channel.
    """

    plain: Image
    aligned: Image
    table: str
    charts: str


def color_view(source: Image, target: Image) -> ColorView:
    """Return what alignment does to a source image, as training does it to crops.

    Args:
        source: RGB.
        target: RGB; its size may differ.
    """
    thinned = _thinned(source)
    pixels, reference = _as_float(thinned), _as_float(_thinned(target))
    aligned = align_to_statistics(pixels, lab_statistics(reference))
    channels = [rgb_to_lab(x).flatten(1).numpy() for x in (pixels, aligned, reference)]
    return ColorView(
        plain=_shown(thinned),
        aligned=_shown(aligned.mul(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()),
        table=_table(channels),
        charts=_charts(channels),
    )


def _thinned(image: Image) -> Image:
    """Return every second or third pixel of a large image: the same colours, in half the time."""
    step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _MAX_PIXELS))
    return image[::step, ::step]


def _as_float(image: Image) -> Tensor:
    """Return an image as floats in [0, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)


def _shown(image: Image) -> Image:
    return resize(np.ascontiguousarray(image), display_size((image.shape[0], image.shape[1])))


def _table(channels: list[NDArray[np.float32]]) -> str:
    rows = [
        [name, *(f"{x[k].mean():.1f} <small>± {x[k].std():.1f}</small>" for x in channels)]
        for k, name in enumerate(CHANNELS)
    ]
    return markup.table(["mean ± spread", *NAMES], rows, kind="wb-counts")


def _charts(channels: list[NDArray[np.float32]]) -> str:
    drawn = "".join(plots.draw(_histogram(k, channels)) for k in range(len(CHANNELS)))
    return f'<div class="wb-charts">{drawn}</div>'


def _histogram(k: int, channels: list[NDArray[np.float32]]) -> plots.Chart:
    values = [image[k] for image in channels]
    if k == 0:
        low, high = 0.0, 100.0
    else:
        # Hardly any pixel is vivid; the axis ends where they begin.
        few = np.concatenate([v[:: max(v.size // 20_000, 1)] for v in values])
        low, high = (float(edge) for edge in np.quantile(few, (0.002, 0.998)))
    edges = np.linspace(low, max(high, low + 1), _BINS + 1)
    lines = [
        plots.Line(
            name,
            _COLORS[name],
            np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / v.size * 100,
        )
        for name, v in zip(NAMES, values, strict=True)
    ]
    return plots.Chart(
        title=CHANNELS[k],
        x=(edges[1:] + edges[:-1]) / 2,
        lines=lines,
        x_name=f"{CHANNELS[k][0]}; height: % of pixels",
        height=160,
        log=False,
    )
