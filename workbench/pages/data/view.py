"""What the Data page shows for a session: two images and their labels, colours, class shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

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
from workbench.fiftyone_bar import FiftyOneView, bar_view
from workbench.jobs.data_checks import Check
from workbench.pages.data.colors import color_view
from workbench.pages.data.inspection import inspected
from workbench.pages.data.markup import check_report, class_bars, shares_basis
from workbench.services import Services
from workbench.session import Overlay, SessionState
from workbench.stores.class_shares import Shares
from workbench.stores.data_sets import SIDES, Side, labels_wanted, place_in
from workbench.ui import markup
from workbench.ui.palette import css, thing_css
from workbench.ui.views import UNCHANGED, Framed, Skip, Unchanged

Image = NDArray[np.uint8]
_NO_FOLDER: Final = (
    "No images chosen",
    "Name the folder of a data set above, or make one with: uda4inst data toystreets "
    "data/toystreets",
)
_NO_LABELS: Final = "labels are not opened, as in training"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """What names the images of a side."""

    format: str
    root: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadView:
    """What data are looked at; `busy` is empty once they are shown."""

    source: TreeView
    target: TreeView
    overlay: Overlay
    target_labels: bool
    fiftyone: FiftyOneView
    busy: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImageView:
    """An image of a side."""

    notice: gr.HTML
    bar: gr.Row
    position: gr.Slider
    shown: gr.Column
    picture: Image | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """How far the check of a side is."""

    start: gr.Button
    stop: gr.Button
    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksView:
    """What changes by itself: the checks, and the counting of classes."""

    source: CheckView
    target: CheckView
    shares_basis: str
    shares: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnScreen:
    """What a browser shows of that."""

    source_report: str
    target_report: str
    shares: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColorsView:
    """What LAB alignment does to the pair, where there is one."""

    shown: gr.Column
    plain: Image | Skip = field(default_factory=gr.skip)
    aligned: Image | Skip = field(default_factory=gr.skip)
    table: str | Skip = field(default_factory=gr.skip)
    charts: str | Skip = field(default_factory=gr.skip)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DataView:
    """The page below its head."""

    source: ImageView
    target: ImageView
    legend: str
    progress: ChecksView
    colors: ColorsView


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


def data_view(services: Services, session: SessionState) -> Framed[HeadView, DataView]:
    """Return the page for a session: its controls first, so that they stay usable."""
    return Framed(_head(services, session), lambda: _content(services, session))


def data_tick(services: Services, session: SessionState, shown: OnScreen) -> ChecksView | Unchanged:
    """Return what time has changed: checks and the counting of classes.

    Args:
        services: what the page works with.
        session: what the browser looks at.
        shown: what may have changed since.
    """
    now = _progress(services, session, begin=False)
    same = shown == OnScreen(
        source_report=now.source.report, target_report=now.target.report, shares=now.shares
    )
    return UNCHANGED if same else now


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
        position = place_in(session, side, len(tree))
        image = tree.read_image(position)
        if wanted:
            labels = tree.read_labels(position)
            check_same_size(tree.records[position], image.shape[:2], labels.ids.shape)
    except UserError as error:
        problem = markup.problem(str(error))
        return Shown(ref=ref, tree=tree, position=position, image=image, problem=problem)
    return Shown(ref=ref, tree=tree, position=position, image=image, labels=labels)


def draw_overlay(
    image: Image,
    labels: LabelArrays | None,
    overlay: Overlay,
    names: Sequence[str] = THING_NAMES,
) -> Image:
    """Return the picture of an image, with what its labels say drawn over it."""
    if labels is None or overlay == "none":
        return resize(image, display_size((image.shape[0], image.shape[1])))
    if overlay == "semantic":
        return overlay_semantic(image, labels.semantic)
    if overlay == "ignore":
        return overlay_ignored(image, labels.ids, labels.semantic)
    if overlay == "boxes":
        return draw_boxes(image, labels.ids, labels.labels, names=names)
    return overlay_instances(image, labels.ids, labels.labels, alpha=0.4)


def _head(services: Services, session: SessionState) -> HeadView:
    def tree(side: Side) -> TreeView:
        chosen = services.data_sets.chosen(session, side)
        return TreeView(format=chosen.format, root=chosen.root, split=chosen.split)

    return HeadView(
        source=tree("source"),
        target=tree("target"),
        overlay=_overlay(services, session),
        target_labels=session.data.target_labels,
        fiftyone=bar_view(services, session, inspected),
    )


def _overlay(services: Services, session: SessionState) -> Overlay:
    """Return what is drawn: as chosen, else what the run learns."""
    if session.data.overlay is not None:
        return session.data.overlay
    is_semantic = session.run is not None and services.runs.task(session.run).labels == "semantic"
    return "semantic" if is_semantic else "instances"


def _content(services: Services, session: SessionState) -> DataView:
    source, target = (look_at(services, session, side) for side in SIDES)
    overlay = _overlay(services, session)
    return DataView(
        source=_image(source, overlay),
        target=_image(target, overlay),
        legend=_legend([source, target], overlay),
        progress=_progress(services, session, begin=True),
        colors=_colors(source, target),
    )


def _image(shown: Shown, overlay: Overlay) -> ImageView:
    count = 0 if shown.tree is None else len(shown.tree)
    picture = (
        None
        if shown.image is None
        else draw_overlay(shown.image, shown.labels, overlay, _names(shown))
    )
    return ImageView(
        notice=gr.HTML(shown.problem, visible=bool(shown.problem)),
        bar=gr.Row(visible=count > 0),
        position=gr.Slider(
            minimum=1, maximum=max(count, 2), value=shown.position + 1, interactive=count > 1
        ),
        shown=gr.Column(visible=picture is not None),
        picture=picture,
        text=_text(shown, count),
    )


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
    names = _names(shown)
    counted = Counter(names[int(label)] for label in labels.labels)
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


def _legend(both: Sequence[Shown], overlay: Overlay) -> str:
    known = [shown.labels for shown in both if shown.labels is not None]
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
    things = sorted({(int(k), _names(s)[k]) for s in both if s.labels for k in s.labels.labels})
    return markup.legend([(name, thing_css(k)) for k, name in things])


def _names(shown: Shown) -> tuple[str, ...]:
    """Return the names of an image's things, by thing index."""
    return THING_NAMES if shown.tree is None else shown.tree.thing_classes.names


