"""The controls that choose a snapshot: the same on every page that shows one.

The choice lives in the session, so it stays when the page changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd
from typing import TypeVar

import gradio as gr

from uda4inst.run_folder.snapshot_reader import Snapshot
from workbench.services import Services
from workbench.session import PageName, SessionState
from workbench.stores.groups import group_text, shown_name, split_name
from workbench.stores.snapshots import nearest
from workbench.ui import markup
from workbench.ui.edge import Mounted
from workbench.ui.views import UNCHANGED, Empty, Framed, Skip, Unchanged

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBar:
    """The components: slider through the kept snapshots, follow switch, batch item."""

    row: gr.Row
    slider: gr.Slider
    previous: gr.Button
    following: gr.Button
    follow: gr.Checkbox
    item: gr.Radio
    facts: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class BarView:
    """What a redraw sets of them."""

    row: gr.Row
    facts: str
    slider: gr.Slider | Skip = field(default_factory=gr.skip)
    follow: bool | Skip = field(default_factory=gr.skip)
    item: gr.Radio | Skip = field(default_factory=gr.skip)


def build_bar(page: PageName) -> SnapshotBar:
    """Create the controls of one page."""
    with gr.Row(visible=False, elem_classes="wb-bar", equal_height=True) as row:
        previous = gr.Button("◀", elem_id=f"{page}-previous", min_width=44, scale=0)
        slider = gr.Slider(
            0, 1, step=1, label="Snapshot (step)", elem_id=f"{page}-step", scale=8, buttons=[]
        )
        following = gr.Button("▶", elem_id=f"{page}-next", min_width=44, scale=0)
        follow = gr.Checkbox(
            label="Follow newest", elem_id=f"{page}-follow", scale=0, min_width=165
        )
        item = gr.Radio(
            [], label="Batch item", elem_id=f"{page}-item", scale=0, min_width=150, visible=False
        )
    facts = gr.HTML(elem_id=f"{page}-facts")
    return SnapshotBar(
        row=row,
        slider=slider,
        previous=previous,
        following=following,
        follow=follow,
        item=item,
        facts=facts,
    )


def wire_bar(bar: SnapshotBar, services: Services, page: Mounted) -> None:
    """Let the controls choose for the session."""

    def move(direction: int) -> Callable[[SessionState], SessionState]:
        return lambda state: _moved(services, state, direction)

    page.on_choice(
        bar.slider.input,
        lambda state, step: state.on_snapshot(int(step)),
        "choose_step",
        inputs=[bar.slider],
    )
    page.on_choice(bar.previous.click, move(-1), "previous_snapshot")
    page.on_choice(bar.following.click, move(1), "next_snapshot")
    page.on_choice(
        bar.follow.input,
        lambda state, follow: _followed(services, state, follow=follow),
        "follow",
        inputs=[bar.follow],
    )
    page.on_choice(
        bar.item.input,
        lambda state, item: state.on_item(int(item)),
        "choose_item",
        inputs=[bar.item],
    )


def snapshot_view(
    services: Services,
    session: SessionState,
    draw: Callable[[Snapshot, int], Content | Empty],
) -> Framed[BarView, Content]:
    """Return a page's view of the chosen snapshot, with the controls set to it.

    Args:
        services: where snapshots are read.
        session: the choice.
        draw: makes the page's content from a snapshot and a batch position.
    """
    run = services.network(session)
    nothing = _nothing_yet(services, run)
    if run is None or nothing is not None:
        return Framed(BarView(row=gr.Row(visible=False), facts=""), lambda: nothing or Empty(""))
    steps, wanted = _current(services, session)
    step = nearest(steps, wanted)

    def content() -> Content | Empty:
        snapshot = services.snapshots.read(run, step)
        return draw(snapshot, min(session.item, max(len(snapshot.items) - 1, 0)))

    return Framed(_bar_view(services, session, run, steps, step), content)


def snapshot_tick(
    services: Services,
    session: SessionState,
    shown: float,
    draw: Callable[[Snapshot, int], Content | Empty],
) -> Framed[BarView, Content] | Unchanged:
    """Return a new view when a newer snapshot is followed, else nothing new.

    Args:
        services: where snapshots are read.
        session: the choice.
        shown: step on the slider.
        draw: as for `snapshot_view`.
    """
    run = services.network(session)
    steps = services.snapshots.steps(run) if run is not None else []
    if steps and (session.snapshot is not None or steps[-1] == int(shown)):
        return UNCHANGED
    return snapshot_view(services, session, draw)


def chosen_step(services: Services, session: SessionState) -> int | None:
    """Return the step of the snapshot that is shown; None where there is none."""
    steps, wanted = _current(services, session)
    return nearest(steps, wanted) if steps else None


def _nothing_yet(services: Services, run: str | None) -> Empty | None:
    if run is None:
        return Empty(
            markup.empty("No run yet", "Start one on the Train page; its snapshots appear here.")
        )
    if services.snapshots.steps(run):
        return None
    if not services.runs.has(split_name(run)[0]):
        return Empty(markup.gone(shown_name(run)))
    status = services.runs.status(run)
    every = services.runs.count(run, "training.snapshot_every")
    if status.state == "waiting":
        text = "This category group waits for its turn. Choose another one above."
    elif not status.live:
        text = f"This run is {status.state} and kept none. Choose another run above."
    elif every:
        text = (
            f"The first comes after step {every:,}; 'Snapshot now' on the Train page asks for one."
        )
    else:
        text = "The run is starting."
    return Empty(markup.empty(f"No snapshot of {shown_name(run)} yet", text))


def _bar_view(
    services: Services,
    session: SessionState,
    run: str,
    steps: list[int],
    step: int,
) -> BarView:
    try:
        snapshot = services.snapshots.read(run, step)
    except ValueError:
        # The content says what is wrong with it; the controls lead away from it.
        count, facts = 0, ""
    else:
        count, facts = len(snapshot.items), _facts(run, snapshot, steps, session.item)
    distance = gcd(*(b - a for a, b in pairwise(steps))) or 1
    low, high = steps[0], steps[-1]
    # A person may have put the slider between the kept ones, and it stays there. Where it cannot
    # stand, as on a step of an address, it shows the nearest.
    wanted = step if session.snapshot is None else session.snapshot
    can_stand = low <= wanted <= high and (wanted - low) % distance == 0
    return BarView(
        row=gr.Row(visible=True),
        slider=gr.Slider(
            minimum=low if high > low else low - 1,
            maximum=high,
            step=distance,
            interactive=high > low,
            value=wanted if can_stand else step,
        ),
        follow=session.snapshot is None,
        item=gr.Radio(
            choices=[(str(i + 1), i) for i in range(count)],
            value=min(session.item, max(count - 1, 0)),
            visible=count > 1,
        ),
        facts=facts,
    )


def _facts(run: str, snapshot: Snapshot, steps: list[int], item: int) -> str:
    shown = snapshot.items[min(item, len(snapshot.items) - 1)] if snapshot.items else None
    name, group = split_name(run)
    return markup.facts(
        [
            ("run", name),
            ("category group", group_text(group) if group else ""),
            ("step", f"{snapshot.step:,} ({steps.index(snapshot.step) + 1} of {len(steps)} kept)"),
            ("stage", str(snapshot.stage)),
            ("method", snapshot.method),
            ("score threshold", _threshold(snapshot)),
            ("source", shown.source_id if shown else ""),
            ("target", shown.target_id if shown else ""),
        ]
    )


def _threshold(snapshot: Snapshot) -> str:
    """Return the configured threshold; "" for methods without one, for nothing exceeds 1."""
    return f"{snapshot.score_threshold:g}" if snapshot.score_threshold < 1 else ""


def _current(services: Services, state: SessionState) -> tuple[list[int], int]:
    run = services.network(state)
    steps = services.snapshots.steps(run) if run is not None else []
    wanted = state.snapshot if state.snapshot is not None else (steps[-1] if steps else 0)
    return steps, wanted


def _moved(services: Services, state: SessionState, direction: int) -> SessionState:
    steps, wanted = _current(services, state)
    if not steps:
        return state
    place = steps.index(nearest(steps, wanted)) + direction
    return state.on_snapshot(steps[min(max(place, 0), len(steps) - 1)])


def _followed(services: Services, state: SessionState, *, follow: bool) -> SessionState:
    steps, wanted = _current(services, state)
    if follow or not steps:
        return state.on_snapshot(None)
    return state.on_snapshot(nearest(steps, wanted))
