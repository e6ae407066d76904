"""A suite's report: the paper's table with its numbers and ours, as Markdown, CSV and LaTeX.

A row that was not run is in every table and says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.evaluation.report import PROTOCOL_NAMES
from uda4inst.suites import figures
from uda4inst.suites.definition import BENCHMARKS
from uda4inst.suites.paper import PaperNumbers
from uda4inst.suites.results import (
    NETWORKS,
    Network,
    ProtocolName,
    RowResult,
    Statistic,
    SuiteResults,
    View,
)
from uda4inst.tasks.instances import INSTANCES

NOT_PUBLISHED: Final = "not published"
NOT_RUN: Final = "not run"
NOTHING: Final = "–"
CSV_COLUMNS: Final = (
    "suite",
    "scale",
    "benchmark",
    "row",
    "label",
    "network",
    "protocol",
    "metric",
    "class",
    "paper",
    "mean",
    "min",
    "max",
    "n",
    "state",
)
_MARKS: Final = "abcdefghij"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text cells.

    Args:
        title: above it.
        header: names of the columns.
        rows: cells; a row of one cell is a heading over all columns.
        notes: lines under it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def write_report(
    results: SuiteResults,
    folder: Path,
    *,
    networks: Sequence[Network] = NETWORKS,
    protocols: Sequence[ProtocolName] | None = None,
) -> list[Path]:
    """Write report.md, report.csv, report.tex and the charts; return their paths.

    Args:
        results: from `collect`.
        folder: to write to.
        networks: whose results.
        protocols: by which protocols; None for all of the suite's task.

    Raises:
        UserError: the folder cannot be written to.
    """
    by = protocols or results.protocols
    views: list[View] = [(protocol, network) for protocol in by for network in networks]
    with disk_errors("report", folder, next_step="Make room, then write it again."):
        folder.mkdir(parents=True, exist_ok=True)
        charts = figures.write_charts(results, folder, views)
        texts = {
            "report.md": markdown(results, views, charts=[path.name for path in charts]),
            "report.csv": csv_text(results, views),
            "report.tex": latex(results, views),
        }
        for name, text in texts.items():
            write_whole(folder / name, text)
    return [*(folder / name for name in texts), *charts]


def markdown(
    results: SuiteResults,
    views: Sequence[View],
    *,
    charts: Sequence[str] = (),
) -> str:
    """Return the report as Markdown."""
    suite = results.suite
    parts = [f"# {suite.title}", suite.text, results.scale.text, _reading(results)]
    for table in tables(results, views):
        parts += [f"## {table.title}", _markdown_table(table), "\n".join(table.notes)]
    parts += [f"![class-wise {_listed_measures(results)}]({name})" for name in charts]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(results: SuiteResults, views: Sequence[View]) -> str:
    """Return the tables as LaTeX; needs booktabs."""
    parts = [
        f"% {results.suite.title}, scale {results.scale.name}. Needs \\usepackage{{booktabs}}.",
        *(_latex_table(table) for table in tables(results, views)),
    ]
    return "\n\n".join(parts) + "\n"


def csv_text(results: SuiteResults, views: Sequence[View]) -> str:
    """Return every number in a line of its own, all digits, per cent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for protocol, network in views:
        for row in results.rows:
            for metric, name, paper, found in _numbers(results, row, protocol, network):
                numbers = ("", "", "", 0) if found is None else _spread_out(found)
                writer.writerow(
                    (
                        results.suite.name,
                        results.scale.name,
                        row.row.benchmark,
                        row.key,
                        row.label,
                        network,
                        protocol,
                        metric,
                        name,
                        "" if paper is None else paper,
                        *numbers,
                        row.state,
                    )
                )
    return out.getvalue()


def tables(results: SuiteResults, views: Sequence[View]) -> Iterator[Table]:
    """Yield the tables of every protocol and network: means, then AP and AP50 by class."""
    for protocol, network in views:
        yield _means_table(results, protocol, network)
        for metric in results.suite.task.measures:
            table = _class_table(results, protocol, network, metric)
            if table:
                yield table


