"""Which classes a proposed configuration balances."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.classes import THING_NAMES
from uda4inst.data.reports.statistics import ClassStatistics, DatasetStatistics
from uda4inst.proposals.configuration import propose_rare


def counted(**counts: int) -> DatasetStatistics:
    classes = [
        ClassStatistics(
            name=name,
            instances=counts.get(name, 0),
            share=0.0,
            images=0,
            area_quantiles=(1.0, 2.0, 3.0),
            occlusion_mean=None,
            area_histogram=(),
            can_occur=True,
        )
        for name in (*THING_NAMES, *(name for name in counts if name not in THING_NAMES))
    ]
    return DatasetStatistics(
        name="a",
        root=Path("a"),
        split="train",
        images=20,
        images_without_instances=0,
        classes=tuple(classes),
    )


@pytest.mark.parametrize(
    ("counts", "rare"),
    [
        ({"person": 50, "motorcycle": 2, "car": 90, "train": 3}, ["motorcycle", "train"]),
        ({"person": 50, "motorcycle": 2, "car": 90}, ["motorcycle"]),
        ({"person": 50, "motorcycle": 20, "train": 3}, ["motorcycle", "train"]),
        ({"person": 50, "car": 90, "cone": 4}, ["person", "cone"]),
        ({"car": 90}, ["car"]),
        (
            {"person": 900, "rider": 800, "car": 30, "bus": 3, "train": 2},
            ["rider", "train"],  # the paper's, however many riders there are
        ),
    ],
)
def test_propose_rare__not_the_only_class_of_its_group_if_frequent(
    counts: dict[str, int], rare: list[str]
) -> None:
    found = propose_rare(counted(**counts), 40)
    assert found.value == rare
    assert "in 20 of 40 source images: person" in found.why or "person" not in counts


def test_propose_rare__says_what_it_left_out() -> None:
    reason = propose_rare(counted(person=50, motorcycle=2, car=90), 20).why
    assert "without car, of which there are many" in reason
