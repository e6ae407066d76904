"""Pseudo-labels: what a score threshold keeps and drops."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from uda4inst.colors import DROPPED_COLOR, IGNORED_OBJECT_COLOR
from uda4inst.run_folder.snapshot_reader import PixelLabelImage, Snapshot
from uda4inst.uda.threshold_sweep import Settled
from workbench.drawings import pixel_labels
from workbench.drawings.pseudo_labels import Trial, picture, try_threshold
from workbench.fiftyone_bar import FiftyOneBar, FiftyOneView, bar_view, build_head, wire_button
from workbench.pages.pseudo_labels import pixels
from workbench.pages.pseudo_labels.inspection import inspected
from workbench.pages.pseudo_labels.pixels import THRESHOLDS
from workbench.services import Services
from workbench.session import TRIED_SCORES, SessionState
from workbench.snapshot_bar import BarView, build_bar, snapshot_tick, snapshot_view, wire_bar
from workbench.ui import markup, plots
from workbench.ui.edge import Mounted
from workbench.ui.inputs import within
from workbench.ui.palette import css, thing_css
from workbench.ui.views import Empty, Frame, Framed, Unchanged

TITLE = "Pseudo-labels"
QUESTION = "Which pseudo-labels does a threshold keep?"
HINT = (
    "Score = class probability x mean mask probability, by the teacher; of semantic methods, the "
    "probability of each pixel's likeliest class. The slider works on what is stored; training is "
    "not touched."
)
TICK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdView:
    """The slider, the picture and the numbers."""

    threshold: float
    target_labels: gr.Checkbox
    picture: NDArray[np.uint8]
    legend: str
    table: str
    curve: str
    fiftyone: FiftyOneView


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """The components of the page."""

    threshold: gr.Slider
    reset: gr.Button
    target_labels: gr.Checkbox
    picture: gr.Image
    legend: gr.HTML
    table: gr.HTML
    curve: gr.HTML
    fiftyone: FiftyOneBar


def draw(
    services: Services, state: SessionState, snapshot: Snapshot, index: int
) -> ThresholdView | Empty:
    """Return what the session's threshold does to one item of a snapshot."""
    item = snapshot.items[index] if snapshot.items else None
    if item is not None and item.pixel_labels is not None:
        return _draw_pixels(services, state, snapshot, index, item.pixel_labels)
    if item is None or item.target is None or item.pseudo_labels is None:
        return Empty(
            markup.empty(
                "No pseudo-labels at this step",
                "Stage 1 trains on labels alone; a method that learns from pseudo-labels makes "
                "them in stage 2. Choose a later snapshot or another run."
                if snapshot.stage == 1
                else f"{snapshot.method} learns without them. Choose another run.",
            )
        )
    share = services.runs.number(state.run, "method.ego.min_valid_share") if state.run else None
    candidates = services.candidates.of(
        item,
        min_valid_share=0.0 if share is None else share,
        min_visible_share=snapshot.min_visible_share,
    )
    trial = try_threshold(state.score_threshold, snapshot, item, candidates)
    return ThresholdView(
        threshold=trial.threshold,
        target_labels=gr.Checkbox(visible=False),
        picture=picture(item, candidates, trial),
        legend=_legend(candidates, trial),
        table=_table(candidates, trial, snapshot),
        curve=plots.draw(_curve(candidates, trial)),
        fiftyone=bar_view(services, state, inspected),
    )


def _draw_pixels(
    services: Services, state: SessionState, snapshot: Snapshot, index: int, labels: PixelLabelImage
) -> ThresholdView:
    """Return what the session's threshold does to the pseudo-labels of pixels."""
    own = snapshot.pixel_threshold
    trial = pixel_labels.try_confidence(state.score_threshold, labels, own=own)
    truth = pixels.truth_of(services, state, snapshot.step, index, labels)
    return ThresholdView(
        threshold=trial.threshold,
        target_labels=gr.Checkbox(value=state.target_labels, visible=True),
        picture=pixel_labels.picture(labels, trial),
        legend=pixels.legend(labels, trial),
        table=pixels.table(labels, trial, truth),
        curve=pixels.curves(labels, trial, own, truth),
        fiftyone=bar_view(services, state, inspected),
    )


def _legend(candidates: Settled, trial: Trial) -> str:
    labels = sorted({int(label) for label in candidates.labels[trial.kept]})
    entries = [(f"kept: {candidates.names[k]}", thing_css(k)) for k in labels]
    if trial.ignored.any():
        entries.append(("ignored: unsure", css(IGNORED_OBJECT_COLOR)))
    entries.append(("dropped", css(DROPPED_COLOR)))
    return markup.legend(entries, dashed=["ignored: unsure", "dropped"])


