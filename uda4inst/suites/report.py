"""A suite's report: the paper's table with its numbers and ours, as Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.suites import figures
from uda4inst.suites.followed import followed_table
from uda4inst.suites.found import found_table
from uda4inst.suites.found_curves import write_curves
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import NETWORKS, Network, ProtocolName, View
from uda4inst.suites.tables import Table, tables
from uda4inst.tasks.instances import INSTANCES


def write_report(
    results: SuiteResults,
    folder: Path,
    *,
    networks: Sequence[Network] = NETWORKS,
    protocols: Sequence[ProtocolName] | None = None,
) -> list[Path]:
    """Write report.md, report.csv, report.tex, charts and curves; return their paths.

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
        pictures = [path.name for path in (*charts, *curves) if path.suffix == ".png"]
        texts = {
            "report.md": markdown(results, views, charts=pictures),
            "report.csv": csv_text(results, views),
            "report.tex": latex(results, views),
        }
    return [*write_texts(folder, texts), *charts, *curves]


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files of a report, each whole; return their paths.

    Args:
        folder: made where it is missing.
        texts: by name of the file.

    Raises:
        UserError: the folder cannot be written to.
    """
    with disk_errors("report", folder, then="write it again"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
    return [folder / name for name in texts]


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
    """Yield the tables of every view, what its networks find, and what their teachers gave."""
    yield from tables(results, views)
    networks: list[Network] = list(dict.fromkeys(network for _, network in views))
    for network in networks:
        found = found_table(results, network)
        if found is not None:
            yield found
    followed = followed_table(results)
    if followed is not None:
        yield followed


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
        f"{paper}Among a teacher's numbers, rows without a teacher show their student's and say so."
    )


def _listed_measures(results: SuiteResults) -> str:
    return " and ".join(results.suite.task.measures)


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
