"""Running a network on pictures: in batches of a fixed bound, resized as asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from uda4inst.structures import Size

LONG_SIDE_MAX: Final = 2048
# Images share a forward as long as they hold no more pixels than this: 16 of 128x256, one of
# 1024x2048. Fixed, so that equal weights give equal numbers.
_BATCH_PIXELS: Final = 16 * 128 * 256
_Result = TypeVar("_Result")


def infer(
    model: nn.Module,
    images: Iterator[NDArray[np.uint8]],
    read: Callable[[Any, Size], Sequence[_Result]],
    *,
    device: torch.device | str,
    short_side: int | None = None,
    long_side_max: int = LONG_SIDE_MAX,
) -> Iterator[_Result]:
    """Yield what is read from a network's prediction of every image.

    Args:
        model: a network, on `device`; it is in its own mode again between images.
        images: RGB, uint8 (H, W, 3), of any sizes; equal neighbours share a forward.
        read: makes one result an image from a batch's prediction and the images' own size; runs
            without gradients.
        device: where the forward runs.
        short_side: resize images to this shorter side first; None takes them as they are.
        long_side_max: upper bound of the longer side when resizing.
    """
    for batch in _batches(images):
        size: Size = (batch[0].shape[0], batch[0].shape[1])
        resized = [_resize(i, resized_size(size, short_side, long_side_max)) for i in batch]
        pixels = torch.from_numpy(np.stack(resized)).to(device).permute(0, 3, 1, 2)
        with _evaluating(model):
            results = read(model(pixels.float().div_(255)), size)
        yield from results


def resized_size(size: Size, short_side: int | None, long_side_max: int) -> Size:
    """Return the size whose shorter side is `short_side`, within `long_side_max`.

    Example:
        >>> resized_size((1000, 3000), 800, 2048)
        (683, 2048)
    """
    if short_side is None:
        return size
    scale = min(short_side / min(size), long_side_max / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _resize(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize as detectron2's ResizeShortestEdge does: Pillow, bilinear."""
    if image.shape[:2] == size:
        return image
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _batches(images: Iterator[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    """Group neighbours of one size, within the pixel bound."""
    batch: list[NDArray[np.uint8]] = []
    for image in images:
        pixels = image.shape[0] * image.shape[1]
        if batch and (image.shape != batch[0].shape or (len(batch) + 1) * pixels > _BATCH_PIXELS):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation without gradients, and back."""
    training = model.training
    model.eval()
    try:
        # Not inference mode: a network may keep tensors made here, and training needs them plain.
        with torch.no_grad():
            yield
    finally:
        model.train(training)
