"""The form that sets up a run: a control for every setting of the configuration's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import gradio as gr

from workbench.ui.forms import FieldSpec, to_widget, value_at

# What a first run is likely to change, as the form names it; the rest waits in its section.
ESSENTIAL: Final = {
    "run.name": "Run name",
    "method.name": "Method",
    "seed": "Seed",
    "training.stage1_steps": "Stage 1 steps",
    "training.stage2_steps": "Stage 2 steps",
    "training.batch_size": "Batch size",
    "method.score_threshold": "Score threshold",
    "method.groups": "Category groups",
}
SECTION_TITLES: Final = {
    "general": "General",
    "run": "Run folder",
    "data": "Data",
    "model": "Network",
    "method": "Method",
    "training": "Training",
    "optim": "Optimizer",
    "evaluation": "Evaluation",
}


@dataclass(frozen=True, slots=True)
class RunForm:
    """The form's controls beside the settings they stand for, in the same order."""

    fields: Sequence[FieldSpec]
    controls: Sequence[Any]

    def control(self, key: str) -> Any:
        """Return the control of one setting."""
        return next(c for f, c in zip(self.fields, self.controls, strict=True) if f.key == key)

    @property
    def changes(self) -> list[Callable[..., Any]]:
        """The events by which a value changes.

        A textbox sends its `input` before it has taken over the new text, so there it is `change`.
        """
        return [
            control.change if isinstance(control, gr.Textbox) else control.input
            for control in self.controls
        ]


def build_form(fields: Sequence[FieldSpec], config: Mapping[str, Any]) -> RunForm:
    """Create the controls, set to a configuration's values."""
    known = {field.key: field for field in fields}
    essential = [known[key] for key in ESSENTIAL if key in known]
    rest = [field for field in fields if field.key not in ESSENTIAL]
    controls: dict[str, Any] = {}
    with gr.Group():
        for pair in _pairs(essential):
            with gr.Row():
                for field in pair:
                    controls[field.key] = _control(field, config)
    for section, members in groupby(
        sorted(rest, key=lambda f: _section_order(f.section)), key=lambda f: f.section
    ):
        with gr.Accordion(SECTION_TITLES.get(section, section), open=False):
            for field in members:
                controls[field.key] = _control(field, config)
    return RunForm(fields=list(fields), controls=[controls[field.key] for field in fields])


def form_values(fields: Sequence[FieldSpec], config: Mapping[str, Any]) -> list[Any]:
    """Return a configuration's values as the form's controls show them."""
    return [to_widget(field, value_at(config, field.key)) for field in fields]


def _control(field: FieldSpec, config: Mapping[str, Any]) -> Any:
    value = to_widget(field, value_at(config, field.key))
    common: dict[str, Any] = {
        "value": value,
        "label": ESSENTIAL.get(field.key, field.label),
        "info": field.description or None,
        "elem_id": f"field-{field.key.replace('.', '-').replace('_', '-')}",
    }
    if field.kind == "switch":
        return gr.Checkbox(**common)
    if field.kind in ("whole", "number"):
        return gr.Number(**common, min_width=120)
    if field.kind == "choice":
        return gr.Dropdown(choices=list(field.choices), **common, min_width=120)
    if field.kind == "choices":
        return gr.Dropdown(choices=list(field.choices), multiselect=True, **common)
    return gr.Textbox(**common, lines=1, max_lines=1, min_width=120)


def _pairs(fields: Sequence[FieldSpec]) -> list[list[FieldSpec]]:
    """Return fields two by two; the first (the name) has a line of its own."""
    rest = fields[1:]
    pairs = [list(rest[i : i + 2]) for i in range(0, len(rest), 2)]
    return [list(fields[:1]), *pairs]


def _section_order(section: str) -> int:
    titles = list(SECTION_TITLES)
    return titles.index(section) if section in titles else len(titles)
