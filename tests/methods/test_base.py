from __future__ import annotations

import pytest
import torch
from nothing_found import nothing_found

from uda4inst.detections import Detections
from uda4inst.methods.base import Views
from uda4inst.structures import InstanceMap

EMPTY = InstanceMap.empty((4, 8))
NOTHING_FOUND = nothing_found((4, 8))
THRESHOLDS = torch.full((8,), 0.9)


def test_views__pseudo_labels_come_with_detections_and_thresholds() -> None:
    views = Views(pseudo_labels=(EMPTY,), detections=(NOTHING_FOUND,), thresholds=THRESHOLDS)
    assert views.pseudo_labels == (EMPTY,)


@pytest.mark.parametrize(
    ("detections", "thresholds", "got"),
    [
        ((), THRESHOLDS, "got 1 with 0 Detections and thresholds"),
        ((NOTHING_FOUND,), None, "got 1 with 1 Detections and no thresholds"),
    ],
    ids=["no-detections", "no-thresholds"],
)
def test_views__pseudo_labels_alone_are_refused(
    detections: tuple[Detections, ...], thresholds: torch.Tensor | None, got: str
) -> None:
    with pytest.raises(ValueError, match=rf"Views\.pseudo_labels must come with .*{got}"):
        Views(pseudo_labels=(EMPTY,), detections=detections, thresholds=thresholds)


def test_views__nothing_needs_nothing() -> None:
    assert Views().thresholds is None
