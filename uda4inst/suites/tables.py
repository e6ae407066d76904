"""A suite's tables as text cells: means, differences between rows, and both by class.

A row that was not run is in every table and says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from uda4inst.evaluation.basis import count_together
from uda4inst.evaluation.protocols import PROTOCOL_NAMES
from uda4inst.evaluation.resampling import RESAMPLES
from uda4inst.suites.definition import BENCHMARKS
from uda4inst.suites.intervals import LEVEL, Interval
from uda4inst.suites.paper import PaperNumbers
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import APART, Network, ProtocolName, RowResult, Statistic, View

NOT_PUBLISHED: Final = "not published"
NOTHING: Final = "–"
BEYOND: Final = "*"
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


def tables(results: SuiteResults, views: Sequence[View]) -> Iterator[Table]:
    """Yield the tables of every protocol and network: means, differences, then both by class."""
    for protocol, network in views:
        yield _means_table(results, protocol, network)
        yield from difference_tables(results, protocol, network)
        for metric in results.suite.task.measures:
            table = _class_table(results, protocol, network, metric)
            if table:
                yield table
        parts = parts_table(results, protocol, network)
        if parts:
            yield parts


def parts_table(results: SuiteResults, protocol: ProtocolName, network: Network) -> Table | None:
    """Return the headline's means over parts of the classes; None where there are none."""
    task = results.suite.task
    sets = task.class_sets.values()
    means = [
        [row.statistic(network, protocol, task.measures[0], classes) for classes in sets]
        for row in results.rows
    ]
    if not any(found for line in means for found in line):
        return None
    lines = [
        (named(results, row, network), *(_cell(found, row) for found in line))
        for row, line in zip(results.rows, means, strict=True)
    ]
    notes = [
        f"{name}: the mean of {task.class_measures[0]} over {', '.join(classes)}."
        for name, classes in task.class_sets.items()
    ]
    title = (
        f"{task.measures[0]} over parts of the classes, {how_judged(results, protocol, network)}"
    )
    header = ("", *task.class_sets)
    notes += _footnotes(results)
    return Table(title, header, tuple(lines), (*notes, provenance(results)))


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
        first = row.statistic(network, protocol, measures[0])
        cells.append(_without(row, first) if gap is None else _share_cell(gap, share))
        label = _labelled(results, row, network)
        lines.append((label, *marks, *cells, str(first.n if first else 0)))
    title = how_judged(results, protocol, network)
    notes = (*_footnotes(results), provenance(results))
    return Table(title, header, tuple(lines), notes)


def difference_tables(
    results: SuiteResults, protocol: ProtocolName, network: Network
) -> Iterator[Table]:
    """Yield how far the rows are apart: all with all, and by class each from the row above it."""
    metric = results.suite.task.measures[0]
    where = how_judged(results, protocol, network)
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
        (
            named(results, rows[i], network),
            *(_difference_cell(cells[i][j], results) if j < i else "" for j in across),
        )
        for i in down
    ]
    header = ("row minus column", *(named(results, rows[j], network) for j in across))
    note = difference_note([found for line in cells for found in line if found])
    note += f" Judged on {_listed(run.data for row in rows for run in row.runs)}."
    left_out = [named(results, row) for i, row in enumerate(rows) if i not in {*across, *down}]
    if left_out:
        note += (
            f" Not compared, as not run or not judged on the same images: {', '.join(left_out)}."
        )
    yield Table(f"Differences in {metric}, {where}", header, tuple(lines), (note,))
    pairs = [(rows[i], next(rows[j] for j in reversed(range(i)) if cells[i][j])) for i in down]
    names = results.suite.class_names
    rare = results.suite.rare
    lines = [
        (
            f"{named(results, row, network)} − {named(results, above, network)}",
            *(
                _difference_cell(
                    results.difference(row, above, network, protocol, metric, chosen), results
                )
                for chosen in (*([rare] if rare else []), *names)
            ),
        )
        for row, above in pairs
    ]
    of_class = results.suite.task.class_measures[0]
    title = f"Differences in {of_class} by class, {where}"
    header = ("row minus the next above that was run",)
    header += (f"mean of {' and '.join(rare)}",) if rare else ()
    header += names
    yield Table(title, header, tuple(lines), (note,))


def difference_note(found: Sequence[Interval]) -> str:
    """Return what the brackets and marks of differences say."""
    sets, seeds = ([getattr(f, name) for f in found] for name in ("scene_sets", "seeds"))
    alone = " With one seed it is about the images alone." if min(seeds) == 1 else ""
    return (
        f"Points, in brackets the {LEVEL} % interval: paired bootstrap over the images and the "
        f"seeds ({_range(seeds)}) within scene sets ({_range(sets)}), {RESAMPLES} resamples."
        f"{alone} {BEYOND}: the interval leaves out zero."
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _difference_cell(found: Interval | None, results: SuiteResults) -> str:
    if found is None:
        return NOTHING
    mark = f" {BEYOND}" if found.sign and not results.scale.rehearsal else ""
    return f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f}){mark}"


