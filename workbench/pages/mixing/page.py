"""Mixing: what the student is trained on at a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.colors import ORIGIN_COLORS
from uda4inst.run_folder.snapshot_reader import (
    Snapshot,
    SnapshotItem,
)
from uda4inst.uda.mixing import Origin
from workbench.drawings.mixing import PASTED, PictureView, item_pictures, present
from workbench.services import Services
from workbench.session import SessionState
from workbench.snapshot_bar import BarView, build_bar, snapshot_tick, snapshot_view, wire_bar
from workbench.ui import markup
from workbench.ui.edge import Mounted
from workbench.ui.palette import css, thing_css
from workbench.ui.views import Frame, Framed, Unchanged

TITLE = "Mixing"
QUESTION = "What does the student see at this step?"
HINT = (
    "Where a method mixes, S2T pastes source instances, and pool entries, into the target image; "
    "T2S pastes pseudo-labels into the source image. Semantic methods paste classes whole."
)
TICK_SECONDS = 2.0
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MixingView:
    """The pictures of one batch item, and the keys of their colours."""

    source: PictureView
    target: PictureView
    pseudo_labels: PictureView
    s2t: PictureView
    t2s: PictureView
    weights: PictureView
    domains: PictureView
    maps: gr.Row
    classes: str
    origins: str


@dataclass(frozen=True, slots=True)
class _PictureSlot:
    """Where a picture is shown."""

    picture: gr.Image
    text: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """The components of the page."""

    classes: gr.HTML
    marked: gr.Checkbox
    source: _PictureSlot
    target: _PictureSlot
    pseudo_labels: _PictureSlot
    s2t: _PictureSlot
    t2s: _PictureSlot
    maps: gr.Row
    weights: _PictureSlot
    domains: _PictureSlot
    origins: gr.HTML


def draw(snapshot: Snapshot, index: int, *, marked: bool = True) -> MixingView:
    """Return the pictures of one item of a snapshot.

    Args:
        snapshot: of any stage and method.
        index: position in the batch.
        marked: whether labels are drawn, or the images shown as the network sees them.
    """
    if not snapshot.items:
        nothing = PictureView(None, "nothing in this snapshot")
        return MixingView(
            source=nothing,
            target=nothing,
            pseudo_labels=nothing,
            s2t=nothing,
            t2s=nothing,
            weights=nothing,
            domains=nothing,
            maps=gr.Row(visible=False),
            classes="",
            origins="",
        )
    item = snapshot.items[index]
    pictures = item_pictures(snapshot, item, marked=marked)
    return MixingView(
        source=pictures.source,
        target=pictures.target,
        pseudo_labels=pictures.pseudo_labels,
        s2t=pictures.s2t,
        t2s=pictures.t2s,
        weights=pictures.weights,
        domains=pictures.domains,
        maps=gr.Row(visible=item.s2t_semantic is not None or item.domains is not None),
        classes=_class_legend(item),
        origins=markup.legend(_ORIGIN_LEGEND) if item.s2t or item.t2s else "",
    )


def _class_legend(item: SnapshotItem) -> str:
    learned = None if item.pixel_labels is None else item.pixel_labels.learned
    every = (item.source_semantic, item.target_semantic, learned)
    maps = [shown for shown in every if shown is not None]
    if maps:
        known = sorted({train_id for shown in maps for train_id in present(shown)})
        classes = [SEMANTIC_CLASSES[train_id] for train_id in known]
        return markup.legend([(c.name, css(c.color)) for c in classes])
    shown = [view.labels for view in (item.source, item.pseudo_labels) if view is not None]
    found = sorted({int(label) for labels in shown for label in labels})
    return markup.legend([(item.names[k], thing_css(k)) for k in found])


_ORIGIN_LEGEND: Final = [
    ("was there", css(ORIGIN_COLORS[Origin.BASE])),
    *((f"pasted from {word}", css(ORIGIN_COLORS[kind])) for kind, word in PASTED.items()),
]


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    bar = build_bar("mixing")
    notice, body = Frame.open("mixing")
    with body:
        slots = _build_slots()
    timer = gr.Timer(TICK_SECONDS, active=False)
    frame = Frame.of(notice, body, {BarView: bar, MixingView: slots})

    def show(state: SessionState, marked_now: bool) -> Framed[BarView, MixingView]:
        return snapshot_view(services, state, lambda s, i: draw(s, i, marked=marked_now))

    def follow(
        state: SessionState, step: float, marked_now: bool
    ) -> Framed[BarView, MixingView] | Unchanged:
        return snapshot_tick(services, state, step, lambda s, i: draw(s, i, marked=marked_now))

    mounted = Mounted("mixing", session, frame, show, [slots.marked], timer)
    mounted.on_input(slots.marked.input, "mark")
    mounted.on_tick(follow, inputs=[bar.slider, slots.marked])
    wire_bar(bar, services, mounted)
    return mounted


def _build_slots() -> _Slots:
    with gr.Row(equal_height=True):
        classes = gr.HTML(elem_id="mixing-classes")
        marked = gr.Checkbox(
            True, label="Draw labels", elem_id="mixing-marked", scale=0, min_width=150
        )
    with gr.Row():
        source = _picture_slot("source", "Source")
        target = _picture_slot("target", "Target")
        pseudo_labels = _picture_slot("pseudo-labels", "Pseudo-labels on target")
    origins = gr.HTML(elem_id="mixing-origins")
    with gr.Row():
        s2t = _picture_slot("s2t", "S2T: source and pool into target")
        t2s = _picture_slot("t2s", "T2S: pseudo-labels into source")
    with gr.Row(visible=False) as maps:
        weights = _picture_slot("weights", "How much each pixel of S2T counts in the loss")
        domains = _picture_slot("domains", "What the discriminator says of the target image")
    return _Slots(
        classes=classes,
        marked=marked,
        source=source,
        target=target,
        pseudo_labels=pseudo_labels,
        s2t=s2t,
        t2s=t2s,
        maps=maps,
        weights=weights,
        domains=domains,
        origins=origins,
    )


def _picture_slot(name: str, title: str) -> _PictureSlot:
    with gr.Column(min_width=300):
        picture = gr.Image(
            label=title,
            elem_id=f"mixing-{name}",
            interactive=False,
            format="png",
            buttons=["fullscreen", "download"],
            elem_classes="wb-picture",
        )
        text = gr.HTML(elem_classes="wb-under", elem_id=f"mixing-{name}-text")
    return _PictureSlot(picture, text)
