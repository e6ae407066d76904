"""Small pieces of HTML shared by the pages; every text that comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from workbench.stores.runs import RunSummary

# Of what opens the target's labels for people to look at.
TARGET_LABELS: Final = "Show the target's labels (never used for training)"


def page_header(question: str, hint: str = "") -> str:
    """Return the one line that says which question a page answers."""
    small = f"<p>{escape(hint)}</p>" if hint else ""
    return f'<div class="wb-page-head"><h2>{escape(question)}</h2>{small}</div>'


def section(title: str, hint: str = "") -> str:
    """Return the heading of a part of the page."""
    small = f"<small>{escape(hint)}</small>" if hint else ""
    return f'<div class="wb-section"><h3>{escape(title)}</h3>{small}</div>'


def empty(title: str, text: str) -> str:
    """Return a friendly note in place of content that is not there yet."""
    return f'<div class="wb-empty"><strong>{escape(title)}</strong><p>{escape(text)}</p></div>'


def gone(run: str) -> str:
    """Return a note in place of a run whose folder is no more."""
    text = "Its folder was deleted, moved or renamed while it was looked at. Choose another run."
    return empty(f"The run {run} is gone", text)


def problem(text: str) -> str:
    """Return a note about something that must be mended."""
    return (
        '<div class="wb-problem" role="alert"><strong>This cannot be shown</strong>'
        f"<p>{escape(text)}</p></div>"
    )


def chip(state: str) -> str:
    """Return a run's state as a coloured word."""
    return f'<span class="wb-chip wb-{escape(state)}">{escape(state)}</span>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return name-value pairs on one line: the setting behind what is on screen."""
    cells = "".join(
        f"<span><small>{escape(name)}</small> <b>{escape(value)}</b></span>"
        for name, value in pairs
        if value
    )
    return f'<div class="wb-facts">{cells}</div>'


def legend(entries: Iterable[tuple[str, str]], *, dashed: Sequence[str] = ()) -> str:
    """Return colour keys; the names in `dashed` get a dashed one."""
    keys = "".join(
        f'<span class="wb-key"><i class="{"wb-dash" if name in dashed else ""}" '
        f'style="--key:{color}"></i>{escape(name)}</span>'
        for name, color in entries
    )
    return f'<div class="wb-legend">{keys}</div>'


def tiles(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Return figures as (name, value, remark) tiles."""
    cells = "".join(
        f'<div class="wb-tile"><small>{escape(name)}</small><b>{escape(value)}</b>'
        f"<em>{escape(remark)}</em></div>"
        for name, value, remark in pairs
    )
    return f'<div class="wb-tiles">{cells}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Return a table; its cells are HTML already."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="wb-scroll"><table class="wb-table {kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def duration(seconds: float | None) -> str:
    """Return a time span in words.

    Example:
        >>> [duration(s) for s in (None, 42, 605, 7300)]
        ['–', '42 s', '10 min 05 s', '2 h 01 min']
    """
    if seconds is None or seconds < 0:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def method_text(summary: RunSummary) -> str:
    """Return a run's method, and how many networks it trains where there are several."""
    parts = [summary.method, f"{len(summary.groups)} groups" if summary.groups else ""]
    return ", ".join(part for part in parts if part)
