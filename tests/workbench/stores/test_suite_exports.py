from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

from uda4inst.suites.report import latex, markdown
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import collect
from workbench.stores.suite_exports import chart_export, text_exports

VIEW = ("coco", "teacher")


def test_text_exports__are_the_report_of_the_view(tmp_path: Path, suite_factory: Any) -> None:
    folder = suite_factory.write_suite(tmp_path / "a", "table5", {"m5": {0: 20.0}})
    results = collect(folder)
    made = text_exports(results, VIEW)
    assert {kind: export.data.decode() for kind, export in made.items()} == {
        "md": markdown(results, [VIEW]),
        "csv": csv_text(results, [VIEW]),
        "tex": latex(results, [VIEW]),
    }
    assert made["tex"].name == "table5-toy-coco-teacher.tex"
    lines = list(csv.DictReader(io.StringIO(made["csv"].data.decode())))
    # A teacher's numbers, and the student's of a row without a teacher.
    assert {(line["protocol"], line["row"], line["network"]) for line in lines} >= {
        ("coco", "m5", "teacher"),
        ("coco", "m1", "student"),
    }


def test_chart_export__one_picture(tmp_path: Path, suite_factory: Any) -> None:
    folder = suite_factory.write_suite(tmp_path / "a", "table5", {"m5": {0: 20.0}})
    chart = chart_export(collect(folder), VIEW)
    assert chart is not None
    assert chart.name == "table5-toy-coco-teacher.png"
    assert chart.data.startswith(b"\x89PNG")


def test_chart_export__several_are_packed(tmp_path: Path, suite_factory: Any) -> None:
    values = {"urbansyn_source_only": {0: 20.0}, "synthia_source_only": {0: 10.0}}
    folder = suite_factory.write_suite(tmp_path / "a", "table1", values, scale="paper")
    chart = chart_export(collect(folder), VIEW)
    assert chart is not None
    with zipfile.ZipFile(io.BytesIO(chart.data)) as archive:
        assert len(archive.namelist()) == 2


def test_chart_export__nothing_to_draw(tmp_path: Path, suite_factory: Any) -> None:
    results = collect(suite_factory.write_suite(tmp_path / "a", "table5", {}))
    assert chart_export(results, VIEW) is None
