"""AP of a network on a Cityscapes-style split, one batch of images in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.detections import Detections
from uda4inst.errors import UserError
from uda4inst.evaluation.inference import LONG_SIDE_MAX, infer
from uda4inst.evaluation.resampling import resampled_path
from uda4inst.evaluation.scoring import (
    PROTOCOLS,
    ImagesDone,
    accumulators,
    judge_image,
    results_json,
    to_json,
    write_resampled_ap,
)
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, to_line, writing_text
from uda4inst.formats.run_starts import encode_runs, run_starts
from uda4inst.models.mask2former.decode import decode, upsample
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import Size

__all__ = [
    "PROTOCOLS",
    "EvaluationSet",
    "detect",
    "evaluate_model",
    "to_json",
]

# Mask pixels handled at once: on a CPU what stays in the cache, on a GPU what keeps it busy.
_CHUNK_PIXELS: Final = {"cpu": 2**20}
_CHUNK_PIXELS_ON_DEVICE: Final = 16 * 2**20


class EvaluationSet(Protocol):
    """What evaluation needs of a data set; a labelled `uda4inst.data.ImageTree` has it."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def basename(self, index: int) -> str:
        """Return the image's name."""
        ...

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """Return an image as RGB."""
        ...

    def read_instance_ids(self, index: int) -> NDArray[np.integer]:
        """Return the labels as raw Cityscapes instance ids, (H, W)."""
        ...

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        """Return trainIds, 255 ignore, (H, W); asked for by "thing_pixels" alone."""
        ...


def evaluate_model(
    model: nn.Module,
    dataset: EvaluationSet,
    *,
    device: torch.device | str,
    protocols: Sequence[str] = PROTOCOLS,
    top_k: int = 100,
    short_side: int | None = None,
    long_side_max: int = LONG_SIDE_MAX,
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    things: ThingClasses = EIGHT,
    predictions_path: Path | None = None,
    progress: ImagesDone | None = None,
) -> dict[str, Any]:
    """Return the AP of a network by every protocol.

    The network is left in the mode it came in, and no random number is drawn. Nothing is dropped
    beyond `top_k`: neither protocol has a score threshold.

    Args:
        model: a `Mask2Former`, on `device`.
        dataset: images with raw Cityscapes annotation.
        device: where the forward runs.
        protocols: which of `scoring.ALL_PROTOCOLS`.
        top_k: detections an image (100, the authors' `test_topk_per_image`).
        short_side: resize images to this shorter side first (1024 in the paper, which changes
            nothing at Cityscapes' own 1024x2048); None takes them as they are. Masks always come
            out at the image's own size.
        long_side_max: upper bound of the longer side when resizing.
        limit: only the first so many images (a quick look; say so beside the number).
        classes: the ones the network answers for; its detections of others are left out, and they
            are not judged. None for all.
        things: all classes, those of the network's head.
        predictions_path: where to write the evaluated detections (`.jsonl.gz`), whole or not at
            all, and beside them AP by resample (`resampling`); None writes nothing.
        progress: called after every image with (done, all).

    Returns:
        `AP`, `AP50` and `per_class` for every protocol, in [0, 1], null for classes without
        ground truth; by "thing_pixels" what `ThingPixels.to_json` says.

    Raises:
        UserError: a protocol is unknown, a file cannot be read, or annotation and image differ in
            size.
    """
    scores = accumulators(protocols, things)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    found = detect(
        model,
        (dataset.read_image(index) for index in range(count)),
        device=device,
        top_k=top_k,
        short_side=short_side,
        long_side_max=long_side_max,
    )
    labels = frozenset(things.index(name) for name in classes or things.names)
    names = [dataset.basename(index) for index in range(count)]
    with _predictions_file(predictions_path) as write:
        for index, every_detection in enumerate(found):
            detections = tuple(d for d in every_detection if d.label in labels)
            instance_ids = dataset.read_instance_ids(index)
            size = (int(instance_ids.shape[0]), int(instance_ids.shape[1]))
            _check_size(size, detections, names[index])
            judge_image(scores, dataset, index, detections, instance_ids=instance_ids)
            write(to_line(ImagePredictions(names[index], size, detections)))
            if progress is not None:
                progress(index + 1, count)
    if predictions_path is not None:
        write_resampled_ap(resampled_path(predictions_path), scores, names, classes=classes)
    return results_json(scores, classes=classes)