def _class_table(
    results: SuiteResults, protocol: ProtocolName, network: Network, metric: str
) -> Table | None:
    """Return paper and ours by class; None where neither has any."""
    lines: list[tuple[str, ...]] = []
    is_empty = True
    for row in results.rows:
        lines += _benchmark_heading(results, row)
        cells = [_labelled(results, row, network)]
        for name in results.suite.class_names:
            paper = row.paper.value(metric, name) if row.paper else None
            found = row.statistic(network, protocol, metric, name)
            is_empty &= paper is None and found is None
            ours = _without(row, found) if found is None else f"{found.mean:.1f}"
            theirs = NOTHING if paper is None else f"{paper:.1f}"
            cells.append(f"{theirs} / {ours}" if results.has_paper else ours)
        lines.append(tuple(cells))
    if is_empty:
        return None
    of_class = results.suite.task.class_measures[results.suite.task.measures.index(metric)]
    title = f"{of_class} by class, {how_judged(results, protocol, network)}"
    title += " (paper / ours)" if results.has_paper else ""
    notes = (*_footnotes(results), provenance(results))
    return Table(title, ("", *results.suite.class_names), tuple(lines), notes)


def _benchmark_heading(results: SuiteResults, row: RowResult) -> list[tuple[str, ...]]:
    """Return a heading where a table of several benchmarks comes to another."""
    if not _has_several_benchmarks(results):
        return []
    first = next(other for other in results.rows if other.row.benchmark == row.row.benchmark)
    return [(BENCHMARKS[row.row.benchmark],)] if row is first else []


def named(results: SuiteResults, row: RowResult, network: Network | None = None) -> str:
    """Return a row's label, in a table of several benchmarks with its own.

    Args:
        results: of the row.
        row: what is named.
        network: whose numbers it stands among; None where they are of no network.
    """
    label = row.label if network is None else row.label_for(network)
    several = _has_several_benchmarks(results)
    return f"{label} ({BENCHMARKS[row.row.benchmark]})" if several else label


def _has_several_benchmarks(results: SuiteResults) -> bool:
    return len({row.row.benchmark for row in results.rows}) > 1


def _labelled(results: SuiteResults, row: RowResult, network: Network) -> str:
    """Return a row's label with its footnote marks."""
    notes = list(results.suite.footnotes)
    marks = ",".join(_MARKS[notes.index(key)] for key in row.row.footnotes)
    label = row.label_for(network)
    return f"{label} [{marks}]" if marks else label


def how_judged(results: SuiteResults, protocol: ProtocolName, network: str) -> str:
    """Return protocol, network, step and images of a view's numbers, as titles say them."""
    counts = count_together([run.basis for row in results.rows for run in row.finished])
    parts = [f"{PROTOCOL_NAMES[protocol]} protocol", network, "last step", counts]
    return ", ".join(part for part in parts if part)


def _footnotes(results: SuiteResults) -> list[str]:
    notes = results.suite.footnotes.values()
    marked = [f"[{mark}] {text}" for mark, text in zip(_MARKS, notes, strict=False)]
    return [*marked, *_warnings(results)]


def _warnings(results: SuiteResults) -> list[str]:
    """Return why numbers of a table are not to be held to each other; nothing where they are."""
    lines: list[str] = []
    apart = [row for row in results.rows if row.is_apart]
    if apart:
        on = "; ".join(f"{row.row.label}: {_listed(r.data for r in row.finished)}" for row in apart)
        lines.append(
            f"{APART} judged on other images than the rows beside it, so neither a difference nor "
            f"a gap is taken between them ({on}). Evaluate the runs alike to compare them."
        )
    if any(not run.basis.names for row in results.rows for run in row.finished):
        lines.append(
            "Which images runs were judged on is not recorded in full, so they are compared no "
            "further. Evaluate them again to compare them."
        )
    if results.scale.rehearsal:
        lines.append("A rehearsal: no gap is said, and no difference is marked.")
    return lines


def _without(row: RowResult, found: Statistic | None) -> str:
    """Return what stands in place of a number: in short why there is none."""
    is_there = found is not None or row.state == "finished"
    return NOTHING if is_there else row.state.partition(":")[0]


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


def provenance(results: SuiteResults) -> str:
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
    command = shlex.join(map(str, results.description.get("command", ())))
    pairs, product = len(results.cells), max(len(results.scenes), 1) * len(results.seeds)
    some = f" ({pairs} of its {product} pairs of scene set and seed)" if pairs < product else ""
    facts = {
        "Data": _listed(run.data for run in runs),
        "commit": _listed(run.commit for run in runs),
        "command": f"`{command}`{some}" if command else "",
        "date": " to ".join(dict.fromkeys((times[0][:10], times[-1][:10]))) if times else "",
        "hardware": _listed(run.hardware for run in runs),
        "configurations": ", ".join(hashes),
    }
    return "; ".join(f"{name}: {text}" for name, text in facts.items() if text) + "."


def _listed(values: Iterator[str]) -> str:
    return " and ".join(dict.fromkeys(value for value in values if value))
