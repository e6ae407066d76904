"""What an evaluation writes beside the scores: of every detection, every object and every image.

With the key `run`: `run` is tp, fp, fn or dropped; `run_id` the partner of a pair, `run_iou` its
IoU, or that with the object a false positive errs about; `run_error` the kind of error. `run_tp`,
`run_fp`, `run_fn` and `run_dropped` (detections alone) are counts of images. All in bulk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.sessions.library import fo
from workbench.sessions.outcomes import Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What became of one image.

    Args:
        sample_id: in FiftyOne.
        detections: labels of FiftyOne.
        objects: labels of FiftyOne.
        of_detections: an outcome each.
        of_objects: an outcome each.
    """

    sample_id: str
    detections: Sequence[Any]
    objects: Sequence[Any]
    of_detections: Sequence[Outcome]
    of_objects: Sequence[Outcome]


def extra_fields(config: Any, eval_key: str) -> list[str]:
    """Return the fields that FiftyOne's own evaluations do not have."""
    return [
        f"{eval_key}_dropped",
        *(f"{field}.detections.{eval_key}_error" for field in (config.pred_field, config.gt_field)),
    ]


def declare(dataset: fo.Dataset, config: Any, eval_key: str) -> None:
    """Declare the fields that FiftyOne's own evaluations do not have."""
    count, *errors = extra_fields(config, eval_key)
    dataset.add_sample_field(count, fo.IntField)
    for path in errors:
        dataset.add_sample_field(path, fo.StringField)


def write(dataset: fo.Dataset, config: Any, eval_key: str, images: Sequence[Judged]) -> None:
    """Write the outcomes of all images, field by field."""
    counts = [Counter(outcome.fate for outcome in one.of_detections) for one in images]
    dropped = {one.sample_id: count["dropped"] for one, count in zip(images, counts, strict=True)}
    dataset.set_values(f"{eval_key}_dropped", dropped, key_field="id")
    _write_of(
        dataset,
        f"{config.pred_field}.detections.{eval_key}",
        [(one.sample_id, one.detections, one.of_detections, one.objects) for one in images],
    )
    _write_of(
        dataset,
        f"{config.gt_field}.detections.{eval_key}",
        [(one.sample_id, one.objects, one.of_objects, one.detections) for one in images],
    )


_Side = tuple[str, Sequence[Any], Sequence[Outcome], Sequence[Any]]


def _write_of(dataset: fo.Dataset, path: str, images: Sequence[_Side]) -> None:
    """Write the outcomes of one field of labels; that of no label is touched that was not judged.

    Args:
        dataset: that has them.
        path: of the field that says what became of a label.
        images: id, labels, their outcomes, and the labels of the other side.
    """
    values: dict[str, Callable[[Outcome, Sequence[Any]], object]] = {
        path: lambda outcome, _: outcome.fate,
        f"{path}_id": lambda outcome, others: (
            None if outcome.partner is None else others[outcome.partner].id
        ),
        f"{path}_iou": lambda outcome, _: outcome.iou,
        f"{path}_error": lambda outcome, _: outcome.error,
    }
    for field, value in values.items():
        rows = [
            {"sample_id": sample_id, "label_id": label.id, "value": value(outcome, others)}
            for sample_id, labels, outcomes, others in images
            for label, outcome in zip(labels, outcomes, strict=True)
        ]
        if rows:
            dataset.set_label_values(field, rows)