def _check_size(size: Size, detections: Sequence[ScoredMask], name: str) -> None:
    """Raise unless an annotation has the size of what was found in its image."""
    if detections and detections[0].size != size:
        raise UserError(
            f"annotation must have its image's size {detections[0].size}, got {size} ({name}). "
            "Restore both from one archive."
        )


def detect(
    model: nn.Module,
    images: Iterator[NDArray[np.uint8]],
    *,
    device: torch.device | str,
    top_k: int = 100,
    short_side: int | None = None,
    long_side_max: int = LONG_SIDE_MAX,
) -> Iterator[tuple[ScoredMask, ...]]:
    """Yield the detections of every image, best score first, masks at the image's own size.

    Args:
        model: a `Mask2Former`, on `device`; it is in its own mode again between images.
        images: RGB, uint8 (H, W, 3), of any sizes; equal neighbours share a forward.
        device: where the forward runs.
        top_k: detections an image.
        short_side: as in `evaluate_model`.
        long_side_max: as in `evaluate_model`.
    """

    def read(prediction: Prediction, size: Size) -> list[tuple[Tensor, Tensor]]:
        return [_table_and_runs(found, size) for found in decode(prediction, top_k=top_k)]

    return infer(
        model,
        images,
        read,
        _scored_masks,
        device=device,
        short_side=short_side,
        long_side_max=long_side_max,
    )


def _table_and_runs(
    detections: Detections, size: Size
) -> tuple[Float64[Tensor, "3 N"], Int64[Tensor, "M words"]]:
    """Return label, score and mask of every detection, and where runs of the masks begin.

    Both leave the device as they are: two copies, an eighth of the masks' memory.
    """
    assert detections.masks is not None  # `decode` gives both
    assert detections.mask_logits is not None
    assert detections.query is not None
    table = (detections.labels, detections.scores, detections.query)
    pixels = _CHUNK_PIXELS.get(detections.masks.device.type, _CHUNK_PIXELS_ON_DEVICE)
    count = max(1, pixels // (size[0] * size[1]))
    if detections.size == size:
        parts = iter(detections.masks.split(count))
    else:
        logits = detections.mask_logits.split(count)
        parts = (_resized_masks(part, detections.size, size) for part in logits)
    runs = torch.cat([run_starts(masks) for masks in parts])
    return torch.stack([column.double() for column in table]), runs


def _resized_masks(
    logits: Float32[Tensor, "M h w"], input_size: Size, size: Size
) -> Bool[Tensor, "M H W"]:
    """Return masks at the image's own size, from logits of the network's input."""
    full = upsample(logits, input_size)
    return F.interpolate(full[None], size=size, mode="bilinear", align_corners=False)[0] > 0


def _scored_masks(tensors: tuple[Tensor, ...], size: Size) -> tuple[ScoredMask, ...]:
    """Return the detections of one image with run-length codes, in the host's memory."""
    table, runs = tensors
    labels, scores, query = table.tolist()
    detected = int(max(query, default=-1)) + 1  # the masks behind are of nobody
    codes = encode_runs(runs[:detected].numpy(), size)
    return tuple(
        ScoredMask(int(label), score, codes[int(mask)])
        for label, score, mask in zip(labels, scores, query, strict=True)
    )


def _predictions_file(path: Path | None) -> AbstractContextManager[Callable[[str], object]]:
    """Open the predictions file, or take lines and keep none."""
    if path is None:
        return nullcontext(lambda _: None)
    return writing_text(path, compressed=True)
