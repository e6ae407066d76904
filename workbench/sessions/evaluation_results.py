"""Scores of an evaluation in FiftyOne, as its Model Evaluation panel shows them and stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uda4inst.evaluation.results import APResult, ClassAP, class_mean
from workbench.sessions.library import fo


class ProtocolResults(fo.utils.eval.detection.DetectionResults):
    """AP, AP50 and those of each class by one of the project's protocols.

    The panel shows AP as mAP, and AP50 and the classes among its other metrics.

    Args:
        samples: the images.
        config: what was asked for.
        eval_key: name of the evaluation, if it is stored.
        matches: pairs, false positives and misses at the IoU that was asked for.
        scores: AP, AP50 and `per_class`, as `APResult.to_json` returns them.
        classes: names the panel lists.
        missing: what stands for no object.
        custom_metrics: other people's; the scores are added.
        backend: what judged the images.
    """

    def __init__(
        self,
        samples: Any,
        config: Any,
        eval_key: str | None,
        matches: Sequence[Any],
        scores: Mapping[str, Any],
        *,
        classes: Sequence[str] | None = None,
        missing: str | None = None,
        custom_metrics: Mapping[str, Any] | None = None,
        backend: Any = None,
    ) -> None:
        super().__init__(
            samples,
            config,
            eval_key,
            matches,
            classes=classes,
            missing=missing,
            custom_metrics={**_metrics(scores), **(custom_metrics or {})},
            backend=backend,
        )
        self.scores = dict(scores)

    @property
    def result(self) -> APResult:
        """The scores."""
        per_class = {
            name: None if value is None else ClassAP(value["AP"], value["AP50"])
            for name, value in self.scores["per_class"].items()
        }
        return APResult(self.scores["AP"], self.scores["AP50"], per_class)

    def mAP(self, classes: Sequence[str] | None = None) -> float | None:
        """Return AP, or its mean over some classes; None where none has ground truth."""
        if classes is None:
            return self.scores["AP"]
        mean = class_mean(self.result, classes)
        return None if mean is None else mean.AP

    @classmethod
    def _from_dict(
        cls, d: dict[str, Any], samples: Any, config: Any, eval_key: str, **kwargs: Any
    ) -> ProtocolResults:
        """Return what was stored."""
        found = super()._from_dict(d, samples, config, eval_key, scores=d["scores"], **kwargs)
        assert isinstance(found, ProtocolResults)
        return found


def _metrics(scores: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the scores as metrics of the panel: AP50, then AP of each class that has one."""
    values = {"AP50": scores["AP50"]}
    values |= {f"AP {name}": own["AP"] for name, own in scores["per_class"].items() if own}
    return {name: value for label, value in values.items() for name, value in _metric(label, value)}


def images_metric(count: int) -> dict[str, dict[str, Any]]:
    """Return as a metric of the panel how many images the scores beside it were taken over."""
    return dict(_metric("images judged", count))


def _metric(label: str, value: float | None) -> list[tuple[str, dict[str, Any]]]:
    """Return a metric by its name; none where there is no number."""
    said = {"key": label, "value": value, "label": label, "lower_is_better": False}
    return [] if value is None else [(f"uda4inst/{label}", said)]
