"""What the pages say about sessions of FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from workbench.jobs.inspections import FiftyOneSession, SavedView
from workbench.ui import markup
from workbench.ui.entries import entry


def session_status(session: FiftyOneSession, picked: Sequence[str] = (), note: str = "") -> str:
    """Return what has become of a session: how far it is, where it is, or why it failed.

    Args:
        session: that of what a page shows.
        picked: names of saved views that show what is picked on the page.
        note: what the session leaves out.
    """
    if session.state == "failed":
        return markup.problem(session.error)
    left_out = f'<p class="wb-fiftyone-note">{escape(note)}</p>' if note else ""
    if session.state == "open":
        return f'<div class="wb-fiftyone-open">{_links(session, picked)}</div>{left_out}'
    unknown, width = " wb-unknown", ""
    if session.total:
        unknown, width = "", f' style="width:{100 * session.done / session.total:.0f}%"'
    return (
        f'<div class="wb-fiftyone-build"><span>{escape(progress_text(session))}</span>'
        f'<div class="wb-progress wb-running{unknown}"><i{width}></i>'
        f"</div></div>{left_out}"
    )


def progress_text(session: FiftyOneSession) -> str:
    """Return how far a session is, in words."""
    if session.state != "building":
        return session.state
    if not session.total:
        return "FiftyOne is starting, which takes about 20 seconds …"
    if session.done == session.total:
        return f"{session.doing}: all {session.total:,} done; what follows takes a moment …"
    return f"{session.doing}: {session.done:,} of {session.total:,}"


def session_table(sessions: Sequence[FiftyOneSession]) -> str:
    """Return the list of sessions; each has a button that closes it."""
    head = "".join(f"<th>{name}</th>" for name in ("session", "state", "since", "address", ""))
    rows = "".join(_row(session) for session in sessions)
    return (
        '<div class="wb-scroll"><table class="wb-table wb-fiftyone-list">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(session: FiftyOneSession) -> str:
    since = datetime.fromtimestamp(session.since).strftime("%H:%M")
    place = ""
    if session.state == "open":
        place = _link(session.address, session.address.partition("/datasets/")[0])
    elif session.state == "failed":
        place = escape(session.error.partition("\n")[0])
    elif session.state == "building":
        place = escape(progress_text(session))
    action = "Remove" if session.state == "failed" else "Close"
    button = (
        f'<button type="button" class="wb-link" data-close="{session.number}">{action}</button>'
    )
    cells = (
        escape(session.inspection.title),
        markup.chip(session.state),
        since,
        place,
        "" if session.state == "closing" else button,
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _links(session: FiftyOneSession, picked: Sequence[str]) -> str:
    """Return the links to a session: to what is picked, the whole, and each saved view.

    FiftyOne within the page shows what the first of them does; it is loaded when it is unfolded.
    Other views of the evaluations that are picked of come before those of others.
    """
    there = {view.name: view for view in session.views if view.images}
    first = [there[name] for name in picked if name in there]
    keys = list(dict.fromkeys(key for key in map(_evaluation_of, picked) if key))
    rest = [view for view in there.values() if view not in first]
    rest.sort(key=lambda view: _place(_evaluation_of(view.name), keys))
    whole = f"{_link(session.address, 'Open FiftyOne')} <small>{session.images:,} images</small>"
    main = "".join(f"<span>{text}</span>" for text in (*map(_view, first), whole))
    frame = _frame(first[0].address if first else session.address)
    return f'<div class="wb-fiftyone-links wb-fiftyone-main">{main}</div>{_views(rest)}{frame}'


def _evaluation_of(view: str) -> str:
    """Return the evaluation that the name of a saved view begins with; empty where none does.

    Example:
        >>> _evaluation_of("ap_demo_teacher_40: misses of car"), _evaluation_of("class car")
        ('ap_demo_teacher_40', '')
    """
    key, found, _ = view.partition(": ")
    return key if found else ""


def _place(key: str, keys: Sequence[str]) -> int:
    """Return the place of an evaluation among those that come first; all others share the last."""
    return keys.index(key) if key in keys else len(keys)


def _views(views: Sequence[SavedView]) -> str:
    """Return links to saved views, those of an evaluation on lines of their own."""
    if not views:
        return ""
    groups: dict[str, list[str]] = {}
    for view in views:
        key = _evaluation_of(view.name)
        words = view.name.removeprefix(f"{key}: ")
        groups.setdefault(key, []).append(_view(view, words))
    lines = "".join(
        '<div class="wb-fiftyone-links">'
        + (f"<small>{escape(key)}:</small>" if key else "")
        + "".join(f"<span>{link}</span>" for link in links)
        + "</div>"
        for key, links in groups.items()
    )
    summary = f"Saved views ({len(views)})"
    return entry("views", summary, lines, is_open=True, kind="wb-fiftyone-views")


def _view(view: SavedView, words: str = "") -> str:
    return f"{_link(view.address, words or view.name)} <small>{view.images:,}</small>"


def _link(address: str, text: str) -> str:
    if not _is_page(address):
        return escape(text)
    return (
        f'<a class="wb-fiftyone-link" href="{escape(address)}" target="_blank" rel="noopener">'
        f"{escape(text)}</a>"
    )


def _is_page(address: str) -> bool:
    """Whether an address that a session told leads to a page and runs nothing in this one."""
    return address.startswith(("http://", "https://"))


def _frame(address: str) -> str:
    if not _is_page(address):
        return ""
    frame = f'<iframe src="{escape(address)}" loading="lazy" title="FiftyOne"></iframe>'
    return entry("frame", "Show it here", frame, kind="wb-fiftyone-frame")
