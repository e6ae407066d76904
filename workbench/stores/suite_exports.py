"""A suite's report as files to take away, written by `uda4inst.suites.report` and `figures`."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from uda4inst.reading import read_bytes
from uda4inst.suites.figures import write_charts
from uda4inst.suites.report import latex, markdown
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import View


@dataclass(frozen=True, slots=True)
class Export:
    """A file to take away.

    Args:
        name: of the file.
        data: its content.
    """

    name: str
    data: bytes


def text_exports(results: SuiteResults, view: View) -> dict[str, Export]:
    """Return the report of one protocol and network as md, csv and tex."""
    texts = {
        "md": markdown(results, [view]),
        "csv": csv_text(results, [view]),
        "tex": latex(results, [view]),
    }
    name = _name(results, view)
    return {kind: Export(f"{name}.{kind}", text.encode()) for kind, text in texts.items()}


def chart_export(results: SuiteResults, view: View) -> Export | None:
    """Return the report's chart as PNG, several as ZIP, None when there is none."""
    name = _name(results, view)
    with TemporaryDirectory() as folder:
        charts = write_charts(results, Path(folder), [view])
        if len(charts) < 2:
            return Export(f"{name}.png", read_bytes(charts[0])) if charts else None
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for chart in charts:
                archive.write(chart, chart.name)
    return Export(f"{name}-charts.zip", packed.getvalue())


def _name(results: SuiteResults, view: View) -> str:
    return "-".join((results.suite.name, results.scale.name, *view))
