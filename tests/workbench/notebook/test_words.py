from __future__ import annotations

from pathlib import Path

from suite_factory import write_resamples, write_suite

from uda4inst.suites.results import collect
from workbench.notebook.words import compared


def test_compared__names_protocol_network_interval_and_runs(tmp_path: Path) -> None:
    folder = write_suite(
        tmp_path / "t",
        "table2",
        {"none": {0: 20.0, 1: 20.0}, "t2s": {0: 23.0, 1: 23.0}},
        seeds=(0, 1),
    )
    for row, ap in (("none", 20.0), ("t2s", 23.0)):
        for seed in (0, 1):
            write_resamples(folder, f"{row}-seed{seed}", ap)
    results = collect(folder)
    said = compared(results, "t2s", "none", ("cityscapes", "student"))
    assert ": +3.0 points of Cityscapes AP, student (95 % interval +2." in said
    assert "2 runs of each" in said
    of_some = compared(results, "t2s", "none", ("cityscapes", "student"), classes=("person", "car"))
    assert ": +3.0 points of Cityscapes AP, student, mean of person and car (95 %" in of_some
    other = compared(results, "t2s", "none", ("coco", "student"))
    assert "no runs of both on the same two images or more" in other
