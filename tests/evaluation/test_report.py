"""Result tables: every number beside its protocol, network, step and source."""

from __future__ import annotations

from typing import Any

import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.report import markdown_table, rows_of, text_table
from uda4inst.evaluation.results import APResult, ClassAP, class_mean

PROTOCOL = {
    "AP": 0.3456,
    "AP50": 0.5,
    "per_class": dict.fromkeys(THING_NAMES) | {"car": {"AP": 0.25, "AP50": 0.5}},
}
RECORD: dict[str, Any] = {
    "step": 300,
    "config_hash": "abc123",
    "dataset": "Cityscapes",
    "split": "val",
    "images": 50,
    "results": {"student": {"cityscapes": PROTOCOL, "coco": PROTOCOL}},
}


def test_text_table__names_protocols_and_sources() -> None:
    header, rule, first, second, *footer = text_table(rows_of("demo", RECORD)).splitlines()
    assert header == (
        "run   step  network  protocol      AP  AP50  person  rider   car  truck  bus  train"
        "  motorcycle  bicycle"
    )
    assert rule == "-" * len(header)
    assert first == (
        "demo  300   student  Cityscapes  34.6  50.0       -      -  25.0      -    -      -"
        "           -        -"
    )
    assert second == first.replace("Cityscapes", "COCO      ")
    assert footer == [
        "",
        "Mask AP at IoU .50:.95 in per cent, classes too; - marks classes without ground truth.",
        "demo: Cityscapes val, 50 images, config abc123",
    ]


def test_markdown_table__predictions_from_elsewhere() -> None:
    result = {"predictions": "x", "target": "/c", "split": "val", "images": 2, "coco": PROTOCOL}
    lines = markdown_table(rows_of("theirs", result)).splitlines()
    assert (
        lines[2] == "| theirs | - | predictions | COCO | 34.6 | 50.0 | - | - | 25.0 |" + " - |" * 5
    )
    assert lines[-1] == "theirs: /c val, 2 images"


def test_class_mean__leaves_absent_classes_out() -> None:
    result = APResult(0.3, 0.5, {"car": ClassAP(0.2, 0.4), "bus": ClassAP(0.4, 0.6), "train": None})
    mean = class_mean(result, ["car", "bus", "train"])
    assert mean is not None
    assert (pytest.approx(0.3), 0.5) == (mean.AP, mean.AP50)
    assert class_mean(result, ["train"]) is None