def _reading(results: SuiteResults) -> str:
    """Return how the tables are to be read."""
    what = "Mask AP" if results.suite.task is INSTANCES else _listed_measures(results)
    paper = (
        "The paper's numbers are its student's by the Cityscapes protocol, whatever stands beside "
        "them. "
        if results.has_paper
        else ""
    )
    return (
        f"{what} in per cent: the mean over n seeds with the smallest and the largest in brackets, "
        "of the last step, without selection. Gap: (row - w/o UDA) / (upper bound - w/o UDA), "
        "where the table's first row without UDA is the lower end. "
        f"{paper}Rows without a teacher show their student."
    )


def _listed_measures(results: SuiteResults) -> str:
    return " and ".join(results.suite.task.measures)


def _numbers(
    results: SuiteResults, row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[tuple[str, str, float | None, Statistic | None]]:
    """Yield (metric, class, paper, ours) for everything a row has a number for."""
    for metric in results.suite.task.measures:
        for name in (None, *row.row.classes):
            paper = row.paper.value(metric, name) if row.paper else None
            yield metric, name or "all", paper, row.statistic(network, protocol, metric, name)
        paper_gap = results.paper_gap_closed(row, metric)
        gap = results.gap_closed(row, network, protocol, metric)
        yield f"{metric} gap", "all", paper_gap, gap


def _spread_out(found: Statistic) -> tuple[float, float, float, int]:
    return found.mean, *found.spread, found.n


def _means_table(results: SuiteResults, protocol: ProtocolName, network: Network) -> Table:
    """Return the table with the means, in the paper's order."""
    suite = results.suite
    measures = suite.task.measures
    kinds = ("paper ", "") if results.has_paper else ("",)
    header = ("", *suite.columns)
    header += tuple(f"{kind}{name}" for name in (*measures, "gap") for kind in kinds)
    header += ("n",)
    lines: list[tuple[str, ...]] = []
    for row in results.rows:
        lines += _benchmark_heading(results, row)
        marks = row.row.marks or tuple("" for _ in suite.columns)
        cells: list[str] = []
        for measure in measures:
            found = row.statistic(network, protocol, measure)
            cells += [_paper_cell(row.paper, measure)] if results.has_paper else []
            cells.append(_cell(found, row))
        gap = results.gap_closed(row, network, protocol)
        cells += [_share_text(results.paper_gap_closed(row))] if results.has_paper else []
        cells.append(NOTHING if gap is None else _share_cell(gap))
        first = row.statistic(network, protocol, measures[0])
        lines.append((_labelled(results, row), *marks, *cells, str(first.n if first else 0)))
    title = f"{PROTOCOL_NAMES[protocol]} protocol, {network}"
    notes = (*_footnotes(results), _provenance(results))
    return Table(title, header, tuple(lines), notes)


def _class_table(
    results: SuiteResults, protocol: ProtocolName, network: Network, metric: str
) -> Table | None:
    """Return paper and ours by class; None where neither has any."""
    lines: list[tuple[str, ...]] = []
    is_empty = True
    for row in results.rows:
        lines += _benchmark_heading(results, row)
        cells = [_labelled(results, row)]
        for name in results.suite.task.class_names:
            paper = row.paper.value(metric, name) if row.paper else None
            found = row.statistic(network, protocol, metric, name)
            is_empty &= paper is None and found is None
            ours = NOTHING if found is None else f"{found.mean:.1f}"
            theirs = NOTHING if paper is None else f"{paper:.1f}"
            cells.append(f"{theirs} / {ours}" if results.has_paper else ours)
        lines.append(tuple(cells))
    if is_empty:
        return None
    of_class = results.suite.task.class_measures[results.suite.task.measures.index(metric)]
    title = f"{of_class} by class, {PROTOCOL_NAMES[protocol]} protocol, {network}"
    title += " (paper / ours)" if results.has_paper else ""
    notes = (*_footnotes(results), _provenance(results))
    return Table(title, ("", *results.suite.task.class_names), tuple(lines), notes)


def _benchmark_heading(results: SuiteResults, row: RowResult) -> list[tuple[str, ...]]:
    """Return a heading where a table of several benchmarks comes to another."""
    rows = results.rows
    if len({other.row.benchmark for other in rows}) == 1:
        return []
    first = next(other for other in rows if other.row.benchmark == row.row.benchmark)
    return [(BENCHMARKS[row.row.benchmark],)] if row is first else []


def _labelled(results: SuiteResults, row: RowResult) -> str:
    """Return a row's label with its footnote marks."""
    notes = list(results.suite.footnotes)
    marks = ",".join(_MARKS[notes.index(key)] for key in row.row.footnotes)
    return f"{row.label} [{marks}]" if marks else row.label


def _footnotes(results: SuiteResults) -> list[str]:
    notes = results.suite.footnotes.values()
    return [f"[{mark}] {text}" for mark, text in zip(_MARKS, notes, strict=False)]


def _paper_cell(paper: PaperNumbers | None, metric: str) -> str:
    value = paper.value(metric) if paper else None
    # As printed: tables 2 and 3 have two digits.
    return NOT_PUBLISHED if value is None else f"{value:.2f}".removesuffix("0")


def _cell(found: Statistic | None, row: RowResult) -> str:
    if found is None:
        return NOTHING if row.state == "finished" else row.state
    return f"{found.mean:.1f} ({found.spread[0]:.1f}–{found.spread[1]:.1f})"


def _share_text(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} %"


def _share_cell(gap: Statistic) -> str:
    return f"{gap.mean:.0f} % ({gap.spread[0]:.0f}–{gap.spread[1]:.0f})"


def _provenance(results: SuiteResults) -> str:
    """Return where the numbers come from, in one line."""
    by_row = {row.row.run_key: row for row in results.rows}
    runs = [run for row in by_row.values() for run in row.runs if run.evaluation is not None]
    if not runs:
        return f"Nothing is finished yet ({results.folder})."
    hashes = [
        f"{key} {' '.join(run.config_hash for run in row.runs if run.evaluation is not None)}"
        for key, row in by_row.items()
        if any(run.evaluation is not None for run in row.runs)
    ]
    times = sorted(run.time for run in runs if run.time)
    command = " ".join(map(str, results.description.get("command", ())))
    facts = {
        "Data": _listed(run.data for run in runs),
        "commit": _listed(run.commit for run in runs),
        "command": f"`{command}`" if command else "",
        "date": " to ".join(dict.fromkeys((times[0][:10], times[-1][:10]))) if times else "",
        "hardware": _listed(run.hardware for run in runs),
        "configurations": ", ".join(hashes),
    }
    return "; ".join(f"{name}: {text}" for name, text in facts.items() if text) + "."


def _listed(values: Iterator[str]) -> str:
    return " and ".join(dict.fromkeys(value for value in values if value))


def _markdown_table(table: Table) -> str:
    lines = [table.header, tuple([":--"] + ["--:"] * (len(table.header) - 1))]
    for row in table.rows:
        is_heading = len(row) == 1 and len(table.header) > 1
        lines.append((f"**{row[0]}**", *([""] * (len(table.header) - 1))) if is_heading else row)
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


_LATEX_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "→": r"$\rightarrow$",
    "✓": r"$\checkmark$",
}


def _latex_table(table: Table) -> str:
    width = len(table.header)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_to_latex(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _latex_line(table.header),
        r"\midrule",
    ]
    for row in table.rows:
        is_heading = len(row) == 1 and width > 1
        heading = rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_to_latex(row[0])}}}}} \\"
        lines.append(heading if is_heading else _latex_line(row))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {_to_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"])


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(_to_latex(cell) for cell in cells) + r" \\"


def _to_latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)
