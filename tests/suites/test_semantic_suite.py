"""The suite of the semantic bounds: its runs, and a report in its task's measures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from statistics import mean

import pytest
from suite_factory import write_semantic_finished, write_suite

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.evaluation.semantic import CLASS_SETS
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import expand
from uda4inst.suites.figures import draw_chart
from uda4inst.suites.report import write_report
from uda4inst.suites.results import collect
from uda4inst.suites.scales import find_scale
from uda4inst.tasks.semantic import SEMANTIC

NAMES = tuple(c.name for c in SEMANTIC_CLASSES)


def test_expand__both_bounds_on_the_semantic_preset(tmp_path: Path) -> None:
    runs = expand(SUITES["semantic"], find_scale("smoke"), [Cell(None, 0)], root=tmp_path).runs
    assert {run.row for run in runs} == {"", "source_only", "oracle"}
    assert {run.config.model.preset for run in runs} == {"mit_tiny"}
    assert {run.config.evaluation.protocols for run in runs} == {("pixels",)}
    toy = expand(SUITES["semantic"], find_scale("toy"), [Cell(5, 0)], root=tmp_path).runs
    assert {run.config.training.stage2_steps for run in toy} == {600}
    assert {run.config.optim.lr for run in toy} == {3e-3}


def test_write_report__in_the_tasks_measures_and_classes(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "semantic-toy", "semantic", {})
    for name, miou in (("source_only-seed0", 0.2), ("oracle-seed0", 0.3)):
        write_semantic_finished(folder, name, miou)
    found = collect(folder)
    assert found.suite.task is SEMANTIC
    assert found.protocols == ("pixels",)
    oracle = found.row("oracle")
    whole = oracle.statistic("student", "pixels", "mIoU")
    sidewalk = oracle.statistic("student", "pixels", "accuracy", "sidewalk")
    assert whole is not None
    assert sidewalk is not None
    assert (whole.mean, sidewalk.mean) == (30.0, 51.0)
    assert oracle.statistic("student", "pixels", "mIoU", "train") is None
    paths = write_report(found, tmp_path / "report", networks=["student"])
    assert {path.name for path in paths} >= {"report.md", "report.csv", "report.tex", "fig4.png"}
    labels = draw_chart(found, found.rows, "pixels", "student").axes[1].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {30}  # side by side they would overlap
    assert all(label.get_window_extent().y0 >= 0 for label in labels)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Cityscapes pixel protocol, student" in text
    assert "|  | mIoU | accuracy | gap | n |" in text
    assert "| w/o UDA | 20.0 (20.0–20.0) | 70.0 (70.0–70.0) |" in text
    assert f"|  | {' | '.join(NAMES)} |" in text
    assert "paper" not in text.replace("Not in the paper", "").replace("The paper's numbers", "")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "report" / "report.csv").read_text())))
    (road,) = [
        line
        for line in lines
        if (line["row"], line["metric"], line["class"]) == ("oracle", "mIoU", "road")
    ]
    assert (float(road["mean"]), road["paper"]) == (30.0, "")
    assert "## mIoU over parts of the classes, Cityscapes pixel protocol, student" in text
    # The k-th class has k points more than the first, and train none.
    more = [mean(NAMES.index(n) for n in names if n != "train") for names in CLASS_SETS.values()]
    (table,) = [part for part in text.split("## ") if part.startswith("mIoU over parts")]
    (row,) = [line for line in table.splitlines() if line.startswith("| w/o UDA |")]
    cells = [float(cell.split()[0]) for cell in row.split("|")[2:-1]]
    assert cells == [pytest.approx(20 + m, abs=0.051) for m in more]
    assert "mIoU13: the mean of IoU over road, sidewalk, building, traffic light," in text
    means = {line["metric"]: line["mean"] for line in lines if line["row"] == "oracle"}
    expected = [pytest.approx(30 + m, abs=1e-3) for m in more]
    assert [float(means[name]) for name in CLASS_SETS] == expected


def test_csv__of_a_method_between_its_bounds(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "ehtdi-toy", "ehtdi", {})
    for name, miou in (("source_only", 0.2), ("mixing", 0.25), ("oracle", 0.3)):
        write_semantic_finished(folder, f"{name}-seed0", miou)
    (_, table, *_) = write_report(collect(folder), tmp_path / "report", networks=["student"])
    lines = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    found = {line["metric"]: line for line in lines if line["row"] == "mixing"}
    assert float(found["mIoU gap"]["mean"]) == pytest.approx(50)
    assert {*CLASS_SETS} <= set(found)
    assert (found["mIoU16"]["low"], found["mIoU16"]["high"]) == ("", "")
