"""Running a network on pictures: in batches of a fixed bound, resized as asked for.

A GPU is never waited for while there is something else to do: the next picture is read and sent
while it works on one, and what comes of a picture is made into a result while it works on the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from uda4inst.ops.unit_floats import unit_floats
from uda4inst.structures import Size, moved

LONG_SIDE_MAX: Final = 2048
# Images share a forward as long as they hold no more pixels than this: 16 of 128x256, one of
# 1024x2048. Fixed, so that equal weights give equal numbers.
_BATCH_PIXELS: Final = 16 * 128 * 256
_Result = TypeVar("_Result")
_Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found in a batch: in the host's memory, or on its way there.

    Args:
        images: the tensors of every image.
        size: (height, width) of the images themselves.
        arrived: says when the tensors may be read; None: at once.
    """

    images: list[tuple[Tensor, ...]]
    size: Size
    arrived: torch.cuda.Event | None

    def results(self, finish: Callable[[tuple[Tensor, ...], Size], _Result]) -> Iterator[_Result]:
        """Yield a result an image."""
        if self.arrived is not None:
            self.arrived.synchronize()
        for tensors in self.images:
            yield finish(tensors, self.size)


def infer(
    model: nn.Module,
    images: Iterator[_Image],
    read: Callable[[Any, Size], Sequence[tuple[Tensor, ...]]],
    finish: Callable[[tuple[Tensor, ...], Size], _Result],
    *,
    device: torch.device | str,
    short_side: int | None = None,
    long_side_max: int = LONG_SIDE_MAX,
) -> Iterator[_Result]:
    """Yield what is made of a network's prediction of every image.

    On a GPU results come one batch late, and images are read in a thread of their own.

    Args:
        model: a network, on `device`; it is in its own mode again between images.
        images: RGB, uint8 (H, W, 3), of any sizes; equal neighbours share a forward.
        read: makes tensors of every image from a batch's prediction and the images' own size; runs
            without gradients, and should not wait for the device.
        finish: makes an image's result of its tensors, in the host's memory.
        device: where the forward runs.
        short_side: resize images to this shorter side first; None takes them as they are.
        long_side_max: upper bound of the longer side when resizing.
    """
    device = torch.device(device)
    late = device.type == "cuda"
    waiting: _Found | None = None
    for batch in _batches(_read_ahead(images) if late else images):
        size: Size = (batch[0].shape[0], batch[0].shape[1])
        resized = [_resize(i, resized_size(size, short_side, long_side_max)) for i in batch]
        pixels = _sent(torch.from_numpy(np.stack(resized)), device).permute(0, 3, 1, 2)
        with _evaluating(model):
            found = _fetched(read(model(unit_floats(pixels)), size), size)
        if waiting is not None:
            yield from waiting.results(finish)
            waiting = None
        if late:
            waiting = found
        else:
            yield from found.results(finish)
    if waiting is not None:
        yield from waiting.results(finish)


def _read_ahead(images: Iterator[_Image]) -> Iterator[_Image]:
    """Yield images while a thread reads the next one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, images, None)
        while (image := coming.result()) is not None:
            coming = thread.submit(next, images, None)
            yield image


def _sent(pixels: Tensor, device: torch.device) -> Tensor:
    """Return pixels on the device; the host does not wait until they are there."""
    return moved(pixels.pin_memory() if device.type == "cuda" else pixels, device)


def _fetched(images: Sequence[tuple[Tensor, ...]], size: Size) -> _Found:
    """Start copying what was found to the host."""
    if not any(tensor.is_cuda for tensors in images for tensor in tensors):
        return _Found([tuple(t.cpu() for t in tensors) for tensors in images], size, None)
    here = [tuple(_on_its_way(tensor) for tensor in tensors) for tensors in images]
    arrived = torch.cuda.Event()
    arrived.record()
    return _Found(here, size, arrived)


def _on_its_way(tensor: Tensor) -> Tensor:
    """Return a tensor of the host into which the values are being copied."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


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


def _resize(image: _Image, size: Size) -> _Image:
    """Resize as detectron2's ResizeShortestEdge does: Pillow, bilinear."""
    if image.shape[:2] == size:
        return image
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _batches(images: Iterator[_Image]) -> Iterator[list[_Image]]:
    """Group neighbours of one size, within the pixel bound."""
    batch: list[_Image] = []
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
