"""What the Data page shows for a session: two images and their labels, colours, class shares."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, Final

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, THING_NAMES
from uda4inst.colors import IGNORED_OBJECT_COLOR, NO_CLASS_COLOR
from uda4inst.data.config import DatasetRef
from uda4inst.data.records import LabelArrays, check_same_size
from uda4inst.data.tree import ImageTree
from uda4inst.draw import (
    display_size,
    draw_boxes,
    overlay_ignored,
    overlay_instances,
    overlay_semantic,
    resize,
)
from uda4inst.errors import UserError
from workbench.jobs.data_checks import Check
from workbench.pages.data.colors import color_view
from workbench.pages.data.markup import check_report, class_bars, shares_basis
from workbench.services import Services
from workbench.session import Overlay, SessionState
from workbench.stores.class_shares import Shares
from workbench.stores.data_sets import SIDES, Side, labels_wanted
from workbench.ui import markup
from workbench.ui.edge import UNCHANGED, Framed, Unchanged
from workbench.ui.palette import class_css, css

Image = NDArray[np.uint8]
_NO_FOLDER: Final = (
    "No images chosen",
    "Name the folder of a data set above, or make one with: uda4inst data toystreets "
    "data/toystreets",
)
_NO_LABELS: Final = "labels are not opened, as in training"


@dataclass(frozen=True, slots=True, eq=False)
class DataView:
    """Values of the page's components, in their order."""

    source_notice: Any
    source_bar: Any
    source_position: Any
    source_shown: Any
    source_picture: Any
    source_text: Any
    target_notice: Any
    target_bar: Any
    target_position: Any
    target_shown: Any
    target_picture: Any
    target_text: Any
    legend: Any
    source_check: Any
    source_stop: Any
    source_report: Any
    target_check: Any
    target_stop: Any
    target_report: Any
    shares_basis: Any
    shares: Any
    colors: Any
    plain: Any
    aligned: Any
    color_table: Any
    color_charts: Any


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One image of a side, as far as it can be read.

    Args:
        ref: the images, or None when none are named.
        tree: opened, or None.
        position: place of the image.
        image: the picture, or None.
        labels: its labels, or None where they are not opened.
        problem: why something is missing, as HTML.
    """

    ref: DatasetRef | None = None
    tree: ImageTree | None = None
    position: int = 0
    image: Image | None = None
    labels: LabelArrays | None = None
    problem: str = ""


def data_view(services: Services, session: SessionState) -> Framed:
    """Return the page for a session: its controls first, so that they stay usable."""
    return Framed(_controls(services, session), lambda: _content(services, session))


def data_tick(services: Services, session: SessionState, *shown: str) -> DataView | Unchanged:
    """Return what time has changed: checks and the counting of classes.

    Args:
        services: what the page works with.
        session: what the browser looks at.
        *shown: reports of source and target and the class shares as they are on screen.
    """
    progress = _progress(services, session, begin=False)
    names = ("source_report", "target_report", "shares")
    if tuple(progress[name] for name in names) == shown:
        return UNCHANGED
    untouched = {field.name: gr.skip() for field in fields(DataView)}
    return DataView(**{**untouched, **progress})


def look_at(services: Services, session: SessionState, side: Side) -> Shown:
    """Return the image a side shows; what cannot be read is told, not raised."""
    ref = tree = image = labels = None
    position = 0
    try:
        ref = services.data_sets.ref(session, side)
        if ref is None:
            return Shown(problem=markup.empty(*_NO_FOLDER))
        wanted = labels_wanted(session, side)
        tree = services.data_sets.open(ref, side, labels=wanted)
        data = session.data
        position = data.source_position if side == "source" else data.target_position
        position = min(max(position, 0), len(tree) - 1)
        image = tree.read_image(position)
        if wanted:
            labels = tree.read_labels(position)
            check_same_size(tree.records[position], image.shape[:2], labels.ids.shape)
    except UserError as error:
        problem = markup.problem(str(error))
        return Shown(ref=ref, tree=tree, position=position, image=image, problem=problem)
    return Shown(ref=ref, tree=tree, position=position, image=image, labels=labels)


def draw_overlay(image: Image, labels: LabelArrays | None, overlay: Overlay) -> Image:
    """Return the picture of an image, with what its labels say drawn over it."""
    if labels is None or overlay == "none":
        return resize(image, display_size((image.shape[0], image.shape[1])))
    if overlay == "semantic":
        return overlay_semantic(image, labels.semantic)
    if overlay == "ignore":
        return overlay_ignored(image, labels.ids, labels.semantic)
    if overlay == "boxes":
        return draw_boxes(image, labels.ids, labels.labels)
    return overlay_instances(image, labels.ids, labels.labels, alpha=0.4)


def _controls(services: Services, session: SessionState) -> list[Any]:
    chosen = [services.data_sets.chosen(session, side) for side in SIDES]
    trees = [value for c in chosen for value in (c.format, c.root, c.split)]
    nothing_under_way = ""
    return [*trees, session.data.target_labels, nothing_under_way]


def _content(services: Services, session: SessionState) -> DataView:
    source, target = (look_at(services, session, side) for side in SIDES)
    parts: dict[str, Any] = {}
    for side, shown in zip(SIDES, (source, target), strict=True):
        parts |= _side_parts(side, shown, session.data.overlay)
    return DataView(
        **parts,
        **_color_parts(source, target),
        **_progress(services, session, begin=True),
        legend=_legend([source.labels, target.labels], session.data.overlay),
    )


def _side_parts(side: Side, shown: Shown, overlay: Overlay) -> dict[str, Any]:
    count = 0 if shown.tree is None else len(shown.tree)
    slider = gr.Slider(
        minimum=1, maximum=max(count, 2), value=shown.position + 1, interactive=count > 1
    )
    picture = None if shown.image is None else draw_overlay(shown.image, shown.labels, overlay)
    return {
        f"{side}_notice": gr.HTML(shown.problem, visible=bool(shown.problem)),
        f"{side}_bar": gr.Row(visible=count > 0),
        f"{side}_position": slider,
        f"{side}_shown": gr.Column(visible=picture is not None),
        f"{side}_picture": picture,
        f"{side}_text": _text(shown, count),
    }


def _text(shown: Shown, count: int) -> str:
    if shown.tree is None or shown.image is None:
        return ""
    height, width = shown.image.shape[:2]
    pairs = [
        ("image", shown.tree.basename(shown.position)),
        ("place", f"{shown.position + 1:,} of {count:,}"),
        ("size", f"{width} × {height}"),
    ]
    labels = shown.labels
    if labels is None:
        return markup.facts([*pairs, ("", "" if shown.problem else _NO_LABELS)])
    counted = Counter(THING_NAMES[int(label)] for label in labels.labels)
    listed = ", ".join(f"{n} {name}" for name, n in counted.most_common())
    without = (labels.ids < 0) | (labels.semantic == IGNORE_TRAIN_ID)
    pairs += [
        ("instances", f"{len(labels.labels)}" + (f" ({listed})" if listed else "")),
        ("ignored", f"{100 * without.mean():.1f} % of pixels"),
        ("left out", _filter_words(shown.tree)),
    ]
    return markup.facts(pairs)


def _filter_words(tree: ImageTree) -> str:
    """Return which objects the run's configuration ignores, or nothing."""
    wanted = tree.options.objects
    words = []
    if wanted.max_occlusion is not None:
        words.append(f"hidden by more than {100 * wanted.max_occlusion:g} %")
    if wanted.max_truncation is not None:
        words.append(f"outside by more than {100 * wanted.max_truncation:g} %")
    if wanted.min_area:
        words.append(f"under {wanted.min_area} pixels")
    return "objects " + ", ".join(words) if words else ""


