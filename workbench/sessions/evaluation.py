"""The project's protocols as evaluation methods of FiftyOne, with the project's numbers.

`dataset.evaluate_detections("predictions", method="uda4inst-cityscapes", eval_key="run")`, or
"uda4inst-coco", once this module was imported. AP is that of `uda4inst evaluate`: the same
accumulators are fed with the same masks and the same raw annotation (see `truth`).

Images without ground truth are not judged. On labelled ones without detections nothing was found,
so a session of both domains is judged by a view of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.errors import UserError, did_you_mean
from uda4inst.evaluation.cityscapes_ap import THRESHOLDS, CityscapesAP
from uda4inst.evaluation.coco_ap import CocoAP
from uda4inst.evaluation.results import restrict
from uda4inst.formats.predictions import OUT_OF_CLASS, ScoredMask
from workbench.sessions import outcomes
from workbench.sessions.convert import cut_mask_of
from workbench.sessions.cutting import CutMask
from workbench.sessions.evaluation_fields import Judged, declare, extra_fields, write
from workbench.sessions.evaluation_results import ProtocolResults, images_metric
from workbench.sessions.library import fo
from workbench.sessions.outcomes import Outcome
from workbench.sessions.things import things_of
from workbench.sessions.truth import TrueObject, Truths

CITYSCAPES: Final = "uda4inst-cityscapes"
COCO: Final = "uda4inst-coco"

# FiftyOne's own: true label, predicted label, IoU, score, id of the object, of the detection
_Match = tuple[str | None, str | None, float | None, float | None, str | None, str | None]


class ProtocolEvaluationConfig(fo.utils.eval.detection.DetectionEvaluationConfig):
    """What an evaluation was asked for.

    Args:
        pred_field: field of the detections.
        gt_field: field of the objects.
        iou: that a match needs, for the fields of objects; AP has all ten thresholds anyway.
        only: names of the classes that the network learned; those of others count as nothing, and
            AP is a mean without them. None for all.
        kwargs: of FiftyOne's other methods; without effect.
    """

    def __init__(
        self,
        pred_field: str,
        gt_field: str,
        iou: float = 0.5,
        only: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs = {**kwargs, "use_masks": True, "classwise": True}
        super().__init__(pred_field, gt_field, iou=iou, **kwargs)
        self.only = None if only is None else list(only)


class ProtocolEvaluation(fo.utils.eval.detection.DetectionEvaluation):
    """What both protocols share: reading samples, writing fields, the results.

    Args:
        config: what was asked for.

    Raises:
        UserError: the IoU is none of the ten thresholds, or a class is unknown.
    """

    def __init__(self, config: ProtocolEvaluationConfig) -> None:
        super().__init__(config)
        self._things = EIGHT
        self._only: frozenset[str] = frozenset()
        near = np.flatnonzero(np.isclose(THRESHOLDS, config.iou))
        if not near.size:
            known = ", ".join(f"{value:.2f}" for value in THRESHOLDS)
            raise UserError(f"iou must be one of {known}, got {config.iou}.")
        self._column = int(near[0])
        self._judged: list[Judged] = []
        self._truths: Truths | None = None

    def _add(
        self, ids: np.ndarray, masks: Sequence[ScoredMask], table: outcomes.ImageTable
    ) -> tuple[list[Outcome], list[Outcome]]:
        """Take in one image; return what became of its detections and of its objects."""
        raise NotImplementedError

    def _scores(self) -> CityscapesAP | CocoAP:
        """Return what all images were added to."""
        raise NotImplementedError

    def register_samples(self, samples: Any, eval_key: str | None, dynamic: bool = True) -> None:
        """Look up what the annotation of every image needs, and declare the fields."""
        super().register_samples(samples, eval_key, dynamic=dynamic)
        self._truths = Truths(samples)
        self._things = things_of(samples)
        self._only = self._known(self.config.only)
        self._begin()
        if eval_key is not None:
            declare(samples._dataset, self.config, eval_key)

    def _known(self, only: Sequence[str] | None) -> frozenset[str]:
        """Return the classes that are judged.

        Raises:
            UserError: one of them is none of the session's.
        """
        names = self._things.names
        chosen = frozenset(names if only is None else only)
        if unknown := sorted(chosen.difference(names)):
            raise UserError(
                f"only must name classes ({', '.join(names)}), got {unknown[0]!r}."
                f"{did_you_mean(unknown[0], names)}"
            )
        return chosen

    def _begin(self) -> None:
        """Make what all images are added to; the classes are known now."""
        raise NotImplementedError

    def evaluate(self, doc: Any, eval_key: str | None = None) -> list[_Match]:
        """Judge one image; nothing is written yet.

        Raises:
            UserError: its annotation cannot be read, or is no longer the one that is stored.
        """
        del eval_key
        truths = self._truths
        assert truths is not None  # FiftyOne registers samples first
        if doc[self.gt_field] is None:
            return []
        size = truths.size_of(doc.id)
        found = [] if doc[self.pred_field] is None else doc[self.pred_field].detections
        rows = doc[self.gt_field].detections
        objects = [_true_object(row, cut_mask_of(row, size), self._things) for row in rows]
        ids = truths.instance_ids(doc.id, objects)
        cuts = [cut_mask_of(row, size) for row in found]
        masks = [
            _scored(row, one.whole(size), self._things)
            for row, one in zip(found, cuts, strict=True)
        ]
        table = outcomes.image_table(
            ids,
            cuts,
            [mask.label for mask in masks],
            [one.mask for one in objects],
            self._things,
        )
        if table.things.tolist() != [one.thing for one in objects]:
            raise UserError(
                "annotation must be the one the session was made of, got another "
                f"({truths.name_of(doc.id)}). Open the session again: it is rebuilt."
            )
        found_fates, true_fates = self._add(ids, masks, table)
        judged = Judged(
            doc.id, found, rows, self._learned(found, found_fates), self._learned(rows, true_fates)
        )
        self._judged.append(judged)
        return _matches(judged)

    def _learned(self, rows: Sequence[Any], fates: Sequence[Outcome]) -> list[Outcome]:
        """Return what became of labels, those of classes that were not learned dropped."""
        return [
            fate if row.label in self._only else Outcome("dropped")
            for row, fate in zip(rows, fates, strict=True)
        ]

    def generate_results(
        self,
        samples: Any,
        matches: Sequence[_Match],
        eval_key: str | None = None,
        classes: Sequence[str] | None = None,
        missing: str | None = None,
        progress: object = None,
    ) -> ProtocolResults:
        """Write what became of everything in one go, and return the scores.

        Raises:
            UserError: no image has ground truth.
        """
        del progress
        if not self._judged:
            raise UserError(
                f"images must have ground truth to be judged, got none ({self.gt_field}, "
                f"{len(samples)} images). Take the images of a labelled split."
            )
        if eval_key is not None:
            write(samples._dataset, self.config, eval_key, self._judged)
        result = self._scores().result()
        wanted = self._only if classes is None else self._only.intersection(classes)
        names = self._things.names
        if len(wanted) < len(names):
            result = restrict(result, [name for name in names if name in wanted])
        occurring = {name for match in matches for name in match[:2] if name is not None}
        named = [name for name in names if name in occurring]
        return ProtocolResults(
            samples,
            self.config,
            eval_key,
            matches,
            result.to_json(),
            classes=named if classes is None else classes,
            missing=missing,
            custom_metrics=images_metric(len(self._judged)),
            backend=self,
        )

    def get_fields(
        self, samples: Any, eval_key: str, include_custom_metrics: bool = True
    ) -> list[str]:
        """Return all fields of an evaluation, for its deletion and its new name."""
        fields = super().get_fields(samples, eval_key, include_custom_metrics)
        return [*fields, *extra_fields(self.config, eval_key)]

    def cleanup(self, samples: Any, eval_key: str) -> None:
        """Delete all fields of an evaluation."""
        super().cleanup(samples, eval_key)
        dataset = samples._dataset
        dataset.delete_sample_fields(extra_fields(self.config, eval_key), error_level=2)


class CityscapesEvaluationConfig(ProtocolEvaluationConfig):
    """An evaluation by the Cityscapes protocol."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return CITYSCAPES


