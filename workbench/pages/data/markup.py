"""What the Data page says in words and bars: the report of a check, the shares of classes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from uda4inst.classes import CATEGORY_GROUPS, NUM_THINGS
from workbench.jobs.data_checks import Check
from workbench.stores.class_shares import Shares
from workbench.ui import markup
from workbench.ui.palette import class_css

_SHOWN_OFFENDERS: Final = 3
_MESSAGE_LETTERS: Final = 240


def progress_bar(share: float | None, text: str) -> str:
    """Return a bar and what it stands for; an unknown share moves to and fro."""
    width = "" if share is None else f' style="width:{100 * share:.0f}%"'
    kind = "wb-progress wb-unknown" if share is None else "wb-progress"
    return f'<div class="{kind}"><i{width}></i></div><div class="wb-quiet">{escape(text)}</div>'


def check_report(check: Check, *, now: float | None = None) -> str:
    """Return what is known of a check.

    Args:
        check: of a data set.
        now: unix seconds, for how long it has run.
    """
    if check.state == "none":
        return '<div class="wb-quiet">not checked here yet</div>'
    if check.state == "running":
        share = "" if check.share is None else f"{100 * check.share:.0f} % of the files, "
        seconds = (time.time() if now is None else now) - check.started
        return progress_bar(check.share, f"{share}{markup.duration(seconds)} so far")
    if check.state == "stopped":
        return '<div class="wb-quiet">The check was stopped before its end.</div>'
    if check.state == "failed":
        title = "<strong>The check ended without a report</strong>"
        return f'<div class="wb-problem" role="alert">{title}{_lines(check.error)}</div>'
    return _finished(check.report, time.strftime("%d %b %Y, %H:%M", time.localtime(check.ended)))


def _finished(report: Mapping[str, object], when: str) -> str:
    listed, images = report.get("findings"), report.get("images")
    findings = [f for f in listed if isinstance(f, Mapping)] if isinstance(listed, list) else []
    errors = [f for f in findings if f.get("severity", "error") == "error"]
    chip = '<span class="wb-chip wb-finished">sound</span>'
    if errors:
        faults = "1 fault" if len(errors) == 1 else f"{len(errors):,} faults"
        chip = f'<span class="wb-chip wb-failed">{faults}</span>'
    notes = len(findings) - len(errors)
    words = [f"{images if isinstance(images, int) else 0:,} images"]
    words += [f"{notes:,} notes" if notes != 1 else "1 note"] if notes else []
    words.append(f"checked {when}")
    head = f'<div class="wb-card-head">{chip}<span>{escape(" · ".join(words))}</span></div>'
    return head + (_kinds(findings) if findings else "")


def _kinds(findings: Sequence[Mapping[str, object]]) -> str:
    """Return the kinds of findings, errors first, each with its count and first offenders."""
    groups: dict[tuple[bool, str], list[Mapping[str, object]]] = {}
    for finding in findings:
        is_note = finding.get("severity", "error") != "error"
        groups.setdefault((is_note, str(finding["kind"])), []).append(finding)
    rows = []
    for (is_note, kind), found in sorted(groups.items()):
        name = escape(kind.replace("_", " ")) + (" <small>(note)</small>" if is_note else "")
        rows.append([name, f"{len(found):,}", _offenders(found)])
    return markup.table(["kind", "count", "first of them"], rows, kind="wb-findings")


def _offenders(found: Sequence[Mapping[str, object]]) -> str:
    """Return the first few with what is wrong with them; what was just said is not repeated."""
    shown, last = "", ""
    for finding in found[:_SHOWN_OFFENDERS]:
        message = str(finding["message"])[:_MESSAGE_LETTERS]
        said = "" if message == last else escape(message)
        shown += f"<div><b>{escape(str(finding['path']))}</b> {said}</div>"
        last = message
    rest = len(found) - _SHOWN_OFFENDERS
    return shown + (f'<div class="wb-quiet">and {rest:,} more</div>' if rest > 0 else "")


def class_bars(sides: Mapping[str, Shares | None]) -> str:
    """Return the classes' shares of the instances of each side as bars, by category group.

    Args:
        sides: how far the counting is, by name of the side; None for a side without labels.
    """
    waiting = "".join(_waiting(name, shares) for name, shares in sides.items())
    done = {n: s.statistics for n, s in sides.items() if s is not None and s.statistics is not None}
    if not done:
        return waiting or '<div class="wb-quiet">no labels to count</div>'
    known = {n: {c.name: c for c in found.classes} for n, found in done.items()}
    rare = {n: found.rare_classes() for n, found in done.items()}
    own = dict.fromkeys(c.name for found in done.values() for c in found.classes[NUM_THINGS:])
    groups = {**CATEGORY_GROUPS, **({"own": tuple(own)} if own else {})}
    widest = max((c.share for by_name in known.values() for c in by_name.values()), default=1) or 1

    def bar(side: str, group: str, name: str) -> str:
        entry = known[side].get(name)
        if entry is None:  # an own class of the other side's
            return ""
        mark = ""
        if rare[side].get(group) == name:
            mark = '<span class="wb-chip wb-asked">rare</span>'
        value = f"{100 * entry.share:.1f} % <small>{entry.instances:,}</small>"
        if not entry.instances:
            value = "none" if entry.can_occur else "not in this format"
        width = max(100 * entry.share / widest, 0.4) if entry.instances else 0
        return (
            f'<div class="wb-share"><small>{escape(side)}</small><span class="wb-share-track">'
            f'<i style="width:{width:.1f}%;--key:{class_css(name, tuple(known[side]))}"></i></span>'
            f"<span>{value}{mark}</span></div>"
        )

    blocks = "".join(
        f'<div class="wb-share-group"><h4>{escape(group.replace("_", "-"))}</h4>'
        + "".join(
            f'<div class="wb-share-row"><span>{escape(name)}</span>'
            f"<div>{''.join(bar(side, group, name) for side in done)}</div></div>"
            for name in names
        )
        + "</div>"
        for group, names in groups.items()
    )
    return f'<div class="wb-share-groups">{blocks}</div>{waiting}'


def shares_basis(sides: Mapping[str, Shares | None], limit: int) -> str:
    """Return what the bars were counted on."""
    pairs = []
    for name, shares in sides.items():
        if shares is None or shares.statistics is None:
            continue
        found = shares.statistics
        instances = sum(entry.instances for entry in found.classes)
        whose = f"{found.images:,} images (at most {limit}, spread evenly)"
        pairs.append((name, f"{found.name} {found.split}: {instances:,} instances in {whose}"))
    return markup.facts(pairs)


def _waiting(name: str, shares: Shares | None) -> str:
    if shares is None:
        return ""
    if shares.state == "counting":
        share = shares.done / shares.total if shares.total else None
        amount = f"{shares.done} of {shares.total} images" if shares.total else "begins"
        return progress_bar(share, f"counting the {name}: {amount}")
    if shares.state == "failed":
        title = f"<strong>Classes of the {escape(name)} cannot be counted</strong>"
        return f'<div class="wb-problem" role="alert">{title}{_lines(shares.error)}</div>'
    return ""


def _lines(text: str) -> str:
    return f"<p>{escape(text).replace(chr(10), '<br>')}</p>"
