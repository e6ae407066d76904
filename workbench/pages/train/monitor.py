"""What the Train page says about runs: table, progress, curves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from uda4inst.classes import THING_NAMES
from uda4inst.evaluation.basis import said
from uda4inst.evaluation.protocols import PROTOCOL_NAMES
from uda4inst.run_folder.layout import RUN_NAME
from uda4inst.run_folder.status import Status
from workbench.stores.groups import group_text
from workbench.stores.metrics import Series
from workbench.stores.runs import ModuleStatus, RunSummary
from workbench.ui import markup, plots
from workbench.ui.palette import LINE_COLORS, class_css

# A live trainer signs every 2 s; say so when it has not for a while.
SILENT_SECONDS = 15.0
_METHOD_LETTERS, _DATE_LETTERS = 80, 30
_NOT_COMPARABLE = (
    "These scores are not all by one protocol over the same images, so they are no ranking: see "
    "the column judged. The Error maps page compares two runs on the images they share."
)
_MEASURE_HEAD = ' class="wb-num" title="newest evaluation, %"'


def run_table(summaries: Sequence[RunSummary], *, chosen: str | None) -> str:
    """Return the table of runs; a row is chosen by clicking its name."""
    if not summaries:
        return markup.empty(
            "No run yet", "Choose a preset on the left and press Start; the run appears here."
        )
    names = sorted({summary.measure for summary in summaries})
    measures = " / ".join(names)
    head = "".join(
        f"<th{attributes}>{name}</th>"
        for name, attributes in (
            ("run", ""),
            ("state", ""),
            ("method", ""),
            ("step", ' class="wb-num"'),
            (f"{measures} student", _MEASURE_HEAD),
            (f"{measures} teacher", _MEASURE_HEAD),
            ("judged", ' title="protocol, step and images of the newest evaluation"'),
            ("started", ""),
        )
    )
    rows = "".join(
        _run_row(s, chosen=s.name == chosen, unit=s.measure if len(names) > 1 else "")
        for s in summaries
    )
    return (
        '<div class="wb-scroll wb-runs"><table class="wb-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{_unequal(summaries)}"
    )


def run_card(summary: RunSummary, requests: Sequence[str], *, now: float | None = None) -> str:
    """Return progress, times and, where there is one, the error of a run."""
    status = summary.status
    progress = _progress(status, of_all=bool(summary.groups)) + _scores(summary)
    return (
        f'<div class="wb-card"><div class="wb-card-head"><h3>{escape(summary.name)}</h3>'
        f"{markup.chip(status.state)}{_requests(requests)}</div>"
        f"{progress}{_note(status, now=time.time() if now is None else now)}</div>"
    )


def group_table(
    networks: Sequence[ModuleStatus], *, chosen: str | None, remarks: Sequence[str] = ()
) -> str:
    """Return the category groups of a run; a row is chosen by clicking its name.

    Args:
        networks: of the groups, in the order they train; none for a run of one network.
        chosen: the group looked at.
        remarks: sentences below the table.
    """
    if not networks:
        return ""
    head = (
        '<th>category group</th><th>state</th><th class="wb-num">step</th><th></th>'
        '<th class="wb-num">time left</th>'
    )
    rows = "".join(_group_row(n, chosen=n.group == chosen) for n in networks)
    notes = "".join(f'<p class="wb-quiet">{escape(text)}</p>' for text in remarks)
    return (
        '<div class="wb-scroll"><table class="wb-table wb-groups">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}"
    )


def group_head(group: str | None) -> str:
    """Return the title above the figures of one of several networks."""
    return f'<div class="wb-section"><h3>{escape(group_text(group))}</h3></div>' if group else ""


def figures(status: Status, series: Series) -> str:
    """Return the newest figures of a network as tiles."""
    last = series.last
    counts = [count for name, count in last.items() if name.startswith("pseudo_labels/")]
    kept = [("pseudo-labels", f"{sum(counts)}", "newest batch")] if counts else []
    return markup.tiles(
        [
            ("step", f"{status.step:,}", f"of {status.steps:,}"),
            ("time left", markup.duration(status.eta_seconds), _speed(status)),
            ("images / s", _number(last.get("images_per_second")), "newest step"),
            ("loss", _number(last.get("loss")), f"step {last['step']:,}" if last else ""),
            *kept,
            ("memory", _memory(last.get("memory_mib")), ""),
        ]
    )


def curves(
    series: Series,
    *,
    classes: Sequence[str] = THING_NAMES,
    every: Sequence[str] = THING_NAMES,
) -> str:
    """Return the charts of a network.

    Args:
        series: what it logged.
        classes: of its pseudo-labels; none for a network that learns from labels alone.
        every: class names by thing index.
    """
    charts = [
        _loss_chart(series),
        _terms_chart(series),
        *([_pseudo_label_chart(series, classes, every)] if classes else []),
        _chart(series, "Throughput, images / s", ["images_per_second"]),
    ]
    return f'<div class="wb-charts">{"".join(plots.draw(c) for c in charts)}</div>'


def log_lines(text: str) -> str:
    """Return the end of a log."""
    return f'<pre class="wb-log">{escape(text) or "The log is empty."}</pre>'


def _run_row(summary: RunSummary, *, chosen: bool, unit: str) -> str:
    """Return a line; with a unit its numbers say what they are."""
    status = summary.status
    ap = [_percent(summary.ap.get(who), unit) for who in ("student", "teacher")]
    at = f' title="{escape(_how(summary))}"' if summary.ap_step is not None else ""
    name, why = escape(summary.name), escape(status.error or "")
    shown = f'<button type="button" class="wb-link" data-run="{name}">{name}</button>'
    steps = f"{status.step:,} / {status.steps:,}" if status.steps else "–"
    return (
        f'<tr class="{"wb-chosen" if chosen else ""}">'
        f'<td class="wb-run-name">{shown if RUN_NAME.fullmatch(summary.name) else name}</td>'
        f'<td title="{why}">{markup.chip(status.state)}{_place(summary)}</td>'
        f"<td>{escape(markup.method_text(summary)[:_METHOD_LETTERS]) or '–'}</td>"
        f'<td class="wb-num">{steps}</td>'
        f'<td class="wb-num"{at}>{ap[0]}</td><td class="wb-num"{at}>{ap[1]}</td>'
        f'<td class="wb-judged"{at}>{_judged(summary)}</td>'
        f"<td>{escape(_when(status.started))}</td></tr>"
    )


def _place(summary: RunSummary) -> str:
    """Return which of those that wait it is, and whether it cannot begin."""
    if summary.place is None:
        return ""
    return f" <small>{summary.place + 1}{', cannot begin' if summary.status.error else ''}</small>"


def _scores(summary: RunSummary) -> str:
    """Return the newest evaluation in a line, with what it was made on."""
    known = [f"{who} {100 * value:.1f}" for who, value in summary.ap.items() if value is not None]
    if not known:
        return ""
    text = f"{summary.measure} {', '.join(known)} ({_how(summary)})"
    return f'<p class="wb-quiet">{escape(text)}</p>'


def _how(summary: RunSummary) -> str:
    """Return how a run's newest scores were come by, with the name of the images."""
    networks = " and ".join(who for who, value in summary.ap.items() if value is not None)
    basis = summary.basis
    how = said(basis, protocol=summary.protocol, network=networks, step=summary.ap_step)
    return f"{how} of {basis.dataset} {basis.split}" if basis.dataset else how


