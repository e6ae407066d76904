"""The form that sets up a run: a control for every setting of the configuration's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypedDict

import gradio as gr

from workbench.ui.edge import Event
from workbench.ui.forms import FieldSpec, form_values, shown
from workbench.ui.views import Updates

Control: TypeAlias = gr.Checkbox | gr.Number | gr.Dropdown | gr.Textbox

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
    """The form's controls by the names of their fields.

    Args:
        fields: the settings.
        controls: one for each.
        sections: the parts that open on a click, by their first word.
    """

    fields: Sequence[FieldSpec]
    controls: Mapping[str, Control]
    sections: Mapping[str, gr.Accordion]

    @property
    def inputs(self) -> list[Control]:
        """All controls; `values` names what is read from them."""
        return [self.controls[field.name] for field in self.fields]

    @property
    def changes(self) -> list[Event]:
        """The events by which a value changes.

        A textbox sends its `input` before it has taken over the new text, so there it is `change`.
        """
        return [
            control.change if isinstance(control, gr.Textbox) else control.input
            for control in self.inputs
        ]

    @property
    def choosers(self) -> dict[str, Control]:
        """The controls that decide which others are shown, by their fields' names."""
        deciding = {condition.key for field in self.fields for condition in field.when}
        return {f.name: self.controls[f.name] for f in self.fields if f.key in deciding}

    @property
    def outputs(self) -> list[Control | gr.Accordion]:
        """All that `filled` and `arranged` may change."""
        return [*self.inputs, *self.sections.values()]

    def values(self, read: Sequence[object]) -> dict[str, object]:
        """Return what was read from `inputs` by the names of the fields."""
        return {field.name: value for field, value in zip(self.fields, read, strict=True)}

    def filled(self, values: Mapping[str, object]) -> Updates:
        """Return the form set to values, with the controls that apply to them."""
        fresh: Updates = {self.controls[field.name]: values[field.name] for field in self.fields}
        for field, visible in self._visible(values):
            value = values[field.name]
            fresh[self.controls[field.name]] = gr.update(value=value, elem_classes=_seen(visible))
        return fresh | self._sections(values)

    def arranged(self, values: Mapping[str, object]) -> Updates:
        """Return the form with the controls that apply, their values untouched."""
        changes: Updates = {
            self.controls[field.name]: gr.update(elem_classes=_seen(visible))
            for field, visible in self._visible(values)
        }
        return changes | self._sections(values)

    def _visible(self, values: Mapping[str, object]) -> list[tuple[FieldSpec, bool]]:
        """Return the settings that do not always apply, and whether they do."""
        there = {field.name for field in shown(self.fields, values)}
        return [(field, field.name in there) for field in self.fields if field.when]

    def _sections(self, values: Mapping[str, object]) -> Updates:
        """Return the sections that may be empty, unseen where they are."""
        there = {field.name for field in shown(self.fields, values)}
        changes: Updates = {}
        for title, accordion in self.sections.items():
            members = _members(self.fields, title)
            if all(field.when for field in members):
                visible = any(field.name in there for field in members)
                changes[accordion] = gr.update(elem_classes=_seen(visible))
        return changes


def build_form(fields: Sequence[FieldSpec], config: Mapping[str, object]) -> RunForm:
    """Create the controls, set to a configuration's values."""
    values = form_values(fields, config)
    there = {field.name for field in shown(fields, values)}
    controls: dict[str, Control] = {}
    sections: dict[str, gr.Accordion] = {}

    def add(field: FieldSpec) -> None:
        controls[field.name] = _control(field, values[field.name], visible=field.name in there)

    essential = [f for key in ESSENTIAL for f in fields if f.key == key]
    with gr.Group():
        for pair in _pairs(essential):
            with gr.Row():
                for field in pair:
                    add(field)
    titles = dict.fromkeys(field.section for field in fields if field.key not in ESSENTIAL)
    for title in sorted(titles, key=_section_order):
        members = _members(fields, title)
        visible = any(field.name in there for field in members)
        words = SECTION_TITLES.get(title, title)
        with gr.Accordion(words, open=False, elem_classes=_seen(visible)) as part:
            for field in members:
                add(field)
        sections[title] = part
    return RunForm(fields=list(fields), controls=controls, sections=sections)


def _members(fields: Sequence[FieldSpec], section: str) -> list[FieldSpec]:
    """Return the settings that wait in a section."""
    return [f for f in fields if f.section == section and f.key not in ESSENTIAL]


# Not by `visible`: what Gradio takes off the page comes back with another value, an empty number
# as 0, and what is hidden in a section is seen again whenever the section is.
UNSEEN: Final = "wb-unseen"


def _seen(visible: bool) -> list[str]:
    """Return the CSS classes of a control or section that is seen, or not."""
    return [] if visible else [UNSEEN]


class _Looks(TypedDict):
    label: str
    info: str | None
    elem_id: str
    elem_classes: list[str]


def _control(field: FieldSpec, value: object, *, visible: bool) -> Control:
    looks = _Looks(
        label=ESSENTIAL.get(field.key, field.label),
        info=field.description or None,
        elem_id=f"field-{re.sub('[._@]', '-', field.name)}",
        elem_classes=_seen(visible),
    )
    if field.kind == "switch":
        return gr.Checkbox(bool(value), **looks)
    if field.kind in ("whole", "number"):
        number = value if isinstance(value, int | float) else None
        return gr.Number(number, **looks, min_width=120)
    if field.kind in ("choices", "open choices"):
        several = [str(name) for name in value] if isinstance(value, list) else []
        return gr.Dropdown(
            list(field.choices),
            value=several,
            multiselect=True,
            allow_custom_value=field.kind == "open choices",
            **looks,
        )
    text = "" if value is None else str(value)
    if field.kind == "choice":
        return gr.Dropdown(list(field.choices), value=text, **looks, min_width=120)
    return gr.Textbox(text, **looks, lines=1, max_lines=1, min_width=120)


def _pairs(fields: Sequence[FieldSpec]) -> list[list[FieldSpec]]:
    """Return fields two by two; the first (the name) has a line of its own."""
    rest = fields[1:]
    pairs = [list(rest[i : i + 2]) for i in range(0, len(rest), 2)]
    return [list(fields[:1]), *pairs]


def _section_order(section: str) -> int:
    titles = list(SECTION_TITLES)
    return titles.index(section) if section in titles else len(titles)
