"""A suite's report: the paper's table with its numbers and ours, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.evaluation.found import MEASURES, SCORE
from uda4inst.suites import figures
from uda4inst.suites.found import counted_runs, found_of, found_table, write_curves
from uda4inst.suites.intervals import Interval
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import NETWORKS, Network, ProtocolName, RowResult, Statistic, View
from uda4inst.suites.tables import Table, tables
from uda4inst.tasks.instances import INSTANCES

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
    with disk_errors("report", folder, then="write it again"):
        folder.mkdir(parents=True, exist_ok=True)
        charts = figures.write_charts(results, folder, views)
        curves = [path for network in networks for path in write_curves(results, folder, network)]
        texts = {
            "report.md": markdown(results, views, charts=[p.name for p in (*charts, *curves)]),
            "report.csv": csv_text(results, views),
            "report.tex": latex(results, views),
        }
        for name, text in texts.items():
            write_whole(folder / name, text)
    return [*(folder / name for name in texts), *charts, *curves]


def markdown(
    results: SuiteResults,
    views: Sequence[View],
    *,
    charts: Sequence[str] = (),
) -> str:
    """Return the report as Markdown."""
    suite = results.suite
    parts = [f"# {suite.title}", suite.text, results.scale.text, _reading(results)]
    for table in _all_tables(results, views):
        parts += [f"## {table.title}", markdown_table(table), "\n".join(table.notes)]
    parts += [f"![{Path(name).stem}]({name})" for name in charts]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(results: SuiteResults, views: Sequence[View]) -> str:
    """Return the tables as LaTeX; needs booktabs."""
    parts = [
        f"% {results.suite.title}, scale {results.scale.name}. Needs \\usepackage{{booktabs}}.",
        *(_latex_table(table) for table in _all_tables(results, views)),
    ]
    return "\n\n".join(parts) + "\n"


def _all_tables(results: SuiteResults, views: Sequence[View]) -> Iterator[Table]:
    """Yield the tables of every view, and what its networks find."""
    yield from tables(results, views)
    networks: list[Network] = list(dict.fromkeys(network for _, network in views))
    for network in networks:
        found = found_table(results, network)
        if found is not None:
            yield found


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
                of_gap = metric.removesuffix(" gap")
                is_gap = of_gap != metric
                share = results.share_closed(row, network, protocol, of_gap) if is_gap else None
                ends = (share.low, share.high) if share else ("", "")
                shown = "" if paper is None else paper
                writer.writerow((*facts, metric, name, shown, *numbers, row.state, *ends, ""))
            for metric, name, other, found in _differences(results, row, protocol, network):
                ends = (found.low, found.high, other.key)
                numbers = ("", found.value, "", "", found.n, row.state, *ends)
                writer.writerow((*facts, f"{metric} difference", name, *numbers))
            if protocol == "cityscapes":
                for name, counts in found_of(row, network).items():
                    for measure in MEASURES:
                        value = counts.value(measure)
                        n = counted_runs(row, network)
                        numbers = ("", value, "", "", n, row.state, "", "", "")
                        writer.writerow((*facts, f"{measure}, score above {SCORE}", name, *numbers))
    return out.getvalue()


def _differences(
    results: SuiteResults, row: RowResult, protocol: ProtocolName, network: Network
) -> Iterator[tuple[str, str, RowResult, Interval]]:
    """Yield (metric, class, other row, difference) for every row that stands above this one."""
    for other in results.rows[: results.rows.index(row)]:
        for metric in results.suite.task.measures:
            shared = [c for c in row.row.classes if c in other.row.classes]
            chosen = {"all": None, **{c: c for c in shared}}
            if results.suite.rare:
                chosen["+".join(results.suite.rare)] = results.suite.rare
            for name, classes in chosen.items():
                found = results.difference(row, other, network, protocol, metric, classes)
                if found is not None:
                    yield metric, name, other, found


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
    for name, classes in results.suite.task.class_sets.items():
        own = row.statistic(network, protocol, results.suite.task.measures[0], classes)
        yield name, "all", None, own


def _spread_out(found: Statistic) -> tuple[float, float, float, int]:
    return found.mean, *found.spread, found.n


def markdown_table(table: Table) -> str:
    """Return a table as Markdown: a line a row, headings over all columns in bold."""
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