def _judged(summary: RunSummary) -> str:
    """Return protocol, step and images in short; what they are in full is the cell's title."""
    if summary.ap_step is None:
        return "–"
    name = PROTOCOL_NAMES.get(summary.protocol, summary.protocol)
    text = f"{name}, step {summary.ap_step:,}, {summary.basis.count}"
    return f"<small>{escape(text)}</small>"


def _unequal(summaries: Sequence[RunSummary]) -> str:
    """Return a warning where scores stand below each other that are not over the same images."""
    judged = [s for s in summaries if any(value is not None for value in s.ap.values())]
    ways = {(s.protocol, s.basis.dataset, s.basis.split, s.basis.names) for s in judged}
    is_known = all(s.basis.names for s in judged)
    if len(judged) < 2 or (len(ways) == 1 and is_known):
        return ""
    return f'<p class="wb-quiet wb-unequal">{escape(_NOT_COMPARABLE)}</p>'


def _requests(requests: Sequence[str]) -> str:
    return "".join(
        f'<span class="wb-chip wb-asked">{escape(name)} requested</span>' for name in requests
    )


def _group_row(network: ModuleStatus, *, chosen: bool) -> str:
    status = network.status
    group = escape(network.group)
    why = f' title="{escape(status.error)}"' if status.error else ""
    return (
        f'<tr class="{"wb-chosen" if chosen else ""}">'
        f'<td><button type="button" class="wb-link" data-group="{group}">'
        f"{escape(group_text(network.group))}</button></td>"
        f"<td{why}>{markup.chip(status.state)}</td>"
        f'<td class="wb-num">{status.step:,} / {status.steps:,}</td>'
        f'<td class="wb-wide">{_bar(status)}</td>'
        f'<td class="wb-num">{markup.duration(status.eta_seconds)}</td></tr>'
    )


