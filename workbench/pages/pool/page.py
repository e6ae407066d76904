"""Rare-class pool: the instances waiting to be pasted."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import dataclass
from html import escape

import gradio as gr
import numpy as np
from PIL import Image as PilImage

from uda4inst.run_folder.snapshot_reader import PoolItem, Snapshot
from uda4inst.uda.mixing import Origin
from workbench.drawings.pool import on_checkerboard
from workbench.services import Services
from workbench.session import SessionState
from workbench.snapshot_bar import BarView, build_bar, snapshot_tick, snapshot_view, wire_bar
from workbench.ui import markup
from workbench.ui.edge import Mounted
from workbench.ui.palette import thing_css
from workbench.ui.views import Frame, Framed, Unchanged

TITLE = "Rare-class pool"
QUESTION = "Which rare instances wait in the pool, are they used, and how much do they hide?"
HINT = "First in, first out: the oldest leaves when a new one enters a full pool."
TICK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PoolView:
    """The pool in numbers, and its entries as cards."""

    summary: str
    cards: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """The components of the page."""

    summary: gr.HTML
    cards: gr.HTML


def draw(snapshot: Snapshot, *, size: int | None) -> PoolView:
    """Return the pool of a snapshot, oldest entry first.

    Args:
        snapshot: holds the pool after its step.
        size: how many entries the pool can hold, None where unknown.
    """
    if not snapshot.pool:
        # Without rare classes nothing could ever be held.
        summary = _summary(snapshot, size) if snapshot.rare_classes else ""
        return PoolView(summary, _nothing(snapshot))
    cards = "".join(
        _card(entry, place, snapshot, full=size == len(snapshot.pool))
        for place, entry in enumerate(snapshot.pool)
    )
    return PoolView(_summary(snapshot, size), f'<div class="wb-cards">{cards}</div>')


def _summary(snapshot: Snapshot, size: int | None) -> str:
    counts = Counter(snapshot.things.names[entry.label] for entry in snapshot.pool)
    held = f"{len(snapshot.pool)} of {size}" if size else str(len(snapshot.pool))
    classes = ", ".join(f"{n} {name}" for name, n in counts.most_common())
    drawn = sum(entry.times_drawn for entry in snapshot.pool)
    return markup.facts(
        [
            ("rare classes", ", ".join(snapshot.rare_classes)),
            ("held", held + (f" ({classes})" if classes else "")),
            ("pasted so far, by those held", str(drawn)),
            ("hidden by the pool in this step's S2T images", _hidden(snapshot)),
        ]
    )


def _hidden(snapshot: Snapshot) -> str:
    """Return the share of every S2T image that comes from the pool; "" without such images."""
    origins = [item.s2t.origin for item in snapshot.items if item.s2t is not None]
    shares = [float((o == Origin.POOL).mean()) for o in origins if o is not None]
    return ", ".join(_percent(share) for share in shares)


def _nothing(snapshot: Snapshot) -> str:
    if snapshot.stage == 1:
        text = "Stage 1 trains on source images alone; the pool fills in stage 2."
    elif all(item.s2t is None for item in snapshot.items):
        text = f"{snapshot.method} made no S2T image at this step, which the pool is for."
    else:
        rare = " or ".join(snapshot.rare_classes)
        text = f"No {rare} has been seen yet, or the pool is switched off (method.pool.enabled)."
    return markup.empty("The pool is empty", text)


def _card(entry: PoolItem, place: int, snapshot: Snapshot, *, full: bool) -> str:
    name = snapshot.things.names[entry.label]
    count = len(snapshot.pool)
    height, width = entry.patch.shape[:2]
    turn = f"{place + 1} of {count}"
    if place == 0:
        turn += " · next out" if full else " · oldest"
    elif place == count - 1:
        turn += " · newest"
    drawn = {0: "never drawn", 1: "drawn once"}.get(
        entry.times_drawn, f"drawn {entry.times_drawn} times"
    )
    return (
        '<div class="wb-pool-card">'
        f'<img src="{_data_uri(entry)}" alt="{escape(name)} of {escape(entry.sample_id)}">'
        '<div class="wb-pool-text"><span class="wb-key">'
        f'<i style="--key:{thing_css(entry.label)}"></i>'
        f"<b>{escape(name)}</b></span><small>{turn}</small>"
        f"<span>entered at step {entry.step:,}</span><span>{drawn}</span>"
        f'<span class="wb-quiet">{width} × {height} px of {escape(entry.sample_id)}'
        f"{_of_image(entry, snapshot)}</span>"
        "</div></div>"
    )


def _of_image(entry: PoolItem, snapshot: Snapshot) -> str:
    """Return how much of an image an entry hides, where the image's size is known."""
    targets = [item.target for item in snapshot.items if item.target is not None]
    if not targets:
        return ""
    height, width = targets[0].shape[:2]
    pixels = np.count_nonzero(entry.patch[..., 3])
    return f" · {_percent(pixels / (height * width))} of an image"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _data_uri(entry: PoolItem) -> str:
    buffer = io.BytesIO()
    PilImage.fromarray(on_checkerboard(entry.patch)).save(buffer, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    bar = build_bar("pool")
    notice, body = Frame.open("pool")
    with body:
        slots = _Slots(summary=gr.HTML(elem_id="pool-summary"), cards=gr.HTML(elem_id="pool-cards"))
    timer = gr.Timer(TICK_SECONDS, active=False)
    frame = Frame.of(notice, body, {BarView: bar, PoolView: slots})

    def content(state: SessionState, snapshot: Snapshot) -> PoolView:
        size = services.runs.count(state.run, "method.pool.size") if state.run else None
        return draw(snapshot, size=size)

    def show(state: SessionState) -> Framed[BarView, PoolView]:
        return snapshot_view(services, state, lambda s, _: content(state, s))

    def follow(state: SessionState, step: float) -> Framed[BarView, PoolView] | Unchanged:
        return snapshot_tick(services, state, step, lambda s, _: content(state, s))

    mounted = Mounted("pool", session, frame, show, [], timer)
    mounted.on_tick(follow, inputs=[bar.slider])
    wire_bar(bar, services, mounted)
    return mounted