class CityscapesEvaluation(ProtocolEvaluation):
    """Cityscapes instance AP: see `uda4inst.evaluation.cityscapes_ap`."""

    def _begin(self) -> None:
        self._all = CityscapesAP(self._things)

    def _scores(self) -> CityscapesAP:
        return self._all

    def _add(
        self, ids: np.ndarray, masks: Sequence[ScoredMask], table: outcomes.ImageTable
    ) -> tuple[list[Outcome], list[Outcome]]:
        image = CityscapesAP(self._things)
        image.add(ids, masks)
        self._all.merge(image)
        fates = outcomes.cityscapes_fates(image, table, self._column)
        targets = outcomes.cityscapes_targets(table)
        return outcomes.with_errors(fates, table, targets, self.config.iou)


class CocoEvaluationConfig(ProtocolEvaluationConfig):
    """An evaluation by the COCO protocol."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return COCO


class CocoEvaluation(ProtocolEvaluation):
    """COCO mask AP: see `uda4inst.evaluation.coco_ap`."""

    def _begin(self) -> None:
        self._all = CocoAP(self._things)

    def _scores(self) -> CocoAP:
        return self._all

    def _add(
        self, ids: np.ndarray, masks: Sequence[ScoredMask], table: outcomes.ImageTable
    ) -> tuple[list[Outcome], list[Outcome]]:
        image = CocoAP(self._things)
        image.add(ids, masks)
        self._all.merge(image)
        fates = outcomes.coco_fates(image, table, self._column)
        return outcomes.with_errors(fates, table, table.numbered, self.config.iou)


METHODS: Final[Mapping[str, type[ProtocolEvaluationConfig]]] = {
    CITYSCAPES: CityscapesEvaluationConfig,
    COCO: CocoEvaluationConfig,
}


def register() -> None:
    """Make the methods known by their names in this process; again is harmless.

    A stored evaluation names its class, which FiftyOne imports by itself in any process.
    """
    for name, config in METHODS.items():
        path = f"{config.__module__}.{config.__qualname__}"
        fo.evaluation_config.detection_backends[name] = {"config_cls": path}


def _true_object(row: Any, mask: CutMask, things: ThingClasses = EIGHT) -> TrueObject:
    """Return an object as it is stored; where nothing says otherwise training learns from it."""
    return TrueObject(things.index(row.label), mask, row.get_attribute_value("learned", True))


def _scored(row: Any, mask: np.ndarray, things: ThingClasses) -> ScoredMask:
    """Return a detection as the protocols take it.

    Raises:
        UserError: it has no score.
    """
    if row.confidence is None:
        raise UserError(
            f"detections must have a confidence, got {row.label} without one ({row.id}). "
            "Take a field of predictions."
        )
    label = things.index(row.label) if row.label in things.names else OUT_OF_CLASS
    return ScoredMask(label, row.confidence, mask)


def _matches(judged: Judged) -> list[_Match]:
    """Return the pairs, false positives and misses of an image as FiftyOne counts them."""
    matches: list[_Match] = []
    for row, outcome in zip(judged.detections, judged.of_detections, strict=True):
        if outcome.fate == "tp" and outcome.partner is not None:
            partner = judged.objects[outcome.partner]
            pair = (partner.label, row.label, outcome.iou, row.confidence, partner.id, row.id)
            matches.append(pair)
        elif outcome.fate == "fp":
            matches.append((None, row.label, None, row.confidence, None, row.id))
    for row, outcome in zip(judged.objects, judged.of_objects, strict=True):
        if outcome.fate == "fn":
            matches.append((row.label, None, None, None, row.id, None))
    return matches


register()
