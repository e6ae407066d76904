"""Semantic segmentation: its networks, pixel-wise cross-entropy, mIoU as Cityscapes has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from uda4inst.atomic import whole_file
from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.draw import overlay_semantic
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import CLASS_SETS, evaluate_semantic, segment
from uda4inst.formats.label_maps import LABEL_IDS_SUFFIX, write_label_ids
from uda4inst.models.mask2former.kernels import DeformableKernel
from uda4inst.models.network import LoadReport, Network
from uda4inst.models.semantic.build import SEMANTIC_PRESETS, build_semantic
from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import Labels, Sample, SemanticMap
from uda4inst.tasks.base import (
    ImagesDone,
    LabelledSet,
    Loss,
    LossPart,
    Measures,
    PredictionsKind,
    StudentView,
    Task,
    TrainedNetwork,
)

PROTOCOL: Final = "pixels"


class SemanticLoss(Loss):
    """Cross-entropy of every view's pixels, by every head. See `uda4inst.tasks.base.Loss`."""

    def parts(
        self, predictions: Sequence[SemanticPrediction], views: Sequence[StudentView]
    ) -> list[tuple[LossPart, ...]]:
        """Return a term of every view for the network, and one for each of its auxiliary heads.

        They are "pixels", and "aux" for a single auxiliary head, "aux1", "aux2" for two.
        """
        return [
            tuple(_parts(prediction, _maps(view)))
            for prediction, view in zip(predictions, views, strict=True)
        ]


def _parts(prediction: SemanticPrediction, maps: Sequence[SemanticMap]) -> Iterator[LossPart]:
    """Yield the terms of one view."""
    yield LossPart("pixels", pixel_cross_entropy(prediction, maps), 1.0)
    for number, head in enumerate(prediction.aux, start=1):
        name = "aux" if len(prediction.aux) == 1 else f"aux{number}"
        yield LossPart(name, pixel_cross_entropy(head.prediction, maps), head.weight)


def _maps(view: StudentView) -> list[SemanticMap]:
    """Return the view's semantic maps."""
    maps = [target for target in view.targets if isinstance(target, SemanticMap)]
    assert len(maps) == len(view.targets), "views of this task carry semantic maps"
    return maps


@dataclass(frozen=True, slots=True)
class Semantic:
    """The task itself. See `uda4inst.tasks.base.Task`."""

    name: str = "semantic"
    labels: Labels = "semantic"
    class_names: tuple[str, ...] = tuple(c.name for c in SEMANTIC_CLASSES)
    presets: tuple[str, ...] = tuple(SEMANTIC_PRESETS)
    protocols: tuple[str, ...] = (PROTOCOL,)
    measures: tuple[str, str] = ("mIoU", "accuracy")
    class_measures: tuple[str, str] = ("IoU", "accuracy")
    further_protocols: Mapping[str, tuple[Measures, Measures]] = field(
        default_factory=dict[str, tuple[Measures, Measures]]
    )
    class_sets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: CLASS_SETS)
    predictions_kind: PredictionsKind | None = "label maps"
    has_groups: bool = False

    def build_network(
        self,
        preset: str,
        *,
        weights: str | Path | None,
        gradient_checkpointing: bool = False,
        deformable_kernel: DeformableKernel = "torch",
    ) -> tuple[Network, LoadReport]:
        """Return a network, which has no deformable attention, and what was loaded into it."""
        del deformable_kernel
        return build_semantic(
            preset, weights=weights, gradient_checkpointing=gradient_checkpointing
        )

    def build_loss(self, *, num_points: int) -> SemanticLoss:
        """Return the cross-entropy; there are no points to choose."""
        del num_points
        return SemanticLoss()

    def target_of(self, sample: Sample) -> SemanticMap:
        """Return the sample's semantic map."""
        return sample.known_semantic()

    def evaluate(
        self,
        network: Network,
        dataset: LabelledSet,
        *,
        device: torch.device | str,
        protocols: Sequence[str],
        short_side: int | None = None,
        limit: int | None = None,
        classes: Sequence[str] | None = None,
        predictions_path: Path | None = None,
        progress: ImagesDone | None = None,
    ) -> dict[str, Any]:
        """Return mIoU and pixel accuracy; maps go into a predictions file.

        Raises:
            UserError: a protocol is unknown, a file cannot be read, sizes differ.
            ValueError: the network answers for some classes only, which no network here does.
        """
        if unknown := sorted(set(protocols) - {PROTOCOL}):
            raise UserError(f"protocols must be {PROTOCOL!r}, got {', '.join(unknown)}.")
        if classes is not None and set(classes) != set(self.class_names):
            raise ValueError(f"classes must be all of the task's, got {classes}.")
        scores = evaluate_semantic(
            network,
            dataset,
            device=device,
            short_side=short_side,
            limit=limit,
            predictions_path=predictions_path,
            progress=progress,
        )
        return {PROTOCOL: scores}

    def found(self, prediction: SemanticPrediction) -> list[UInt8[Tensor, "H W"]]:
        """Return the trainId of every pixel of every image."""
        return prediction.classes()

    def predictions_name(self, network: str) -> str:
        """Return the name of the predictions file."""
        return f"{network}.zip"

    def write_pictures(
        self,
        networks: Sequence[TrainedNetwork],
        images: Callable[[], Iterator[NDArray[np.uint8]]],
        *,
        names: Sequence[str],
        out: Path,
        score_threshold: float,
    ) -> None:
        """Write NAME.png, classes over the picture, and NAME_labelIds.png for Cityscapes' server.

        There are no scores to draw above.
        """
        del score_threshold
        (trained,) = networks
        found = segment(
            trained.network, images(), device=trained.device, short_side=trained.short_side
        )
        for name, image, train_ids in zip(names, images(), found, strict=True):
            with whole_file(out / f"{name}.png") as temporary:
                Image.fromarray(overlay_semantic(image, train_ids)).save(temporary)
            write_label_ids(out / f"{name}{LABEL_IDS_SUFFIX}", train_ids)


SEMANTIC: Final[Task] = Semantic()
