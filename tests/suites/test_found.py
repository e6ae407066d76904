from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from suite_factory import write_finished, write_found

from uda4inst.suites.figures import line_style
from uda4inst.suites.found import found_of, found_table
from uda4inst.suites.found_curves import draw_curves
from uda4inst.suites.report import write_report
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import collect

Write = Callable[..., Path]


@pytest.fixture
def counted(write_suite: Write) -> Path:
    """Table 5 with M4 on two seeds and M1 on one; M3 was judged before there were counts."""
    values = {"m1": {0: 10.0}, "m3": {0: 11.0}, "m4": {0: 15.0, 1: 16.0}}
    folder = write_suite("table5", values, seeds=(0, 1))
    write_found(folder, "m1-seed0", {"car": (10, 8, 6), "train": (0, 0, 0)})
    write_found(folder, "m4-seed0", {"car": (10, 5, 5), "train": (0, 2, 0)})
    write_found(folder, "m4-seed1", {"car": (10, 15, 5), "train": (0, 2, 0)})
    return folder


def test_found_of__sums_over_runs(counted: Path) -> None:
    results = collect(counted)
    car = found_of(results.row("m4"), "student")["car"]
    assert (car.objects, car.detections, car.right) == (20, 20, 10)
    assert found_of(results.row("m3"), "student") == {}


def test_found_table__rows_with_counts_and_what_there_is_to_find(counted: Path) -> None:
    table = found_table(collect(counted), "student")
    assert table is not None
    cells = {line[0]: dict(zip(table.header, line, strict=True)) for line in table.rows}
    assert len(cells) == 2
    (m4,) = (line for label, line in cells.items() if label.startswith("M4"))
    assert (m4["car"], m4["train"], m4["bus"]) == ("50 / 50, 1.00", "0 / –, –", "–")
    assert m4["n"] == "2"
    assert "car 10, train 0" in table.notes[0]


def test_found_table__runs_without_counts_are_not_counted(counted: Path) -> None:
    write_finished(counted, "m1-seed1", 12.0)  # as earlier versions judged
    results = collect(counted)
    table = found_table(results, "student")
    assert table is not None
    assert [line[-1] for line in table.rows] == ["1", "2"]
    text = csv_text(results, [("cityscapes", "student")])
    lines = [line for line in csv.DictReader(io.StringIO(text)) if "score above" in line["metric"]]
    assert {(line["row"], line["n"]) for line in lines} == {("m1", "1"), ("m4", "2")}


def test_found_table__none_without_counts(write_suite: Write) -> None:
    assert found_table(collect(write_suite("table5", {"m1": {0: 10.0}})), "student") is None


def test_csv__has_the_measures(counted: Path) -> None:
    lines = list(
        csv.DictReader(io.StringIO(csv_text(collect(counted), [("cityscapes", "student")])))
    )
    chosen = {
        line["metric"]: float(line["mean"])
        for line in lines
        if line["row"] == "m4" and line["class"] == "car" and "score above 0.5" in line["metric"]
    }
    assert chosen == {
        "precision, score above 0.5": 0.5,
        "recall, score above 0.5": 0.5,
        "detections an object, score above 0.5": 1.0,
    }


def test_curves__drawn_where_runs_were_judged_on_the_way(counted: Path) -> None:
    results = collect(counted)
    names = [p.name for p in write_report(results, counted / "report", networks=["student"])]
    assert "found-student.png" not in names
    write_found(counted, "m4-seed0", {"car": (10, 2, 1)}, step=3)
    names = [p.name for p in write_report(results, counted / "report", networks=["student"])]
    assert {"found-student.png", "found-student.csv"} <= set(names)
    text = (counted / "report" / "report.md").read_text()
    assert "(found-student.png)" in text
    assert ".csv)" not in text


def test_curves__as_csv_with_the_runs_of_every_step(counted: Path) -> None:
    write_found(counted, "m4-seed0", {"car": (10, 2, 1)}, step=3)
    write_report(collect(counted), counted / "report", networks=["student"])
    with (counted / "report" / "found-student.csv").open(newline="") as file:
        lines = {(k["row"], k["step"], k["class"]): k for k in csv.DictReader(file)}
    assert {row for row, *_ in lines} == {"m1", "m4"}
    last = max(int(step) for _, step, _ in lines)
    early, late = lines["m4", "3", "car"], lines["m4", str(last), "car"]
    assert [early[key] for key in ("n", "objects", "detections", "right")] == ["1", "10", "2", "1"]
    assert (late["n"], late["objects"], late["detections"]) == ("2", "20", "20")
    assert (float(early["precision"]), float(early["recall"])) == (0.5, 0.1)
    assert float(late["detections an object"]) == 1.0
    assert lines["m4", str(last), "train"]["recall"] == ""
    assert lines["m1", str(last), "car"]["network"] == "student"


def test_draw_curves__a_line_a_row_over_steps(counted: Path) -> None:
    results = collect(counted)
    early, late = found_of(results.row("m1"), "student"), found_of(results.row("m4"), "student")
    figure = draw_curves(results, {"m4": {9: [late], 3: [early]}}, "student")
    (panel,) = (a for a in figure.axes if a.get_title() == "car" and a.get_ylabel() != "recall")
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in panel.get_lines()}
    (m4,) = (points for label, points in drawn.items() if str(label).startswith("M4"))
    assert m4 == [[3.0, 0.75], [9.0, 0.5]]


def test_draw_curves__rows_that_were_not_run_are_not_in_the_legend(counted: Path) -> None:
    results = collect(counted)
    found = found_of(results.row("m4"), "student")
    figure = draw_curves(results, {"m4": {3: [found], 9: [found]}}, "student")
    (legend,) = figure.legends
    (label,) = (text.get_text() for text in legend.get_texts())
    assert label.startswith("M4")


def test_line_style__no_two_of_many_rows_are_alike(counted: Path) -> None:
    results = collect(counted)
    rows = (results.row("m4"),) * 28
    many = replace(results, rows=rows)
    assert len({tuple(line_style(many, index).items()) for index in range(28)}) == 28
    bounds = [row for row in results.rows if row.row.role == "lower_bound"]
    sources = replace(results, rows=tuple(bounds * 3))
    assert len({tuple(line_style(sources, index).items()) for index in range(3)}) == 3
