"""Mixing: what the student is trained on at a step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.colors import ORIGIN_COLORS
from uda4inst.draw import (
    display_size,
    origins_of,
    outline_by_origin,
    overlay_instances,
    overlay_semantic,
    resize,
)
from uda4inst.run_folder.snapshot_reader import (
    LabelledImage,
    SemanticImage,
    Snapshot,
    SnapshotItem,
)
from workbench.services import Services
from workbench.session import SessionState
from workbench.snapshot_bar import build_bar, snapshot_tick, snapshot_view, wire_bar
from workbench.ui import markup
from workbench.ui.edge import Mounted, Page
from workbench.ui.palette import class_css, css

TITLE = "Mixing"
QUESTION = "What does the student see at this step?"
HINT = (
    "S2T pastes source instances, and pool entries, into the target image; T2S pastes "
    "pseudo-labels into the source image."
)
TICK_SECONDS = 2.0
Image = NDArray[np.uint8]

# Values of an origin map (`uda4inst.uda.mixing.Origin`): the image below, then what is pasted.
_BASE: Final = 0
_PASTED: Final = (1, 2, 3)
_ORIGIN_WORDS: Final = ("the image itself", "source", "pseudo-labels", "pool")


@dataclass(frozen=True, slots=True, eq=False)
class MixingView:
    """The pictures of one batch item and a line below each."""

    source: Image | None
    source_text: str
    target: Image | None
    target_text: str
    pseudo_labels: Image | None
    pseudo_labels_text: str
    s2t: Image | None
    s2t_text: str
    t2s: Image | None
    t2s_text: str
    classes: str


def draw(snapshot: Snapshot, index: int, *, marked: bool = True) -> MixingView:
    """Return the pictures of one item of a snapshot.

    Args:
        snapshot: of any stage and method.
        index: position in the batch.
        marked: whether objects are marked, or the images shown as the network sees them.
    """
    if not snapshot.items:
        return MixingView(*([None, "nothing in this snapshot"] * 5), classes="")
    item = snapshot.items[index]
    off = "not made in stage 1" if snapshot.stage == 1 else "not made by this run's settings"
    return MixingView(
        source=_semantic(item.source_semantic, marked=marked)
        if item.source_semantic
        else _labelled(item.source, marked=marked),
        source_text=_semantic_text(item.source_semantic)
        if item.source_semantic
        else _counted(item.source, "labelled instances", "no source image"),
        target=_target(item, marked=marked),
        target_text=_target_text(item),
        pseudo_labels=_labelled(item.pseudo_labels, marked=marked),
        pseudo_labels_text=_counted(item.pseudo_labels, "kept", off),
        s2t=_mixed(item.s2t, marked=marked),
        s2t_text=_pasted(item.s2t, "pseudo-labels were there", off),
        t2s=_mixed(item.t2s, marked=marked),
        t2s_text=_pasted(item.t2s, "instances were there", off),
        classes=_class_legend(item),
    )


def _plain(image: Image) -> Image:
    return resize(image, display_size((image.shape[0], image.shape[1])))


def _semantic(shown: SemanticImage, *, marked: bool) -> Image:
    return overlay_semantic(shown.image, shown.train_ids) if marked else _plain(shown.image)


def _semantic_text(shown: SemanticImage) -> str:
    labelled = shown.train_ids != IGNORE_TRAIN_ID
    return f"{len(_present(shown))} classes, {100 * labelled.mean():.0f} % of the pixels labelled"


def _present(shown: SemanticImage) -> list[int]:
    """Return the trainIds that occur."""
    return [int(k) for k in np.unique(shown.train_ids) if k != IGNORE_TRAIN_ID]


def _target(item: SnapshotItem, *, marked: bool) -> Image | None:
    if item.target_semantic is not None:
        return _semantic(item.target_semantic, marked=marked)
    return None if item.target is None else _plain(item.target)


def _target_text(item: SnapshotItem) -> str:
    if item.target_semantic is not None:
        return _semantic_text(item.target_semantic)
    if item.source_semantic is not None and item.target is not None:
        return "lends its colours, if any"
    return "no target image" if item.target is None else "what the teacher sees"


def _labelled(labelled: LabelledImage | None, *, marked: bool) -> Image | None:
    if labelled is None:
        return None
    if not marked:
        return _plain(labelled.image)
    return overlay_instances(labelled.image, labelled.ids, labelled.labels, alpha=0.35)


def _mixed(labelled: LabelledImage | None, *, marked: bool) -> Image | None:
    if labelled is None:
        return None
    if not marked or labelled.origin is None:
        return _plain(labelled.image)
    return outline_by_origin(labelled.image, labelled.ids, labelled.origin)


def _counted(labelled: LabelledImage | None, what: str, otherwise: str) -> str:
    if labelled is None:
        return otherwise
    return f"{len(labelled.labels)} {what}{_classes(labelled.labels)}"


def _pasted(labelled: LabelledImage | None, base: str, otherwise: str) -> str:
    if labelled is None or labelled.origin is None:
        return otherwise
    kinds = origins_of(labelled.ids, labelled.origin)
    parts = []
    for kind in _PASTED:
        numbers = [number for number, origin in kinds.items() if origin == kind]
        if numbers:
            labels = labelled.labels[np.asarray(numbers) - 1]
            parts.append(f"{len(numbers)} pasted from {_ORIGIN_WORDS[kind]}{_classes(labels)}")
    below = sum(origin == _BASE for origin in kinds.values())
    return " · ".join([*(parts or ["nothing pasted"]), f"{below} {base}"])


def _classes(labels: NDArray[np.int64]) -> str:
    counts = Counter(THING_NAMES[int(label)] for label in labels)
    listed = ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.most_common())
    return f" ({listed})" if listed else ""


def _class_legend(item: SnapshotItem) -> str:
    maps = [shown for shown in (item.source_semantic, item.target_semantic) if shown is not None]
    if maps:
        known = sorted({train_id for shown in maps for train_id in _present(shown)})
        classes = [SEMANTIC_CLASSES[train_id] for train_id in known]
        return markup.legend([(c.name, css(c.color)) for c in classes])
    shown = [view.labels for view in (item.source, item.pseudo_labels) if view is not None]
    present = sorted({int(label) for labels in shown for label in labels})
    return markup.legend([(THING_NAMES[k], class_css(THING_NAMES[k])) for k in present])


_ORIGIN_LEGEND: Final = [
    ("was there" if kind == _BASE else f"pasted from {word}", css(color))
    for kind, (word, color) in enumerate(zip(_ORIGIN_WORDS, ORIGIN_COLORS, strict=True))
]


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    bar = build_bar("mixing")
    notice, body = Page.frame("mixing")
    with body:
        parts, marked = _build_pictures()
    timer = gr.Timer(TICK_SECONDS, active=False)
    page = Page(notice, body, parts, head=bar.outputs)

    def show(state: SessionState, step: float, marked_now: bool) -> object:
        return snapshot_view(services, state, step, lambda s, i: draw(s, i, marked=marked_now))

    def follow(state: SessionState, step: float, marked_now: bool) -> object:
        return snapshot_tick(services, state, step, lambda s, i: draw(s, i, marked=marked_now))

    inputs = [bar.slider, marked]
    mounted = Mounted("mixing", session, page, show, inputs, timer)
    mounted.on_input(marked.input, "mark")
    mounted.on_tick(follow, inputs=inputs)
    wire_bar(bar, services, mounted)
    return mounted


def _build_pictures() -> tuple[list[Any], gr.Checkbox]:
    with gr.Row(equal_height=True):
        classes = gr.HTML(elem_id="mixing-classes")
        marked = gr.Checkbox(
            True, label="Mark objects", elem_id="mixing-marked", scale=0, min_width=150
        )
    with gr.Row():
        parts = [*_picture_slot("source", "Source"), *_picture_slot("target", "Target")]
        parts += _picture_slot("pseudo-labels", "Pseudo-labels on target")
    gr.HTML(markup.legend(_ORIGIN_LEGEND))
    with gr.Row():
        parts += _picture_slot("s2t", "S2T: source and pool into target")
        parts += _picture_slot("t2s", "T2S: pseudo-labels into source")
    parts.append(classes)
    return parts, marked


def _picture_slot(name: str, title: str) -> list[Any]:
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
    return [picture, text]
