"""What the Train page shows for a session: the runs, and the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import gradio as gr

from uda4inst.run_folder.status import Status
from workbench.jobs.trainers import FORKABLE, REQUESTABLE, RESTARTABLE, Request
from workbench.pages.train import monitor
from workbench.services import Services
from workbench.session import SessionState
from workbench.stores.groups import group_text
from workbench.stores.runs import RunSummary
from workbench.ui import markup
from workbench.ui.views import Empty, Framed, Skip

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class TableView:
    """All runs."""

    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainView:
    """What the page shows of the chosen run; from `head` on of one network of it."""

    card: str
    groups: str
    turn: gr.Row
    actions: gr.Row
    pause: gr.Button
    unpause: gr.Button
    stop: gr.Button
    snapshot: gr.Button
    checkpoint: gr.Dropdown | Skip
    restart: gr.Button
    head: str
    figures: str
    curves: str
    log: str


class _Buttons(TypedDict):
    pause: gr.Button
    unpause: gr.Button
    stop: gr.Button
    snapshot: gr.Button
    restart: gr.Button


def view(services: Services, session: SessionState) -> Framed[TableView, TrainView]:
    """Return the run table and the chosen run, its checkpoints included."""
    shown = services.runs.summaries()
    return _framed(services, session, shown, checkpoint=checkpoint_choice(services, session))


def tick(services: Services, session: SessionState) -> Framed[TableView, TrainView]:
    """Return the same, leaving alone what the user may be choosing from."""
    shown = services.runs.summaries_of_late()
    return _framed(services, session, shown, checkpoint=_checkpoint_hidden(services, session))


def _framed(
    services: Services,
    session: SessionState,
    shown: Sequence[RunSummary],
    *,
    checkpoint: gr.Dropdown | Skip,
) -> Framed[TableView, TrainView]:
    table = monitor.run_table(shown, chosen=session.run)
    return Framed(TableView(table), lambda: _content(services, session, checkpoint))


def _content(
    services: Services, session: SessionState, checkpoint: gr.Dropdown | Skip
) -> TrainView | Empty:
    run = session.run
    if run is None:
        return Empty("")
    if not services.runs.has(run):
        return Empty(markup.gone(run))
    network = services.network(session) or run
    group = services.group(session)
    summary = services.runs.summary(run)
    networks = services.runs.modules(run)
    series = services.metrics.series(network)
    classes = _pseudo_labelled(services, run, network)
    every = services.runs.things(network).names
    waits = services.runs.queue().place(run) is not None
    left = [] if summary.status.live else [n.group for n in networks if n.status.live]
    return TrainView(
        card=monitor.run_card(summary, services.jobs.pending(run)),
        groups=monitor.group_table(
            networks, chosen=group, remarks=_remarks(services, summary.name, summary.status, left)
        ),
        turn=gr.Row(visible=waits),
        actions=gr.Row(visible=not waits),
        **_buttons(services, run, summary.status, left),
        checkpoint=checkpoint,
        head=monitor.group_head(group),
        figures=monitor.figures(services.runs.status(network), series),
        curves=services.metrics.drawn(
            series, (*classes, *every), lambda: monitor.curves(series, classes=classes, every=every)
        ),
        log=monitor.log_lines(services.runs.tail(network)),
    )


def _pseudo_labelled(services: Services, run: str, network: str) -> Sequence[str]:
    """Return the classes of a network's pseudo-labels; none where its method makes none."""
    if services.runs.number(run, "method.score_threshold") is None:
        return ()
    return services.runs.classes(network) or services.runs.things(network).names


def _buttons(services: Services, run: str, status: Status, left: Sequence[str]) -> _Buttons:
    """Return the buttons, on where they mean something; `left` are groups that lost their run."""
    groups = services.runs.groups(run)
    states = RESTARTABLE if groups else FORKABLE
    can_restart = status.state in states and services.runs.can_resume(run) and not left
    words = "Restart from the latest" if groups else "Restart from checkpoint"

    def button(request: Request, *, also: bool = False) -> gr.Button:
        return gr.Button(interactive=status.state in REQUESTABLE[request] or also)

    return _Buttons(
        pause=button("pause"),
        unpause=button("resume"),
        stop=button("stop", also=bool(left)),
        snapshot=button("snapshot"),
        restart=gr.Button(words, interactive=can_restart),
    )


def _remarks(services: Services, run: str, status: Status, left: Sequence[str]) -> list[str]:
    """Return what is to be known before a run of several groups is restarted."""
    if left:
        names = " and ".join(group_text(group) for group in left)
        return [f"{names}: still training without the run's own process. Stop ends that."]
    groups = services.runs.groups(run)
    if not groups or status.state not in RESTARTABLE:
        return []
    first = services.runs.dir(run).module(groups[0]).path
    return [
        "A restart goes on from the latest checkpoint of every group; finished ones stay. All "
        "groups must end at one step, so an older checkpoint is chosen for a single group, in a "
        f"terminal: uda4inst resume {first} --from STEP --replace"
    ]


def checkpoint_choice(
    services: Services, session: SessionState, value: int | str | None = LATEST
) -> gr.Dropdown:
    """Return the checkpoints to restart from; the latest stays right while new ones come."""
    steps = services.runs.checkpoints(session.run) if session.run is not None else []
    choices = [("latest", LATEST), *((f"step {step:,}", step) for step in reversed(steps))]
    several = bool(session.run is not None and services.runs.groups(session.run))
    return gr.Dropdown(
        choices=choices, value=value if value in steps else LATEST, visible=not several
    )


def _checkpoint_hidden(services: Services, session: SessionState) -> gr.Dropdown | Skip:
    """Return the choice of a checkpoint as it is, or unseen where the latest is the only one."""
    several = session.run is not None and services.runs.groups(session.run)
    return gr.Dropdown(visible=False) if several else gr.skip()