def _colors(source: Shown, target: Shown) -> ColorsView:
    if source.image is None or target.image is None:
        return ColorsView(shown=gr.Column(visible=False))
    found = color_view(source.image, target.image)
    return ColorsView(
        shown=gr.Column(visible=True),
        plain=found.plain,
        aligned=found.aligned,
        table=found.table,
        charts=found.charts,
    )


def _progress(services: Services, session: SessionState, *, begin: bool) -> ChecksView:
    """Return the parts that change by themselves.

    Args:
        services: what the page works with.
        session: what the browser looks at.
        begin: whether counting begins where nobody has asked for it.
    """
    refs = {side: _ref_or_none(services, session, side) for side in SIDES}
    shares = {side: _shares(services, session, side, refs[side], begin=begin) for side in SIDES}
    return ChecksView(
        source=_check(services, refs["source"]),
        target=_check(services, refs["target"]),
        shares_basis=shares_basis(shares, services.class_shares.limit),
        shares=class_bars(shares),
    )


def _check(services: Services, ref: DatasetRef | None) -> CheckView:
    check = Check("none") if ref is None else services.checks.look(ref)
    running = check.state == "running"
    return CheckView(
        start=gr.Button(interactive=ref is not None and not running),
        stop=gr.Button(visible=running),
        report=check_report(check),
    )


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
