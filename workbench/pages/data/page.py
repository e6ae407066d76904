"""Data: the images training reads, their labels, and what is wrong with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, get_args

import gradio as gr

from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import DATASETS
from uda4inst.errors import UserError
from workbench.pages.data.view import data_tick, data_view
from workbench.services import Services
from workbench.session import DataChoice, Overlay, SessionState, TreeChoice
from workbench.stores.data_sets import SIDES, Side, labels_wanted
from workbench.ui import markup
from workbench.ui.edge import Mounted, Page
from workbench.ui.markup import section

TITLE = "Data"
QUESTION = "What is in the data, and is it sound?"
HINT = (
    "Begins with the data of the run chosen above. Training opens the source's labels and never "
    "the target's."
)
TICK_SECONDS = 2.0
READING: Final = '<div class="wb-reading">reading the data …</div>'
_SPLITS: Final = ["train", "val"]
_LABELS: Final = "Show the target's labels (never used for training)"


@dataclass(frozen=True, slots=True)
class _SideControls:
    """What is chosen on one side, and where it is shown."""

    format: gr.Dropdown
    root: gr.Textbox
    split: gr.Dropdown
    notice: gr.HTML
    bar: gr.Row
    previous: gr.Button
    position: gr.Slider
    following: gr.Button
    chance: gr.Button
    shown: gr.Column
    picture: gr.Image
    text: gr.HTML

    @property
    def tree(self) -> list[Any]:
        """What names the images."""
        return [self.format, self.root, self.split]

    @property
    def parts(self) -> list[Any]:
        """What a view fills."""
        return [self.notice, self.bar, self.position, self.shown, self.picture, self.text]


@dataclass(frozen=True, slots=True)
class _CheckControls:
    """The check of one side."""

    start: gr.Button
    stop: gr.Button
    report: gr.HTML

    @property
    def parts(self) -> list[Any]:
        """What a view fills."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What is shown below the checks."""

    basis: gr.HTML
    shares: gr.HTML
    colors: gr.Column
    plain: gr.Image
    aligned: gr.Image
    table: gr.HTML
    charts: gr.HTML

    @property
    def parts(self) -> list[Any]:
        """What a view fills."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class _Choices:
    """Binds choices, and says that their data are being read until the page is drawn."""

    page: Mounted
    busy: gr.HTML

    def bind(
        self,
        event: Callable[..., Any],
        choose: Callable[..., SessionState],
        name: str,
        *,
        inputs: Sequence[Any] = (),
    ) -> None:
        """Bind a choice; see `Mounted.on_choice`."""

        def begin(*values: Any) -> list[Any]:
            return [choose(*values), READING]

        self.page.on_choice(event, begin, name, inputs=inputs, outputs=[self.busy])


def build(services: Services, session: gr.State, app: gr.Blocks) -> Mounted:
    """Create the page and bind its events."""
    del app
    gr.HTML(markup.page_header(QUESTION, HINT))
    busy = gr.HTML(READING, elem_id="data-busy")
    with gr.Row():
        trees = {side: _build_tree(side) for side in SIDES}
    overlay, labels = _build_looks()
    with gr.Row():
        sides: dict[Side, _SideControls] = {
            side: _SideControls(**trees[side], **_build_image(side)) for side in SIDES
        }
    legend = gr.HTML(elem_id="data-legend")
    notice, body = Page.frame("data")
    with body:
        checks, below = _build_sections()
    page = Page(
        notice,
        body,
        parts=[
            *(part for side in SIDES for part in sides[side].parts),
            legend,
            *(part for side in SIDES for part in checks[side].parts),
            *below.parts,
        ],
        head=[*(part for side in SIDES for part in sides[side].tree), labels, busy],
    )
    mounted = Mounted(
        "data",
        session,
        page,
        lambda state: data_view(services, state),
        [],
        gr.Timer(TICK_SECONDS, active=False),
    )
    mounted.on_tick(
        lambda state, *shown: data_tick(services, state, *shown),
        inputs=[*(checks[side].report for side in SIDES), below.shares],
    )
    choices = _Choices(mounted, busy)
    _wire_looks(overlay, labels, choices)
    for side in SIDES:
        _wire_tree(side, sides[side], choices)
        _wire_position(side, sides[side], choices, services)
        _wire_check(side, checks[side], choices, services)
    return mounted


def _build_looks() -> tuple[gr.Radio, gr.Checkbox]:
    with gr.Row(equal_height=True, elem_classes="wb-bar"):
        overlay = gr.Radio(
            list(get_args(Overlay)),
            value=DataChoice().overlay,
            label="Drawn over the images",
            elem_id="data-overlay",
            min_width=420,
            scale=2,
        )
        labels = gr.Checkbox(
            False, label=_LABELS, elem_id="data-target-labels", min_width=320, scale=1
        )
    return overlay, labels


def _build_tree(side: Side) -> dict[str, Any]:
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
    return {"format": format_, "root": root, "split": split, "notice": notice}


def _build_image(side: Side) -> dict[str, Any]:
    with gr.Column(min_width=340):
        with gr.Row(equal_height=True, elem_classes="wb-bar", visible=False) as bar:
            places = _build_position(side)
        with gr.Column(visible=False) as shown:
            picture = _picture(f"{side.capitalize()}", f"{side}-picture")
            text = gr.HTML(elem_id=f"data-{side}-text")
    return {"bar": bar, "shown": shown, "picture": picture, "text": text, **places}


def _build_position(side: Side) -> dict[str, Any]:
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


def _build_sections() -> tuple[dict[Side, _CheckControls], _Findings]:
    gr.HTML(
        section(
            "Are all files there, readable and consistent?",
            "opens every file, the target's labels too; changes nothing",
        )
    )
    with gr.Row():
        checks: dict[Side, _CheckControls] = {side: _build_check(side) for side in SIDES}
    gr.HTML(section("How frequent is each class?", "share of all instances; rare within its group"))
    basis = gr.HTML(elem_id="data-shares-basis")
    shares = gr.HTML(elem_id="data-shares")
    with gr.Column(visible=False) as colors:
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
    return checks, _Findings(basis, shares, colors, plain, aligned, table, charts)


def _build_check(side: Side) -> _CheckControls:
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
    return _CheckControls(start, stop, report)


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


def _wire_looks(overlay: gr.Radio, labels: gr.Checkbox, choices: _Choices) -> None:
    def draw_over(state: SessionState, value: Overlay) -> SessionState:
        return state.on_data(overlay=value)

    def open_labels(state: SessionState, value: bool) -> SessionState:
        return state.on_data(target_labels=bool(value))

    choices.bind(overlay.input, draw_over, "overlay", inputs=[overlay])
    choices.bind(labels.input, open_labels, "target_labels", inputs=[labels])


def _wire_tree(side: Side, controls: _SideControls, choices: _Choices) -> None:
    def choose(state: SessionState, format_name: str, root: str, split: str) -> SessionState:
        return choose_tree(state, side, TreeChoice(format_name, root or "", split or ""))

    def other_format(state: SessionState, format_name: str, root: str) -> SessionState:
        return choose(state, format_name, root, DATASETS[format_name].default_split)

    for name, event in (
        ("split", controls.split.input),
        ("root", controls.root.submit),
        ("root_left", controls.root.blur),
    ):
        choices.bind(event, choose, f"{side}_{name}", inputs=controls.tree)
    choices.bind(
        controls.format.input,
        other_format,
        f"{side}_format",
        inputs=[controls.format, controls.root],
    )


def choose_tree(state: SessionState, side: Side, choice: TreeChoice) -> SessionState:
    """Return the session on other images; the same ones stay where they are."""
    current = state.data.source if side == "source" else state.data.target
    return state if choice == current else state.on_data(**{side: choice})


def _wire_position(
    side: Side, controls: _SideControls, choices: _Choices, services: Services
) -> None:
    def moved(direction: int) -> Callable[[SessionState], SessionState]:
        return lambda state: move(services, state, side, direction)

    choices.bind(controls.previous.click, moved(-1), f"{side}_previous")
    choices.bind(controls.following.click, moved(1), f"{side}_next")
    choices.bind(
        controls.chance.click, lambda state: pick_random(services, state, side), f"{side}_random"
    )
    choices.bind(
        controls.position.input,
        lambda state, place: _at(state, side, int(place) - 1),
        f"{side}_position",
        inputs=[controls.position],
    )


def move(services: Services, state: SessionState, side: Side, direction: int) -> SessionState:
    """Return the session one image further, or back."""
    last = max(_count(services, state, side) - 1, 0)
    return _at(state, side, min(max(min(_place(state, side), last) + direction, 0), last))


def pick_random(services: Services, state: SessionState, side: Side) -> SessionState:
    """Return the session on another image, any one."""
    others = [i for i in range(_count(services, state, side)) if i != _place(state, side)]
    return _at(state, side, random.choice(others)) if others else state


def _place(state: SessionState, side: Side) -> int:
    return state.data.source_position if side == "source" else state.data.target_position


def _at(state: SessionState, side: Side, place: int) -> SessionState:
    return state.on_data(**{f"{side}_position": place})


def _count(services: Services, state: SessionState, side: Side) -> int:
    ref = services.data_sets.ref(state, side)
    if ref is None:
        return 0
    return len(services.data_sets.open(ref, side, labels=labels_wanted(state, side)))


def _wire_check(
    side: Side, controls: _CheckControls, choices: _Choices, services: Services
) -> None:
    def asking(what: Callable[[DatasetRef], None]) -> Callable[[SessionState], SessionState]:
        return lambda state: ask(services, state, side, what)

    choices.bind(controls.start.click, asking(services.checks.start), f"{side}_check")
    choices.bind(controls.stop.click, asking(services.checks.stop), f"{side}_stop")


def ask(
    services: Services, state: SessionState, side: Side, what: Callable[[DatasetRef], None]
) -> SessionState:
    """Ask something of the check of a side's images."""
    ref = services.data_sets.ref(state, side)
    if ref is None:
        raise UserError(f"a {side} must be named to be checked, got none. Name its folder.")
    what(ref)
    return state
