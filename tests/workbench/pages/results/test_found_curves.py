from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from uda4inst.suites.results import collect
from workbench.pages.results.found_curves import found_curves


@pytest.fixture
def folder(tmp_path: Path, suite_factory: ModuleType) -> Path:
    """Table 5 with M4 on two seeds and M1 on one; M3 was judged before there were counts."""
    values = {"m1": {0: 10.0}, "m3": {0: 11.0}, "m4": {0: 15.0, 1: 16.0}}
    folder = suite_factory.write_suite(tmp_path / "table5", "table5", values, seeds=(0, 1))
    for name, right in (("m1-seed0", 3), ("m4-seed0", 4), ("m4-seed1", 6)):
        counts = {"car": (1100, 8, 6), "train": (10, 20, right)}
        suite_factory.write_found(folder, name, counts)
    return folder


def test_found_curves__none_where_runs_were_judged_at_their_end_alone(folder: Path) -> None:
    assert found_curves(collect(folder), "student") == ""


def test_found_curves__three_charts_a_class_the_rarest_first(
    folder: Path, suite_factory: ModuleType
) -> None:
    for name in ("m4-seed0", "m4-seed1"):
        counts = {"car": (1100, 8, 6), "train": (10, 40, 2)}
        suite_factory.write_found(folder, name, counts, step=3)
    html = found_curves(collect(folder), "student")
    train, car = html.split("<details")[1:]
    assert "train: 10 to find in the first run" in train
    assert "car: 1,100 to find in the first run" in car
    assert (train.split(">")[0].endswith("open"), car.split(">")[0].endswith("open")) == (1, 0)
    assert train.count("<svg") == 3
    assert "student; over the runs of a row together (1 to 2 at a step)" in html
    assert "M3" not in html
    m4 = "M4"
    # Over two runs: 4 right of 80 detections of 20 objects, then 10 of 40.
    for words in (f"{m4} 5<", f"{m4} 25<", f"{m4} 20<", f"{m4} 50<", f"{m4} 4<", f"{m4} 2<"):
        assert words in train


def test_found_curves__a_row_of_other_steps_goes_on_between_them(
    folder: Path, suite_factory: ModuleType
) -> None:
    for step in (3, 6):
        counts = {"train": (10, 20, 2 + step)}
        suite_factory.write_found(folder, "m4-seed0", counts, step=step)
    suite_factory.write_found(folder, "m1-seed0", {"train": (10, 20, 1)}, step=3)
    html = found_curves(collect(folder), "student").split("</svg>")[0]
    paths = [part.split('"/>')[0] for part in html.split('class="wb-line"')[1:]]
    assert sorted(path.count("L") for path in paths) == [1, 2]