def _table(candidates: Settled, trial: Trial, snapshot: Snapshot) -> str:
    """Return how many of each class are kept, ignored and dropped, here and in training."""
    dropped = ~trial.kept & ~trial.ignored
    columns = {"kept": trial.kept, "ignored": trial.ignored, "dropped": dropped}
    if snapshot.unsure_threshold is None:
        del columns["ignored"]
    columns[_training_column(snapshot)] = trial.trained
    rows: list[list[str]] = []
    for label, name in enumerate(candidates.names):
        mine = candidates.labels == label
        if mine.any():
            key = f'<span class="wb-key"><i style="--key:{thing_css(label)}"></i>{name}</span>'
            rows.append([key, *(str(int((mine & which).sum())) for which in columns.values())])
            if not snapshot.has_one_threshold and name in snapshot.class_thresholds:
                rows[-1][-1] += f" (> {snapshot.class_thresholds[name]:.2f})"
    totals = [str(int(which.sum())) for which in columns.values()]
    rows.append([f"<b>{text}</b>" for text in ("all", *totals)])
    causes = f'<p class="wb-quiet">{_causes(candidates, snapshot)}</p>'
    return markup.table(["class", *columns], rows, kind="wb-counts") + causes


def _training_column(snapshot: Snapshot) -> str:
    if snapshot.has_one_threshold:
        return f"kept in training ({snapshot.score_threshold:g})"
    return "kept in training (threshold of the class)"


def _causes(candidates: Settled, snapshot: Snapshot) -> str:
    """Return why detections cannot be kept at any threshold, and when one is ignored."""
    on_ego, covered = int(candidates.on_ego.sum()), int(candidates.covered.sum())
    text = (
        f"At any threshold, {on_ego} are dropped on the ego vehicle and {covered} covered by "
        "better-scored detections"
    )
    if snapshot.min_visible_share:
        text += (
            f"; of {int(candidates.sliver.sum())} less than {snapshot.min_visible_share:.0%} is "
            "left to see"
        )
    if snapshot.unsure_threshold is not None:
        text += (
            f". What scores more than {snapshot.unsure_threshold:g} and is not kept is ignored "
            "instead of background"
        )
    return text + "."


def _curve(candidates: Settled, trial: Trial) -> plots.Chart:
    threshold, own = trial.threshold, trial.own
    counts = candidates.curve(THRESHOLDS).astype(np.float64)
    lines = [plots.Line("all", "var(--body-text-color)", counts.sum(axis=1))]
    lines += [
        plots.Line(name, thing_css(label), counts[:, label])
        for label, name in enumerate(candidates.names)
        if counts[:, label].any()
    ]
    marks = [plots.Mark(threshold, f"{threshold:g}", strong=True)]
    if threshold != own:
        marks.append(plots.Mark(own, f"training {own:g}"))
    return plots.Chart(
        "Kept over the threshold",
        THRESHOLDS,
        lines,
        x_name="score threshold",
        marks=marks,
        steps=True,
        whole=True,
        height=220,
    )


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    fiftyone = build_head("pseudo_labels", QUESTION, HINT)
    bar = build_bar("pseudo_labels")
    notice, body = Frame.open("pseudo-labels")
    with body:
        slots = _build_slots(fiftyone)
    timer = gr.Timer(TICK_SECONDS, active=False)
    frame = Frame.of(notice, body, {BarView: bar, ThresholdView: slots})

    def show(state: SessionState) -> Framed[BarView, ThresholdView]:
        return snapshot_view(services, state, lambda s, i: draw(services, state, s, i))

    def follow(state: SessionState, step: float) -> Framed[BarView, ThresholdView] | Unchanged:
        return snapshot_tick(services, state, step, lambda s, i: draw(services, state, s, i))

    mounted = Mounted("pseudo_labels", session, frame, show, [], timer)
    mounted.on_tick(follow, inputs=[bar.slider])
    wire_bar(bar, services, mounted)
    wire_button(fiftyone, services, mounted, inspected)
    mounted.on_choice(
        slots.threshold.input,
        lambda state, threshold: state.on_threshold(within(threshold, TRIED_SCORES)),
        "threshold",
        inputs=[slots.threshold],
    )
    mounted.on_choice(slots.reset.click, lambda state: state.on_threshold(None), "reset")
    mounted.on_choice(
        slots.target_labels.input,
        lambda state, shown: state.on_target_labels(bool(shown)),
        "target_labels",
        inputs=[slots.target_labels],
    )
    return mounted


def _build_slots(fiftyone: FiftyOneBar) -> _Slots:
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        threshold = gr.Slider(
            *TRIED_SCORES,
            value=0.9,
            step=0.01,
            label="Score threshold",
            elem_id="pseudo-labels-threshold",
            scale=6,
            buttons=[],
        )
        reset = gr.Button("Training's own", elem_id="pseudo-labels-reset", scale=0, min_width=150)
        target_labels = gr.Checkbox(
            False,
            label=markup.TARGET_LABELS,
            elem_id="pseudo-labels-target-labels",
            min_width=320,
            scale=3,
            visible=False,
        )
    with gr.Row():
        with gr.Column(scale=7, min_width=340):
            shown = gr.Image(
                label="Target image",
                elem_id="pseudo-labels-picture",
                interactive=False,
                format="png",
                buttons=["fullscreen", "download"],
                elem_classes="wb-picture",
            )
            legend = gr.HTML(elem_id="pseudo-labels-legend")
        with gr.Column(scale=5, min_width=340):
            table = gr.HTML(elem_id="pseudo-labels-table")
            curve = gr.HTML(elem_id="pseudo-labels-curve")
    return _Slots(
        threshold=threshold,
        reset=reset,
        target_labels=target_labels,
        picture=shown,
        legend=legend,
        table=table,
        curve=curve,
        fiftyone=fiftyone,
    )
