"""Semantic segmentation: IoU and accuracy from one confusion matrix, as Cityscapes has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.inference import infer
from uda4inst.evaluation.pixel_pairs import count_pairs
from uda4inst.evaluation.resampling import resampled_iou, resampled_path, write_resampled
from uda4inst.evaluation.thing_pixels import things_of
from uda4inst.formats.label_maps import writing_label_maps
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import Size

CLASS_NAMES: Final[tuple[str, ...]] = tuple(c.name for c in SEMANTIC_CLASSES)
_CLASSES: Final = len(SEMANTIC_CLASSES)
# SYNTHIA shows neither terrain nor truck nor train; the older count also leaves out wall, fence and
# pole. The names are those of the means in an evaluation.
_NOT_IN_SYNTHIA: Final = ("terrain", "truck", "train")
_NOT_IN_THIRTEEN: Final = (*_NOT_IN_SYNTHIA, "wall", "fence", "pole")
CLASS_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "mIoU16": tuple(name for name in CLASS_NAMES if name not in _NOT_IN_SYNTHIA),
    "mIoU13": tuple(name for name in CLASS_NAMES if name not in _NOT_IN_THIRTEEN),
    "mIoU_things": THING_NAMES,
}


class SemanticScores:
    """IoU over a growing set of images, pixels pooled over all of them as in Cityscapes.

    Attributes:
        counts: pixels by (true class, predicted class), trainIds 0..18; the last column counts
            pixels predicted as no class.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((_CLASSES, _CLASSES + 1), dtype=np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Take in one image, and return its own `counts`.

        Args:
            truth: trainIds, 255 ignore (left out of everything), (H, W).
            predicted: trainIds, 255 for no class (wrong wherever there is a true class).

        Raises:
            ValueError: sizes differ, or a value is neither a trainId nor 255.
        """
        if truth.shape != predicted.shape:
            raise ValueError(
                f"predicted must have the truth's size {truth.shape}, got {predicted.shape}."
            )
        pairs = count_pairs(truth, predicted)
        for name, axis in (("truth", 1), ("predicted", 0)):
            foreign = pairs.sum(axis=axis)[_CLASSES:IGNORE_TRAIN_ID]
            if bad := (np.flatnonzero(foreign) + _CLASSES).tolist():
                raise ValueError(f"{name} must hold trainIds 0..{_CLASSES - 1} or 255, got {bad}.")
        counts = pairs[:_CLASSES][:, [*range(_CLASSES), IGNORE_TRAIN_ID]]
        self.counts += counts
        return counts

    def merge(self, other: SemanticScores) -> None:
        """Take in everything another accumulator saw."""
        self.counts += other.counts

    def iou(self) -> dict[str, float | None]:
        """Return IoU per class in [0, 1]; None for classes neither there nor predicted."""
        right = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, :_CLASSES].sum(axis=0) - right
        return {
            name: float(right[i] / union[i]) if union[i] else None
            for i, name in enumerate(CLASS_NAMES)
        }

    def miou(self, names: Sequence[str] = CLASS_NAMES) -> float | None:
        """Return the mean IoU over some classes, all 19 by default.

        Classes neither there nor predicted are left out; None where none is left.

        Raises:
            ValueError: a name is not one of the 19.
        """
        if unknown := [name for name in names if name not in CLASS_NAMES]:
            raise ValueError(f"names must be among {', '.join(CLASS_NAMES)}, got {unknown}.")
        iou = self.iou()
        found = [value for name in names if (value := iou[name]) is not None]
        return float(np.mean(found)) if found else None

    def accuracies(self) -> dict[str, float | None]:
        """Return the share of each class's pixels that is right, in [0, 1]; None without any."""
        right, there = np.diagonal(self.counts), self.counts.sum(axis=1)
        return {
            name: float(right[i] / there[i]) if there[i] else None
            for i, name in enumerate(CLASS_NAMES)
        }

    def accuracy(self) -> float | None:
        """Return the share of all pixels that is right, in [0, 1]; None without any."""
        total = int(self.counts.sum())
        return float(np.diagonal(self.counts).sum() / total) if total else None

    def to_json(self) -> dict[str, Any]:
        """Return all scores as JSON holds them; null for classes neither there nor predicted.

        Beside mIoU over all classes there are the means of `CLASS_SETS`, and accuracy with all
        classes but the things merged (`thing_pixels`). `from_json` reads the counts back.
        """
        iou, accuracies = self.iou(), self.accuracies()
        return {
            "mIoU": self.miou(),
            "accuracy": self.accuracy(),
            **{name: self.miou(classes) for name, classes in CLASS_SETS.items()},
            "accuracy_things": things_of(self.counts).to_json()["accuracy"],
            "per_class": {
                name: None
                if iou[name] is None
                else {"IoU": iou[name], "accuracy": accuracies[name]}
                for name in CLASS_NAMES
            },
            "confusion": self.counts[:, :_CLASSES].tolist(),
            "no_class": self.counts[:, _CLASSES].tolist(),
        }

    @classmethod
    def from_json(cls, result: Mapping[str, object], *, where: object) -> SemanticScores | None:
        """Return the scores of which `to_json` was written; None where counts were not yet kept.

        Args:
            result: what an evaluation holds of the protocol.
            where: the file, for the message.

        Raises:
            UserError: the counts are no such matrix.
        """
        if "confusion" not in result:
            return None
        scores = cls()
        try:
            columns = np.array(result.get("no_class"))[:, None]
            counts = np.concatenate([np.array(result["confusion"]), columns], axis=1)
            fits = counts.shape == scores.counts.shape and counts.dtype == np.int64
        except (ValueError, IndexError):
            fits, counts = False, scores.counts
        if not fits or counts.min() < 0:
            raise UserError(
                f"confusion must be {_CLASSES} lists of {_CLASSES} pixel counts, and no_class one "
                f"such list, got something else ({where}). Evaluate the run again."
            )
        scores.counts = counts
        return scores


class SemanticSet(Protocol):
    """What evaluation needs of a data set; a labelled `uda4inst.data.tree.ImageTree` has it."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def basename(self, index: int) -> str:
        """Return the image's name."""
        ...

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """Return an image as RGB."""
        ...

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        """Return trainIds, 255 ignore, (H, W)."""
        ...


def evaluate_semantic(
    model: nn.Module,
    dataset: SemanticSet,
    *,
    device: torch.device | str,
    short_side: int | None = None,
    limit: int | None = None,
    predictions_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return mIoU, pixel accuracy, and both by class, in [0, 1].

    The network is left in the mode it came in, and no random number is drawn.

    Args:
        model: a network for semantic maps, on `device`.
        dataset: images with trainIds.
        device: where the forward runs.
        short_side: resize images to this shorter side first; None takes them as they are. Classes
            always come out at the image's own size.
        limit: only the first so many images (a quick look; say so beside the number).
        predictions_path: where to write the judged maps, whole or not at all, and beside them the
            scores by resample; None for nowhere.
        progress: called after every image with (done, all).

    Raises:
        UserError: a file cannot be read, or annotation and image differ in size.
    """
    scores = SemanticScores()
    count = len(dataset) if limit is None else min(limit, len(dataset))
    images = (dataset.read_image(index) for index in range(count))
    found = segment(model, images, device=device, short_side=short_side)
    names, pixels = [dataset.basename(index) for index in range(count)], []
    with _label_maps_file(predictions_path) as write:
        for index, predicted in enumerate(found):
            truth = dataset.read_semantic(index)
            if truth.shape != predicted.shape:
                raise UserError(
                    f"annotation must have its image's size {predicted.shape}, got {truth.shape} "
                    f"({names[index]}). Restore both from one archive."
                )
            pixels.append(scores.add(truth, predicted))
            write(names[index], predicted)
            if progress is not None:
                progress(index + 1, count)
    if predictions_path is not None:
        by_resample = resampled_iou(np.stack(pixels), names)
        write_resampled(resampled_path(predictions_path), by_resample)
    return scores.to_json()


def segment(
    model: nn.Module,
    images: Iterator[NDArray[np.uint8]],
    *,
    device: torch.device | str,
    short_side: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the trainId of every pixel of every image, at the image's own size.

    Args:
        model: a network for semantic maps, on `device`; it is in its own mode again between images.
        images: RGB, uint8 (H, W, 3), of any sizes; equal neighbours share a forward.
        device: where the forward runs.
        short_side: as in `evaluate_semantic`.
    """
    return infer(model, images, _train_ids, _on_host, device=device, short_side=short_side)


def _train_ids(prediction: SemanticPrediction, size: Size) -> list[tuple[UInt8[Tensor, "H W"]]]:
    """Return the likeliest class of every pixel, image after image to spare memory."""
    maps: list[tuple[Tensor]] = []
    for index in range(len(prediction)):
        logits = prediction.select(slice(index, index + 1)).at_pixels()
        if prediction.size != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        maps.append((logits[0].argmax(dim=0).to(torch.uint8),))
    return maps


def _on_host(tensors: tuple[Tensor, ...], size: Size) -> NDArray[np.uint8]:
    """Return an image's classes."""
    del size
    return tensors[0].numpy()


def _label_maps_file(
    path: Path | None,
) -> AbstractContextManager[Callable[[str, NDArray[np.uint8]], None]]:
    """Open the predictions file, or take maps and keep none."""
    return nullcontext(lambda _name, _ids: None) if path is None else writing_label_maps(path)