def _legend(both: list[LabelArrays | None], overlay: Overlay) -> str:
    known = [labels for labels in both if labels is not None]
    if overlay == "none" or not known:
        return ""
    if overlay == "ignore":
        return markup.legend(
            [
                ("ignored object", css(IGNORED_OBJECT_COLOR)),
                ("no class", css(NO_CLASS_COLOR)),
            ]
        )
    if overlay == "semantic":
        present = np.unique(np.concatenate([np.unique(labels.semantic) for labels in known]))
        return markup.legend(
            [(c.name, css(c.color)) for c in SEMANTIC_CLASSES if c.train_id in present]
        )
    things = sorted({int(label) for labels in known for label in labels.labels})
    return markup.legend([(THING_NAMES[k], class_css(THING_NAMES[k])) for k in things])


def _color_parts(source: Shown, target: Shown) -> dict[str, Any]:
    if source.image is None or target.image is None:
        hidden = {name: gr.skip() for name in ("plain", "aligned", "color_table", "color_charts")}
        return {"colors": gr.Column(visible=False), **hidden}
    view = color_view(source.image, target.image)
    return {
        "colors": gr.Column(visible=True),
        "plain": view.plain,
        "aligned": view.aligned,
        "color_table": view.table,
        "color_charts": view.charts,
    }


def _progress(services: Services, session: SessionState, *, begin: bool) -> dict[str, Any]:
    """Return the parts that change by themselves.

    Args:
        services: what the page works with.
        session: what the browser looks at.
        begin: whether counting begins where nobody has asked for it.
    """
    parts: dict[str, Any] = {}
    shares: dict[str, Shares | None] = {}
    for side in SIDES:
        ref = _ref_or_none(services, session, side)
        check = Check("none") if ref is None else services.checks.look(ref)
        running = check.state == "running"
        parts[f"{side}_check"] = gr.Button(interactive=ref is not None and not running)
        parts[f"{side}_stop"] = gr.Button(visible=running)
        parts[f"{side}_report"] = check_report(check)
        shares[side] = _shares(services, session, side, ref, begin=begin)
    parts["shares_basis"] = shares_basis(shares, services.class_shares.limit)
    parts["shares"] = class_bars(shares)
    return parts


def _ref_or_none(services: Services, session: SessionState, side: Side) -> DatasetRef | None:
    try:
        return services.data_sets.ref(session, side)
    except UserError:
        return None  # the side's notice tells


def _shares(
    services: Services, session: SessionState, side: Side, ref: DatasetRef | None, *, begin: bool
) -> Shares | None:
    """Return how far the counting of a side is; None where its labels are not opened."""
    if ref is None or not labels_wanted(session, side):
        return None
    known = services.class_shares.look(ref)
    if not begin:
        return known
    try:
        tree = services.data_sets.open(ref, side, labels=True)
    except UserError:
        return None  # the side's notice tells
    return services.class_shares.ask(ref, lambda: tree)
