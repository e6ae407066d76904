"""A picture that one steps through with sliders and menus, by mouse or keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import ipywidgets as widgets

from workbench.notebook.shown import Captioned, Still, sheet

# How a control's values are chosen between, by its number of values.
_BUTTONS_AT_MOST: Final = 5
_LAYOUT: Final = widgets.Layout(width="auto", min_width="22em")
_STYLE: Final = {"description_width": "9em"}


class Drawn(Protocol):
    """What a stepper shows."""

    def html(self) -> str:
        """Return it as HTML."""
        ...


Draw = Callable[..., Drawn]


class Stepper(widgets.VBox):
    """Controls over a picture; moving one draws it anew.

    Without a running kernel its cell shows nothing of it: `sheet` gives the same pictures to keep.

    Args:
        draw: called with one value a control, by name; returns the picture.
        choices: the values of every control by name; numbers get a slider, a few words buttons,
            many a menu. The first control's come first.
        start: values to begin with; the first where it says none.

    Raises:
        ValueError: a control without a value.
    """

    def __init__(
        self,
        draw: Draw,
        choices: Mapping[str, Sequence[Any]],
        *,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        for name, values in choices.items():
            if not values:
                raise ValueError(f"choices of {name} must not be empty.")
        self._draw = draw
        self.choices: dict[str, tuple[Any, ...]] = {n: tuple(v) for n, v in choices.items()}
        self.drawn = 0
        begin = {name: values[0] for name, values in self.choices.items()} | dict(start or {})
        self.controls: dict[str, Any] = {
            name: _control(name, values, begin[name]) for name, values in self.choices.items()
        }
        self.picture = widgets.HTML()
        for control in self.controls.values():
            control.observe(self._show, names="value")
        self._show()
        super().__init__([*self.controls.values(), self.picture])

    def __repr__(self) -> str:
        return f"Controls ({', '.join(self.controls)}): run the notebook to move them."

    def values(self) -> dict[str, Any]:
        """Return what is chosen, by the controls' names."""
        return {name: control.value for name, control in self.controls.items()}

    def _show(self, change: Mapping[str, Any] | None = None) -> None:
        del change
        self.picture.value = self._draw(**self.values()).html()
        self.drawn += 1

    def sheet(self, *, columns: int = 2, **chosen: Sequence[Any]) -> Still:
        """Return pictures of some values beside each other, to keep in the notebook's file.

        Args:
            columns: how many beside each other.
            chosen: values by control; each with each, those left out stay as they are now.
        """
        drawn = [self._draw(**values) for values in self._each(chosen)]
        pictures = [one for one in drawn if isinstance(one, Captioned)]
        return sheet(pictures, columns=columns)

    def _each(self, chosen: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
        unknown = chosen.keys() - self.controls.keys()
        if unknown:
            raise ValueError(
                f"sheet's values must be of {', '.join(self.controls)}, got {', '.join(unknown)}."
            )
        combined: list[dict[str, Any]] = [self.values()]
        for name, values in chosen.items():
            combined = [one | {name: value} for one in combined for value in values]
        yield from combined

    def walk(self) -> int:
        """Move every control over all its values and back; return how many pictures were drawn."""
        before = self.drawn
        for name, control in self.controls.items():
            first = control.value
            for value in self.choices[name]:
                control.value = value
            control.value = first
        return self.drawn - before


def _control(name: str, values: Sequence[Any], value: Any) -> Any:
    """Return the control of some values; the arrow keys move each."""
    described = {"description": name.replace("_", " "), "layout": _LAYOUT, "style": _STYLE}
    options = [(_word(one), one) for one in values]
    if all(isinstance(one, int | float) for one in values):
        return widgets.SelectionSlider(
            options=options, value=value, continuous_update=False, **described
        )
    kind = widgets.ToggleButtons if len(values) <= _BUTTONS_AT_MOST else widgets.Dropdown
    return kind(options=options, value=value, **described)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