def _progress(status: Status, *, of_all: bool) -> str:
    """Return how far a run is; several networks pass through their stages each by itself."""
    if not status.steps:
        return f'<p class="wb-quiet">{escape(status.message)}</p>' if status.message else ""
    parts = [
        f"{status.step:,} of {status.steps:,} steps of all groups"
        if of_all
        else f"stage {status.stage}",
        f"{100 * status.progress:.0f} %",
        f"{markup.duration(status.eta_seconds)} left" if of_all and status.eta_seconds else "",
        status.message,
    ]
    text = " · ".join(part for part in parts if part)
    return f'{_bar(status)}<p class="wb-quiet">{escape(text)}</p>'


def _bar(status: Status) -> str:
    share = 100 * status.progress
    return (
        f'<div class="wb-progress wb-{status.state}" role="progressbar" '
        f'aria-valuenow="{share:.0f}" aria-valuemin="0" aria-valuemax="100">'
        f'<i style="width:{share:.2f}%"></i></div>'
    )


def _note(status: Status, *, now: float) -> str:
    if status.error:
        return f'<pre class="wb-error" role="alert">{escape(status.error)}</pre>'
    silent = now - status.heartbeat
    if status.state == "running" and silent > SILENT_SECONDS:
        return (
            f'<p class="wb-quiet">The process lives but has not signed for {silent:.0f} s: '
            "a full disk, or a machine too busy.</p>"
        )
    return ""


def _loss_chart(series: Series) -> plots.Chart:
    return _chart(series, "Loss (weighted sum; band: smallest to largest)", ["loss"], band=True)


def _terms_chart(series: Series) -> plots.Chart:
    names = series.names("losses")
    labels = {name: name.removeprefix("losses/") for name in names}
    # A single curve has no legend.
    what = f"Loss term {labels[names[0]]}" if len(names) == 1 else "Loss terms"
    return _chart(series, f"{what}, unweighted", names, labels=labels)


def _pseudo_label_chart(
    series: Series, classes: Sequence[str], every: Sequence[str]
) -> plots.Chart:
    names = [f"pseudo_labels/{name}" for name in classes]
    return _chart(
        series,
        "Pseudo-labels kept per batch",
        names,
        labels=dict(zip(names, classes, strict=True)),
        colors={f"pseudo_labels/{name}": class_css(name, every) for name in classes},
    )


def _chart(
    series: Series,
    title: str,
    names: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    band: bool = False,
) -> plots.Chart:
    known = [name for name in names if name in series.mean]
    lines = [
        plots.Line(
            (labels or {}).get(name, name.replace("_", " ")),
            (colors or {}).get(name, LINE_COLORS[i % len(LINE_COLORS)]),
            series.mean[name],
            low=series.low[name] if band else None,
            high=series.high[name] if band else None,
        )
        for i, name in enumerate(known)
    ]
    starts = series.stage2_step
    between = starts is not None and len(series.step) > 0 and starts > series.step[0]
    marks = [plots.Mark(float(starts), "stage 2")] if starts is not None and between else []
    return plots.Chart(title, series.step, lines, marks=marks)


def _number(value: object) -> str:
    return plots.number(value) if isinstance(value, int | float) else "–"


def _memory(value: object) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value / 1024:.1f} GiB" if value >= 1024 else f"{value:.0f} MiB"


def _percent(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + (f" <small>{escape(unit)}</small>" if unit else "")


def _speed(status: Status) -> str:
    speed = status.steps_per_second
    return f"{plots.number(speed)} steps / s" if speed else ""


def _when(started: str) -> str:
    try:
        return datetime.fromisoformat(started).astimezone().strftime("%d %b %H:%M")
    except (ValueError, OverflowError):
        return started[:_DATE_LETTERS]
