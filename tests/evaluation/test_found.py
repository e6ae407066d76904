from __future__ import annotations

import json

import numpy as np
import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.found import MEASURES, FoundClass, found_above, read_found
from uda4inst.evaluation.scoring import results_json
from uda4inst.formats.predictions import ScoredMask

SIZE = (40, 60)
CAR = THING_NAMES.index("car")


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def judged() -> CityscapesAP:
    """Two cars: one found twice above .5 and once below; two detections are on nothing."""
    ids = np.full(SIZE, 7, dtype=np.int32)
    ids[:20, :20], ids[:20, 30:50], ids[30:, :] = 26000, 26001, 0  # two cars, void below
    ap = CityscapesAP()
    ap.add(
        ids,
        [
            ScoredMask(CAR, 0.9, box(0, 0, 20, 20)),
            ScoredMask(CAR, 0.8, box(0, 0, 20, 18)),
            ScoredMask(CAR, 0.7, box(20, 0, 30, 60)),
            ScoredMask(CAR, 0.6, box(30, 0, 40, 60)),  # on void: neither right nor wrong
            ScoredMask(CAR, 0.4, box(0, 30, 20, 50)),
        ],
    )
    return ap


def test_found_above__counts_what_a_threshold_keeps() -> None:
    found = found_above(judged().judged())
    assert found["car"] == FoundClass(objects=2, detections=3, right=1)
    assert found["bus"] == FoundClass(0, 0, 0)
    everything = found_above(judged().judged(), score=0.0)["car"]
    assert everything == FoundClass(objects=2, detections=4, right=2)


def test_found_above__score_is_strict() -> None:
    assert found_above(judged().judged(), score=0.9)["car"].detections == 0


def test_value__shares_and_nothing_to_divide_by() -> None:
    assert [FoundClass(2, 3, 1).value(m) for m in MEASURES] == pytest.approx([1 / 3, 1 / 2, 3 / 2])
    assert [FoundClass(0, 3, 0).value(m) for m in MEASURES] == [0.0, None, None]
    assert FoundClass(2, 0, 0).value("precision") is None


def test_results_json__holds_the_counts_of_judged_classes() -> None:
    result = json.loads(json.dumps(results_json({"cityscapes": judged()}, classes=["car", "bus"])))
    found = read_found(result["cityscapes"])
    assert list(found) == ["car", "bus"]
    assert found["car"] == FoundClass(objects=2, detections=3, right=1)


def test_read_found__earlier_files_have_none() -> None:
    assert read_found({"AP": 0.1, "per_class": {}}) == {}
