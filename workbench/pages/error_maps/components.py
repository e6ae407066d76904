"""The components of the Error maps page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import gradio as gr

from uda4inst.classes import THING_NAMES
from workbench.fiftyone_bar import FiftyOneBar
from workbench.pages.error_maps.controls import ALL, ALL_GROUPS, ALL_IMAGES, NO_RUN
from workbench.session import SHOWN_SCORES, ErrorChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSlots:
    """What is looked at."""

    row: gr.Row
    group: gr.Dropdown
    step: gr.Dropdown
    network: gr.Radio
    other_run: gr.Dropdown
    other_step: gr.Dropdown
    other_network: gr.Radio
    order: gr.Dropdown
    thing: gr.Dropdown
    threshold: gr.Slider
    images: gr.Dropdown
    previous: gr.Button
    position: gr.Slider
    following: gr.Button
    fiftyone: FiftyOneBar


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSlots:
    """The pictures of one image, and the slider through all images."""

    position: gr.Slider
    facts: gr.HTML
    title_a: gr.HTML
    prediction_a: gr.Image
    errors_a: gr.Image
    side_b: gr.Column
    title_b: gr.HTML
    prediction_b: gr.Image
    errors_b: gr.Image
    truth: gr.Image
    confusions: gr.HTML


class _Sides(TypedDict):
    group: gr.Dropdown
    step: gr.Dropdown
    network: gr.Radio
    other_run: gr.Dropdown
    other_step: gr.Dropdown
    other_network: gr.Radio
    images: gr.Dropdown


class _Looks(TypedDict):
    order: gr.Dropdown
    thing: gr.Dropdown
    threshold: gr.Slider


class _Position(TypedDict):
    previous: gr.Button
    position: gr.Slider
    following: gr.Button


def build_controls(bar: FiftyOneBar) -> ControlSlots:
    """Create what chooses; unseen while there is nothing to choose. `bar` is the head's."""
    with gr.Row(visible=False) as row, gr.Column():
        sides = _build_sides()
        with gr.Row(equal_height=True, elem_classes="wb-bar"):
            looks = _build_looks()
            place = _build_position()
    return ControlSlots(row=row, fiftyone=bar, **sides, **looks, **place)


def build_pictures(position: gr.Slider) -> PictureSlots:
    """Create what shows; `position` is the controls'."""
    facts = gr.HTML(elem_id="error-maps-facts")
    title_a = gr.HTML(elem_id="error-maps-title-a")
    with gr.Row():
        prediction_a = _picture("A: prediction", "prediction-a")
        errors_a = _picture("A: errors", "errors-a")
    with gr.Column(visible=False) as side_b:
        title_b = gr.HTML(elem_id="error-maps-title-b")
        with gr.Row():
            prediction_b = _picture("B: prediction", "prediction-b")
            errors_b = _picture("B: errors", "errors-b")
    with gr.Row():
        truth = _picture("Ground truth", "truth")
        gr.HTML(min_width=320, elem_classes="wb-spacer")
    confusions = gr.HTML(elem_id="error-maps-confusions")
    return PictureSlots(
        position=position,
        facts=facts,
        title_a=title_a,
        prediction_a=prediction_a,
        errors_a=errors_a,
        side_b=side_b,
        title_b=title_b,
        prediction_b=prediction_b,
        errors_b=errors_b,
        truth=truth,
        confusions=confusions,
    )


def _build_sides() -> _Sides:
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        group = gr.Dropdown(
            [ALL_GROUPS],
            value=ALL_GROUPS,
            label="A: category group",
            elem_id="error-maps-group",
            min_width=300,
            visible=False,
        )
        step = gr.Dropdown([], label="A: evaluation", elem_id="error-maps-step", min_width=150)
        network = gr.Radio([], label="A: network", elem_id="error-maps-network", min_width=210)
        run = gr.Dropdown(
            [NO_RUN],
            value=NO_RUN,
            label="B: compare with run",
            elem_id="error-maps-other-run",
            min_width=200,
        )
        other_step = gr.Dropdown(
            [],
            label="B: evaluation",
            elem_id="error-maps-other-step",
            min_width=150,
            visible=False,
        )
        other_network = gr.Radio(
            [],
            label="B: network",
            elem_id="error-maps-other-network",
            min_width=210,
            visible=False,
        )
        images = gr.Dropdown(
            [ALL_IMAGES],
            value=ALL_IMAGES,
            label="Images (list)",
            elem_id="error-maps-images",
            allow_custom_value=True,
            min_width=170,
        )
    return {
        "group": group,
        "step": step,
        "network": network,
        "other_run": run,
        "other_step": other_step,
        "other_network": other_network,
        "images": images,
    }


def _build_looks() -> _Looks:
    order = gr.Dropdown(
        ["worst"], value="worst", label="Image order", elem_id="error-maps-order", min_width=150
    )
    thing = gr.Dropdown(
        [ALL, *THING_NAMES], value=ALL, label="Class", elem_id="error-maps-class", min_width=150
    )
    threshold = gr.Slider(
        *SHOWN_SCORES,
        value=ErrorChoice().score_threshold,
        step=0.01,
        label="Score threshold",
        elem_id="error-maps-threshold",
        min_width=200,
        scale=2,
        buttons=[],
    )
    return {"order": order, "thing": thing, "threshold": threshold}


def _build_position() -> _Position:
    previous = gr.Button("◀", elem_id="error-maps-previous", min_width=44, scale=0)
    position = gr.Slider(
        1,
        2,
        value=1,
        step=1,
        label="Image, worst first",
        elem_id="error-maps-position",
        min_width=200,
        scale=3,
        buttons=[],
    )
    following = gr.Button("▶", elem_id="error-maps-next", min_width=44, scale=0)
    return {"previous": previous, "position": position, "following": following}


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        elem_id=f"error-maps-{name}",
        interactive=False,
        format="png",
        buttons=["fullscreen", "download"],
        elem_classes="wb-picture",
        min_width=320,
    )
