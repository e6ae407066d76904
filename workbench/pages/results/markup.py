"""What the Results page says in words and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from uda4inst.evaluation.protocols import PROTOCOL_NAMES
from uda4inst.suites.results import SuiteResults
from uda4inst.suites.rows import PROTOCOLS, RowResult, Statistic, View
from uda4inst.suites.tables import BEYOND, NOT_PUBLISHED, NOTHING, Table
from workbench.stores.suites import SuiteRun
from workbench.ui import markup
from workbench.ui.entries import entry

_STATE_ORDER: Final = (
    "finished",
    "running",
    "starting",
    "queued",
    "paused",
    "stopped",
    "failed",
    "dead",
    "incomplete",
    "blocked",
    "missing",
)
_NAMED_MISSING: Final = 6
_NOTE_LETTERS: Final = 240
_PAPERS_VIEW: Final = ("cityscapes", "student")
_FOOTNOTE: Final = re.compile(r"(?P<text>.*) \[(?P<marks>[a-z](,[a-z])*)\]")


def suite_facts(results: SuiteResults, stamp: str) -> str:
    """Return the suite in one line, and what its numbers are worth.

    Args:
        results: of the suite.
        stamp: of the files they rest on; not shown.
    """
    pairs = [
        ("scale", results.scale.name),
        ("scene sets", ", ".join(map(str, results.scenes))),
        ("seeds", ", ".join(map(str, results.seeds))),
        ("command", " ".join(map(str, results.description.get("command", ())))),
    ]
    return (
        f'<div data-stamp="{escape(stamp)}" class="wb-results-head">'
        f"<h3>{escape(results.suite.title)}</h3>"
        f"<p>{escape(results.suite.text)}</p>{markup.facts(pairs)}"
        f'<div class="wb-quiet">{escape(results.scale.text)}</div></div>'
    )


def run_states(runs: Sequence[SuiteRun]) -> str:
    """Return how many runs are in which state, and those that are neither done nor missing."""
    counts = Counter(run.state for run in runs)
    done = counts["finished"]
    words = "".join(
        f'<span class="wb-chip wb-{state}">{counts[state]} {state}</span>'
        for state in _STATE_ORDER
        if counts[state]
    )
    bar = "wb-progress wb-finished" if done == len(runs) else "wb-progress"
    width = f"{100 * done / max(len(runs), 1):.0f}%"
    rows = [_run_row(run) for run in runs if run.state not in ("finished", "missing")]
    table = markup.table(["run", "state", "steps", ""], rows, kind="wb-suite-runs") if rows else ""
    return (
        f'<div class="wb-card-head"><b>{done} of {len(runs)} runs</b>{words}</div>'
        f'<div class="{bar}"><i style="width:{width}"></i></div>{table}{_missing(runs)}'
    )


def _run_row(run: SuiteRun) -> list[str]:
    steps = f"{run.step:,} of {run.steps:,}" if run.steps else ""
    return [escape(run.name), markup.chip(run.state), steps, escape(run.note[:_NOTE_LETTERS])]


def _missing(runs: Sequence[SuiteRun]) -> str:
    names = [run.name for run in runs if run.state == "missing"]
    if not names:
        return ""
    rest = len(names) - _NAMED_MISSING
    listed = ", ".join(names[:_NAMED_MISSING]) + (f" and {rest} more" if rest > 0 else "")
    return f'<div class="wb-quiet">missing: {escape(listed)}</div>'


def means_table(table: Table, results: SuiteResults, view: View) -> str:
    """Return the paper's table with its numbers and ours.

    Args:
        table: of the report, with the means.
        results: it was made of.
        view: protocol and network of its numbers.
    """
    columns = _columns(table, results)
    head = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in columns)
    body = ""
    rows = iter(results.rows)
    for cells in table.rows:
        if len(cells) == 1:
            body += _heading(cells[0], len(columns))
            continue
        body += _row(cells, columns, next(rows), results, view)
    return _scrolled(head, body)


def _columns(table: Table, results: SuiteResults) -> list[tuple[str, str]]:
    """Return name and CSS class of the columns."""
    marks = len(results.suite.columns)
    kinds = ["wb-row-label", *(["wb-mark-cell"] * marks)]
    kinds += ["wb-num"] * (len(table.header) - len(kinds))
    named = list(zip(("", *table.header[1:]), kinds, strict=True))
    ours = (*results.suite.task.measures, "gap")
    return [(name, f"{kind} wb-ours" if name in ours else kind) for name, kind in named]


def _row(
    cells: Sequence[str],
    columns: Sequence[tuple[str, str]],
    row: RowResult,
    results: SuiteResults,
    view: View,
) -> str:
    """Return a line; one without numbers of ours is quiet."""
    protocol, network = view
    known = {metric: row.statistic(network, protocol, metric) for metric in row.task.measures}
    has_any = any(known.values())
    known = {**known, "gap": results.gap_closed(row, network, protocol)}
    texts = [_label(cells[0])]
    for cell, (name, _) in zip(cells[1:], columns[1:], strict=True):
        if known.get(name) is not None:
            texts.append(_spread(cell, known[name]))
        elif name == "n":
            texts.append(_runs(cell, len(results.cells)))
        elif name == row.task.measures[1] and not has_any:
            texts.append("")  # the reason stands under AP
        else:
            texts.append(_quiet(cell))
    kind = " ".join(
        word
        for word, applies in (
            ("wb-not-run", not has_any),
            ("wb-extra", row.row.is_extra),
        )
        if applies
    )
    tds = "".join(
        f'<td class="{css}">{text}</td>' for text, (_, css) in zip(texts, columns, strict=True)
    )
    return f'<tr class="{kind}">{tds}</tr>'


def differences(tables: Sequence[Table]) -> str:
    """Return how far the rows are apart; by class, as an entry that opens on a click.

    Args:
        tables: of the report: all rows with all, then by class; none where runs have no resamples.
    """
    if not tables:
        return ""
    apart, by_class = tables
    head = "".join(
        f'<th class="{"wb-num" if i else "wb-row-label"}">{escape(name)}</th>'
        for i, name in enumerate(apart.header)
    )
    body = "".join(
        f'<tr><td class="wb-row-label">{escape(cells[0])}</td>'
        + "".join(f'<td class="wb-num">{_difference(cell)}</td>' for cell in cells[1:])
        + "</tr>"
        for cells in apart.rows
    )
    return (
        f"<h4>{escape(apart.title)}</h4>{_scrolled(head, body)}"
        f"{_under(apart.notes)}{class_table(by_class, _difference)}"
    )


def _difference(cell: str) -> str:
    """Return a difference: bold where its interval leaves out zero, quiet where it does not."""
    value, _, interval = cell.partition(" (")
    if not interval:
        return f'<span class="wb-faint">{escape(cell)}</span>'
    if interval.endswith(BEYOND):
        return f"<b>{escape(value)}</b> <small>({escape(interval)}</small>"
    return f'<span class="wb-faint">{escape(value)} <small>({escape(interval)}</small></span>'


def noted_table(table: Table | None) -> str:
    """Return a table by class as an entry that opens on a click, its notes below; "" without."""
    return "" if table is None else class_table(table, escape, notes=table.notes)


def parts_table(table: Table | None) -> str:
    """Return means over parts of the classes, and which these are; "" without any."""
    if table is None:
        return ""
    *parts, _ = table.notes  # the last says where numbers come from, as under the table above
    return f"<h4>{escape(table.title)}</h4>{_plain(table, _ours)}{_under(parts)}"


def _ours(cell: str) -> str:
    """Return a mean in bold with its spread, or what is there in its place."""
    value, _, spread = cell.partition(" (")
    low, _, high = spread.rstrip(")").partition("–")
    if not spread:
        return _quiet(cell)
    return f"<b>{escape(value)}</b>" + (f" <small>({escape(spread)}</small>" if low != high else "")


def class_table(
    table: Table, shown: Callable[[str], str] | None = None, *, notes: Sequence[str] = ()
) -> str:
    """Return numbers by class as an entry that opens on a click.

    Args:
        table: of the report.
        shown: makes HTML of a cell; by default the paper's number and ours.
        notes: under it; those of the whole report stand elsewhere.
    """
    name, *_ = table.title.split(",")  # what follows changes with the runs and with what is chosen
    return entry(name, table.title, _plain(table, shown or _pair) + _under(notes))


def _plain(table: Table, shown: Callable[[str], str]) -> str:
    """Return a table whose cells are all made HTML alike."""
    head = "".join(
        f'<th class="{"wb-num" if i else "wb-row-label"}">{escape(name)}</th>'
        for i, name in enumerate(table.header)
    )
    body = ""
    for cells in table.rows:
        if len(cells) == 1:
            body += _heading(cells[0], len(table.header))
            continue
        numbers = "".join(f'<td class="wb-num">{shown(cell)}</td>' for cell in cells[1:])
        body += f'<tr><td class="wb-row-label">{_label(cells[0])}</td>{numbers}</tr>'
    return _scrolled(head, body)


def _under(notes: Sequence[str]) -> str:
    """Return lines under a table."""
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f'<div class="wb-notes">{lines}</div>' if lines else ""


def footnotes(notes: Sequence[str], view: View) -> str:
    """Return the lines under the table; where its numbers come from opens on a click.

    Args:
        notes: of the report's table; the last is the provenance.
        view: protocol and network on screen.
    """
    *marked, provenance = notes
    lines = list(marked)
    if view != _PAPERS_VIEW and view[0] in PROTOCOLS:
        shown = f"{PROTOCOL_NAMES[view[0]]} protocol, {view[1]}"
        lines.append(
            "The paper's numbers are its student's by the Cityscapes protocol; ours are: "
            f"{shown}. Rows without a teacher show their student."
        )
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    origin = entry("origin", "Where our numbers come from", f"<p>{escape(provenance)}</p>")
    return f'<div class="wb-notes">{paragraphs}{origin}</div>'


def _scrolled(head: str, body: str) -> str:
    return (
        f'<div class="wb-scroll"><table class="wb-table wb-results"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _heading(text: str, width: int) -> str:
    return f'<tr class="wb-benchmark"><td colspan="{width}">{escape(text)}</td></tr>'


def _label(cell: str) -> str:
    """Return a row's label, the marks of its footnotes raised."""
    found = _FOOTNOTE.fullmatch(cell)
    if found is None:
        return escape(cell)
    return f"{escape(found['text'])} <sup>{escape(found['marks'])}</sup>"


def _spread(cell: str, found: Statistic | None) -> str:
    """Return a mean in bold, and beside it smallest to largest where there are several seeds."""
    value, _, spread = cell.partition(" (")
    several = found is not None and found.n > 1
    return f"<b>{escape(value)}</b>" + (f" <small>({escape(spread)}</small>" if several else "")


def _runs(cell: str, wanted: int) -> str:
    if cell == "0":
        return f'<span class="wb-faint">{NOTHING}</span>'
    return cell if int(cell) >= wanted else f"{cell} <small>of {wanted}</small>"


def _quiet(cell: str) -> str:
    """Return a cell; words in place of a number are quiet."""
    is_word = cell in (NOTHING, NOT_PUBLISHED) or not cell[:1].isdigit()
    if not cell or not is_word or cell == "✓":
        return escape(cell)
    return f'<span class="wb-faint">{escape(cell)}</span>'


def _pair(cell: str) -> str:
    paper, slash, ours = cell.partition(" / ")
    if not slash:
        return f"<b>{escape(cell)}</b>"
    return f'<span class="wb-faint">{escape(paper)} /</span> <b>{escape(ours)}</b>'
