"""What arrives from a browser, checked against the component it is said to come from.

Anybody who may use the app can send any JSON, whatever the components on the page would send.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import gradio as gr
from gradio.components import Component

from uda4inst.errors import UserError

# More than any text of a person; pages that are sent back to be compared are larger.
_LETTERS: Final = 20_000
_PAGE_LETTERS: Final = 4 * 2**20
_CHOICES: Final = 200


def checked(components: Sequence[Component], values: Sequence[object]) -> list[object]:
    """Return the values unchanged, each of the kind and size that its component can hold.

    Args:
        components: read by the event.
        values: as they arrived, one for each component, and what Gradio adds of its own.

    Raises:
        UserError: a value is of another kind, or too large.
    """
    sent = (value for value in values if not isinstance(value, gr.EventData | gr.Request))
    for component, value in zip(components, sent, strict=False):
        wanted = _wanted(component, value)
        if wanted:
            name = getattr(component, "label", None) or component.elem_id or "a value"
            raise UserError(
                f"{name} must be {wanted}, got {type(value).__name__}. Reload the page."
            )
    return list(values)


def within(value: float, bounds: tuple[float, float]) -> float:
    """Return a slider's value within its ends: what is typed beside it may lie beyond.

    Example:
        >>> [within(value, (1, 9)) for value in (-8, 0, 4, 99)]
        [1.0, 1.0, 4.0, 9.0]
    """
    return float(min(max(value, bounds[0]), bounds[1]))


def _wanted(component: Component, value: object) -> str:
    """Return what a component holds, "" where the value is such."""
    if value is None or isinstance(component, gr.State):
        return ""
    if isinstance(component, gr.Checkbox):
        return "" if isinstance(value, bool) else "yes or no"
    if isinstance(component, gr.Number | gr.Slider):
        return "" if _is_number(value) else "a finite number"
    if isinstance(component, gr.Dropdown) and component.multiselect:
        several = isinstance(value, list) and len(value) <= _CHOICES and all(map(_is_plain, value))
        return "" if several else f"a list of at most {_CHOICES} choices"
    if isinstance(component, gr.HTML):
        return "" if isinstance(value, str) and len(value) <= _PAGE_LETTERS else "text"
    if isinstance(component, gr.Textbox | gr.Dropdown | gr.Radio):
        return "" if _is_plain(value) else f"a text of at most {_LETTERS:,} letters, or a number"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: object) -> bool:
    return (isinstance(value, str) and len(value) <= _LETTERS) or _is_number(value)
