"""Instance segmentation: Mask2Former, its set loss, AP by two protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from uda4inst.atomic import whole_file
from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.detections import Detections
from uda4inst.draw import DrawnDetection, draw_detections
from uda4inst.evaluation.evaluate import detect, evaluate_model
from uda4inst.evaluation.scoring import PROTOCOLS
from uda4inst.evaluation.thing_pixels import CLASS_MEASURES as PIXEL_CLASS_MEASURES
from uda4inst.evaluation.thing_pixels import MEASURES as PIXEL_MEASURES
from uda4inst.evaluation.thing_pixels import PROTOCOL as THING_PIXELS
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    merge_detections,
    to_line,
    writing_text,
)
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.decode import decode
from uda4inst.models.mask2former.kernels import DeformableKernel
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.models.network import LoadReport, Network
from uda4inst.structures import InstanceMap, Labels, Sample
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


class InstanceLoss(Loss):
    """Class, mask and dice terms of every view. See `uda4inst.tasks.base.Loss`.

    Args:
        criterion: matches all views with one host synchronisation.
    """

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    def parts(
        self, predictions: Sequence[Prediction], views: Sequence[StudentView]
    ) -> list[tuple[LossPart, ...]]:
        """Return the three terms of every view."""
        pairs = [(p, _maps(view)) for p, view in zip(predictions, views, strict=True)]
        weights = self.criterion
        found = self.criterion.many(
            pairs,
            slot_weights=[view.slot_weights for view in views],
            mask_scales=[view.mask_scales for view in views],
            candidates=[view.candidates for view in views],
        )
        return [
            (
                LossPart("class", losses.class_loss, weights.class_weight),
                LossPart("mask", losses.mask_loss, weights.mask_weight),
                LossPart("dice", losses.dice_loss, weights.dice_weight),
            )
            for losses in found
        ]


def _maps(view: StudentView) -> list[InstanceMap]:
    """Return the view's instances."""
    maps = [target for target in view.targets if isinstance(target, InstanceMap)]
    assert len(maps) == len(view.targets), "views of this task carry instances"
    return maps


@dataclass(frozen=True, slots=True)
class Instances:
    """The task itself. See `uda4inst.tasks.base.Task`.

    Args:
        things: the classes that can be predicted.
    """

    things: ThingClasses = EIGHT
    name: str = "instances"
    labels: Labels = "instances"
    presets: tuple[str, ...] = tuple(MODEL_PRESETS)
    protocols: tuple[str, ...] = PROTOCOLS
    measures: tuple[str, str] = ("AP", "AP50")
    class_measures: tuple[str, str] = ("AP", "AP50")
    further_protocols: Mapping[str, tuple[Measures, Measures]] = field(
        default_factory=lambda: {THING_PIXELS: (PIXEL_MEASURES, PIXEL_CLASS_MEASURES)}
    )
    class_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    predictions_kind: PredictionsKind | None = "detections"
    has_groups: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """What can be predicted, by thing index."""
        return self.things.names

    def build_network(
        self,
        preset: str,
        *,
        weights: str | Path | None,
        gradient_checkpointing: bool = False,
        deformable_kernel: DeformableKernel = "torch",
    ) -> tuple[Network, LoadReport]:
        """Return a Mask2Former and what was loaded into it."""
        from uda4inst.models.mask2former.network import build_model

        return build_model(
            preset,
            weights=weights,
            things=self.things,
            gradient_checkpointing=gradient_checkpointing,
            deformable_kernel=deformable_kernel,
        )

    def build_loss(self, *, num_points: int) -> InstanceLoss:
        """Return Mask2Former's loss on so many points a mask."""
        return InstanceLoss(Criterion(num_classes=len(self.things), num_points=num_points))

    def target_of(self, sample: Sample) -> InstanceMap:
        """Return the sample's instances."""
        return sample.known_instances()

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
        """Return the measures of every protocol; detections go into a predictions file."""
        return evaluate_model(
            network,
            dataset,
            device=device,
            protocols=protocols,
            short_side=short_side,
            limit=limit,
            classes=classes,
            things=self.things,
            predictions_path=predictions_path,
            progress=progress,
        )

    def found(self, prediction: Prediction) -> list[Detections]:
        """Return the detections of every image, with masks."""
        return decode(prediction)

    def predictions_name(self, network: str) -> str:
        """Return the name of the predictions file."""
        return f"{network}.jsonl.gz"

    def write_pictures(
        self,
        networks: Sequence[TrainedNetwork],
        images: Callable[[], Iterator[NDArray[np.uint8]]],
        *,
        names: Sequence[str],
        out: Path,
        score_threshold: float,
    ) -> None:
        """Write NAME.png, detections over the picture, and predictions.jsonl.gz with all."""
        parts = [_detections(one, images(), self.things) for one in networks]
        results = (merge_detections(found) for found in zip(*parts, strict=True))
        with writing_text(out / "predictions.jsonl.gz", compressed=True) as write:
            for name, image, detections in zip(names, images(), results, strict=True):
                size = (image.shape[0], image.shape[1])
                write(to_line(ImagePredictions(name, size, detections)))
                drawn = [
                    DrawnDetection(mask=d.pixels(), label=d.label, score=d.score)
                    for d in detections
                    if d.score >= score_threshold
                ]
                picture = draw_detections(image, drawn, names=self.class_names)
                with whole_file(out / f"{name}.png") as temporary:
                    Image.fromarray(picture).save(temporary)


def _detections(
    trained: TrainedNetwork, images: Iterator[NDArray[np.uint8]], things: ThingClasses
) -> Iterator[Sequence[ScoredMask]]:
    """Yield what one network finds of its classes in every picture."""
    labels = {things.index(name) for name in trained.classes}
    for found in detect(
        trained.network, images, device=trained.device, short_side=trained.short_side
    ):
        yield [detection for detection in found if detection.label in labels]


INSTANCES: Final[Task] = Instances()
