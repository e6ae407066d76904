from __future__ import annotations

import pytest

from uda4inst.suites import paper
from uda4inst.suites.paper import PaperNumbers

ROWS = {name: value for name, value in vars(paper).items() if isinstance(value, PaperNumbers)}


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.class_ap])
def test_paper__means_are_those_of_the_classes(name: str) -> None:
    row = ROWS[name]
    assert row.ap == pytest.approx(sum(row.class_ap.values()) / len(row.class_ap), abs=0.07)
    if row.class_ap50:
        mean = sum(row.class_ap50.values()) / len(row.class_ap50)
        assert row.ap50 == pytest.approx(mean, abs=0.07)


def test_paper__synthia_has_six_classes() -> None:
    assert paper.SYNTHIA_CLASSES == ("person", "rider", "car", "bus", "motorcycle", "bicycle")
    assert set(paper.SYNTHIA_UDA4INST.class_ap) == set(paper.SYNTHIA_CLASSES)
    assert paper.UPPER_BOUND_SYNTHIA.ap == 42.6


def test_paper__unknown_numbers_stay_unknown() -> None:
    assert paper.MIXING_S2T.ap is None
    assert paper.WEIGHTS_50_50.ap is None
    assert paper.MIXING_S2T.value("AP50", "car") is None
