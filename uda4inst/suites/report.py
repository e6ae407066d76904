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
from uda4inst.evaluation.resampling import DRAWS
from uda4inst.suites import figures
from uda4inst.suites.definition import BENCHMARKS
from uda4inst.suites.intervals import LEVEL, Interval
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
BEYOND: Final = "*"
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
    "low",
    "high",
    "minus",
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
        parts += [f"## {table.title}", markdown_table(table), "\n".join(table.notes)]
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
    """Return every number in a line of its own, all digits, per cent.

    Differences name the row that is taken away in the column `minus`; they and shares of the gap
    have the 95 % interval in `low` and `high`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for protocol, network in views:
        for row in results.rows:
            facts = (results.suite.name, results.scale.name, row.row.benchmark, row.key, row.label)
            facts += (network, protocol)
            for metric, name, paper, found in _numbers(results, row, protocol, network):
                numbers = ("", "", "", 0) if found is None else _spread_out(found)
                share = results.share_closed(row, network, protocol, metric.removesuffix(" gap"))
                ends = (share.low, share.high) if share and metric.endswith(" gap") else ("", "")
                shown = "" if paper is None else paper
                writer.writerow((*facts, metric, name, shown, *numbers, row.state, *ends, ""))
            for metric, name, other, found in _differences(results, row, protocol, network):
                n = len(other.runs)
                numbers = ("", found.value, "", "", n, row.state, found.low, found.high, other.key)
                writer.writerow((*facts, f"{metric} difference", name, *numbers))
    return out.getvalue()


def _differences(
    results: SuiteResults, row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[tuple[str, str, RowResult, Interval]]:
    """Yield (metric, class, other row, difference) for every row that stands above this one."""
    for other in results.rows[: results.rows.index(row)]:
        for metric in results.suite.task.measures:
            for name in (None, *(c for c in row.row.classes if c in other.row.classes)):
                found = results.difference(row, other, network, protocol, metric, name)
                if found is not None:
                    yield metric, name or "all", other, found


def tables(results: SuiteResults, views: Sequence[View]) -> Iterator[Table]:
    """Yield the tables of every protocol and network: means, differences, then both by class."""
    for protocol, network in views:
        yield _means_table(results, protocol, network)
        yield from difference_tables(results, protocol, network)
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
        f"{what} in per cent: the mean over n runs with the smallest and the largest in brackets, "
        "of the last step, without selection. Gap: (row - w/o UDA) / (upper bound - w/o UDA), "
        "where the table's first row without UDA is the lower end; in brackets its 95 % interval "
        "where there is one, else the range of single runs. "
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
        share = results.share_closed(row, network, protocol)
        cells += [_share_text(results.paper_gap_closed(row))] if results.has_paper else []
        cells.append(NOTHING if gap is None else _share_cell(gap, share))
        first = row.statistic(network, protocol, measures[0])
        lines.append((_labelled(results, row), *marks, *cells, str(first.n if first else 0)))
    title = f"{PROTOCOL_NAMES[protocol]} protocol, {network}"
    notes = (*_footnotes(results), _provenance(results))
    return Table(title, header, tuple(lines), notes)


def difference_tables(
    results: SuiteResults, protocol: ProtocolName, network: Network
) -> Iterator[Table]:
    """Yield how far the rows are apart: all with all, and by class each from the row above it."""
    metric = results.suite.task.measures[0]
    where = f"{PROTOCOL_NAMES[protocol]} protocol, {network}"
    rows = results.rows
    cells = [
        [results.difference(row, other, network, protocol, metric) for other in rows[:index]]
        for index, row in enumerate(rows)
    ]
    if not any(found for line in cells for found in line):
        return
    # Rows and columns without any number are left out.
    across = [j for j in range(len(rows)) if any(line[j] for line in cells[j + 1 :])]
    down = [i for i, line in enumerate(cells) if any(line)]
    lines = [
        (rows[i].label, *(_difference_cell(cells[i][j]) if j < i else "" for j in across))
        for i in down
    ]
    header = ("row minus column", *(rows[j].label for j in across))
    note = difference_note([found for line in cells for found in line if found])
    yield Table(f"Differences in {metric}, {where}", header, tuple(lines), (note,))
    pairs = [(rows[i], rows[i - 1]) for i in down if cells[i][i - 1]]
    names = results.suite.task.class_names
    lines = [
        (
            f"{row.label} − {above.label}",
            *(
                _difference_cell(results.difference(row, above, network, protocol, metric, name))
                for name in names
            ),
        )
        for row, above in pairs
    ]
    of_class = results.suite.task.class_measures[0]
    title = f"Differences in {of_class} by class, {where}"
    yield Table(title, ("row minus the row above", *names), tuple(lines), (note,))


def difference_note(found: Sequence[Interval]) -> str:
    """Return what the brackets and marks of differences say."""
    sets, seeds = ([getattr(f, name) for f in found] for name in ("scene_sets", "seeds"))
    alone = " With one seed it is about the images alone." if min(seeds) == 1 else ""
    return (
        f"Points, in brackets the {LEVEL} % interval: paired bootstrap over the images and the "
        f"seeds ({_range(seeds)}) within scene sets ({_range(sets)}), {DRAWS} draws.{alone} "
        f"{BEYOND}: the interval leaves out zero."
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _difference_cell(found: Interval | None) -> str:
    if found is None:
        return NOTHING
    mark = f" {BEYOND}" if found.sign else ""
    return f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f}){mark}"


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


def _share_cell(gap: Statistic, interval: Interval | None) -> str:
    if interval is not None:
        return f"{interval.value:.0f} % ({interval.low:.0f}–{interval.high:.0f})"
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


def markdown_table(table: Table) -> str:
    """Return a table as Markdown."""
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
    "−": "$-$",
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
