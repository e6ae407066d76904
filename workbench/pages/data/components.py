"""The components of the Data page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict, get_args

import gradio as gr

from uda4inst.data.readers import DATASETS
from workbench.fiftyone_bar import FiftyOneBar
from workbench.session import Overlay
from workbench.stores.data_sets import Side
from workbench.ui.markup import TARGET_LABELS, section

_SPLITS: Final = ["train", "val"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSlot:
    """What names the images of a side."""

    format: gr.Dropdown
    root: gr.Textbox
    split: gr.Dropdown


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSlot:
    """Where an image of a side is shown, and chosen."""

    notice: gr.HTML
    bar: gr.Row
    previous: gr.Button
    position: gr.Slider
    following: gr.Button
    chance: gr.Button
    shown: gr.Column
    picture: gr.Image
    text: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSlot:
    """The check of a side."""

    start: gr.Button
    stop: gr.Button
    report: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorSlot:
    """What LAB alignment does to the pair."""

    shown: gr.Column
    plain: gr.Image
    aligned: gr.Image
    table: gr.HTML
    charts: gr.HTML


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSlots:
    """What chooses the data, and what says that they are being read."""

    source: TreeSlot
    target: TreeSlot
    overlay: gr.Radio
    target_labels: gr.Checkbox
    busy: gr.HTML
    fiftyone: FiftyOneBar

    def tree(self, side: Side) -> TreeSlot:
        """Return what names the images of a side."""
        return self.source if side == "source" else self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSlots:
    """The checks of both sides, and the classes of both."""

    source: CheckSlot
    target: CheckSlot
    shares_basis: gr.HTML
    shares: gr.HTML

    def check(self, side: Side) -> CheckSlot:
        """Return the check of a side."""
        return self.source if side == "source" else self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSlots:
    """Everything below the head."""

    source: ImageSlot
    target: ImageSlot
    legend: gr.HTML
    progress: CheckSlots
    colors: ColorSlot

    def image(self, side: Side) -> ImageSlot:
        """Return where the image of a side is shown."""
        return self.source if side == "source" else self.target


def build_tree(side: Side) -> tuple[TreeSlot, gr.HTML]:
    """Create what names the images of a side, and below it a notice about them."""
    with gr.Column(min_width=340):
        with gr.Row(equal_height=True, elem_classes="wb-bar"):
            format_ = gr.Dropdown(
                list(DATASETS),
                value=None,
                label=f"{side.capitalize()}: format",
                elem_id=f"data-{side}-format",
                min_width=150,
                scale=2,
            )
            root = gr.Textbox(
                label="Folder", elem_id=f"data-{side}-root", min_width=180, scale=3, max_lines=1
            )
            split = gr.Dropdown(
                _SPLITS,
                value=None,
                label="Split",
                elem_id=f"data-{side}-split",
                allow_custom_value=True,
                min_width=100,
            )
        notice = gr.HTML(elem_id=f"data-{side}-notice", visible=False)
    return TreeSlot(format=format_, root=root, split=split), notice


def build_looks() -> tuple[gr.Radio, gr.Checkbox]:
    """Create what says how images are shown: the overlay, and whether target labels are opened."""
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        overlay = gr.Radio(
            list(get_args(Overlay)),
            value="instances",
            label="Drawn over the images",
            elem_id="data-overlay",
            min_width=420,
            scale=2,
        )
        labels = gr.Checkbox(
            False, label=TARGET_LABELS, elem_id="data-target-labels", min_width=320, scale=1
        )
    return overlay, labels


def build_image(side: Side, notice: gr.HTML) -> ImageSlot:
    """Create where an image of a side is shown; `notice` is that of `build_tree`."""
    with gr.Column(min_width=340):
        with gr.Row(equal_height=True, elem_classes="wb-bar", visible=False) as bar:
            place = _build_position(side)
        with gr.Column(visible=False) as shown:
            picture = _picture(f"{side.capitalize()}", f"{side}-picture")
            text = gr.HTML(elem_id=f"data-{side}-text")
    return ImageSlot(notice=notice, bar=bar, shown=shown, picture=picture, text=text, **place)


class _Position(TypedDict):
    previous: gr.Button
    position: gr.Slider
    following: gr.Button
    chance: gr.Button


def _build_position(side: Side) -> _Position:
    previous = gr.Button("◀", elem_id=f"data-{side}-previous", min_width=44, scale=0)
    position = gr.Slider(
        1,
        2,
        value=1,
        step=1,
        label="Image",
        elem_id=f"data-{side}-position",
        min_width=160,
        scale=3,
        buttons=[],
    )
    following = gr.Button("▶", elem_id=f"data-{side}-next", min_width=44, scale=0)
    chance = gr.Button("Random", elem_id=f"data-{side}-random", min_width=84, scale=0)
    return {"previous": previous, "position": position, "following": following, "chance": chance}


def build_checks() -> CheckSlots:
    """Create the checks of both sides, and below them how frequent classes are."""
    gr.HTML(
        section(
            "Are all files there, readable and consistent?",
            "opens every file, the target's labels too; changes nothing",
        )
    )
    with gr.Row():
        source, target = _build_check("source"), _build_check("target")
    gr.HTML(
        section(
            "How frequent is each class?",
            "share of all instances, of the classes that have them; rare within its group",
        )
    )
    basis = gr.HTML(elem_id="data-shares-basis")
    shares = gr.HTML(elem_id="data-shares")
    return CheckSlots(source=source, target=target, shares_basis=basis, shares=shares)


def build_colors() -> ColorSlot:
    """Create where LAB alignment is shown."""
    with gr.Column(visible=False) as shown:
        gr.HTML(
            section(
                "What does LAB alignment do to this pair?",
                "whole images here; training aligns its crops",
            )
        )
        with gr.Row():
            plain = _picture("Source", "plain")
            aligned = _picture("Source with the target's colours", "aligned")
            with gr.Column(min_width=340):
                table = gr.HTML(elem_id="data-color-table")
        charts = gr.HTML(elem_id="data-color-charts")
    return ColorSlot(shown=shown, plain=plain, aligned=aligned, table=table, charts=charts)


def _build_check(side: Side) -> CheckSlot:
    with gr.Column(min_width=340):
        with gr.Row(elem_classes="wb-actions"):
            start = gr.Button(f"Check {side}", elem_id=f"data-{side}-check", size="sm", scale=0)
            stop = gr.Button(
                "Stop",
                variant="stop",
                elem_id=f"data-{side}-stop",
                size="sm",
                scale=0,
                visible=False,
            )
        report = gr.HTML(elem_id=f"data-{side}-report")
    return CheckSlot(start=start, stop=stop, report=report)


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        elem_id=f"data-{name}",
        interactive=False,
        format="png",
        buttons=["fullscreen", "download"],
        elem_classes="wb-picture",
        min_width=320,
    )
