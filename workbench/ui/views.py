"""What a page shows, as values, and how they get into its components: by name.

A view is a frozen dataclass of values, its components another dataclass with fields of the same
names. `Frame` matches the two when the app is built, so a name that is wrong or missing stops the
app there and never fills another component.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Generic, TypeAlias, TypeVar, get_type_hints

import cv2
import gradio as gr
import numpy as np
from gradio.blocks import Block
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from uda4inst.errors import UserError
from workbench.ui import markup

logger = logging.getLogger(__name__)

# What an event may return: a component's new value, the component with new properties, or
# `gr.skip()`; and a whole event's, by component.
Update: TypeAlias = object
Updates: TypeAlias = dict[Block, Update]
# What `gr.skip()` returns: the component stays as it is.
Skip: TypeAlias = dict

UNEXPECTED: Final = (
    "The workbench hit an error it did not expect: {error}. The run is not touched; "
    "the details are in the terminal the app was started from."
)

Head = TypeVar("Head")
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What is returned when the page already shows everything."""


UNCHANGED: Final = Unchanged()


@dataclass(frozen=True, slots=True)
class Empty:
    """What is returned when there is nothing to show yet.

    Args:
        message: why, and what to do about it, as HTML.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Framed(Generic[Head, Content]):
    """What is returned when a page has controls that must stay usable, come what may.

    Args:
        head: view of the controls.
        content: makes the view of the rest; an error in it leaves the head in place.
    """

    head: Head
    content: Callable[[], Content | Empty]


@dataclass(frozen=True, slots=True)
class Frame:
    """The components every page has, and those its views fill.

    Args:
        notice: says why there is nothing to show.
        body: everything else but the head; hidden while the notice speaks.
        fills: components by name for each kind of view the page shows.
        drawing: number of the drawing that the browser has; unseen.
    """

    notice: gr.HTML
    body: gr.Column
    fills: Mapping[type, Mapping[str, Block]]
    drawing: gr.Number

    @classmethod
    def open(cls, name: str) -> tuple[gr.HTML, gr.Column]:
        """Create an unseen notice and an unseen body, to be filled by the page."""
        notice = gr.HTML(elem_id=f"{name}-notice", visible=False)
        return notice, gr.Column(visible=False, elem_id=f"{name}-body")

    @classmethod
    def of(cls, notice: gr.HTML, body: gr.Column, views: Mapping[type, object]) -> Frame:
        """Return the frame of a page.

        Args:
            notice: of `open`.
            body: of `open`.
            views: the kinds of views the page shows, each with the dataclass of its components.

        Raises:
            TypeError: a view has a name that its components have not.
        """
        fills = {view: named(view, parts) for view, parts in views.items()}
        return cls(notice, body, fills, drawing=gr.Number(0, visible=False))

    @property
    def outputs(self) -> list[Block]:
        """Every component a redraw may change."""
        filled = (part for parts in self.fills.values() for part in parts.values())
        return list(dict.fromkeys((self.notice, self.body, *filled, self.drawing)))

    def updates(self, outcome: object) -> Updates:
        """Return the new values of what changes for what a view function returned.

        Raises:
            TypeError: that is no view of this page.
        """
        if isinstance(outcome, Unchanged):
            return {self.notice: gr.skip()}
        if isinstance(outcome, Framed):
            return self._filled(outcome.head) | self.updates(outcome_of(outcome.content))
        if isinstance(outcome, Empty):
            notice = gr.HTML(outcome.message, visible=bool(outcome.message))
            return {self.notice: notice, self.body: gr.Column(visible=False)}
        shown: Updates = {
            self.notice: gr.HTML("", visible=False),
            self.body: gr.Column(visible=True),
        }
        return shown | self._filled(outcome)

    def _filled(self, view: object) -> Updates:
        parts = self.fills.get(type(view))
        if parts is None:
            known = ", ".join(kind.__name__ for kind in self.fills)
            raise TypeError(f"view must be one of {known}, got {type(view).__name__}.")
        return {parts[name]: _encoded(value) for name, value in _values(view)}


def named(view: type, parts: object) -> dict[str, Block]:
    """Return the component of each value of a view.

    Args:
        view: dataclass of values; a field may be a view itself, then its names are dotted.
        parts: dataclass of components, with fields of the same names and nested alike. It may
            have more, such as buttons that never change.

    Raises:
        TypeError: a view has a name that its components have not; all such names are listed.

    Example:
        >>> @dataclass
        ... class Values:
        ...     title: str
        >>> @dataclass
        ... class Parts:
        ...     titel: gr.HTML
        >>> named(Values, Parts(gr.HTML()))
        Traceback (most recent call last):
        TypeError: every value of Values must have a component, got none in Parts for title.
    """
    pairs = list(_pairs(view, parts, prefix=""))
    missing = [name for name, part in pairs if not isinstance(part, Block)]
    if missing:
        raise TypeError(
            f"every value of {view.__name__} must have a component, got none in "
            f"{type(parts).__name__} for {', '.join(missing)}."
        )
    return {name: part for name, part in pairs if isinstance(part, Block)}


def _pairs(view: type, parts: object, *, prefix: str) -> Iterator[tuple[str, object]]:
    """Yield the dotted names of a kind of view, each with what its components have there."""
    hints = get_type_hints(view)
    for field in fields(view):
        part, kind = getattr(parts, field.name, None), hints[field.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _pairs(kind, part, prefix=f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", part


def _values(view: object, *, prefix: str = "") -> Iterator[tuple[str, Update]]:
    """Yield the values of a view by dotted name."""
    if not is_dataclass(view) or isinstance(view, type):
        raise TypeError(f"view must be a dataclass, got {type(view).__name__}.")
    for field in fields(view):
        value = getattr(view, field.name)
        if is_dataclass(value):
            yield from _values(value, prefix=f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def outcome_of(view: Callable[[], object], name: str = "") -> object:
    """Return what a view function returns; an error becomes a notice in the page.

    Args:
        view: the function.
        name: of it, for the log.
    """
    try:
        return view()
    except UserError as error:
        return Empty(markup.problem(str(error)))
    except Exception as error:
        logger.exception("%s failed", name or getattr(view, "__name__", view))
        return Empty(markup.problem(UNEXPECTED.format(error=in_short(error))))


def properties(update: Update) -> dict[str, object]:
    """Return what an update sets, by name; a plain value sets `value`."""
    if isinstance(update, Block):
        return dict(update.constructor_args)
    if isinstance(update, dict) and update.get("__type__") == "update":
        return {name: value for name, value in update.items() if name != "__type__"}
    return {"value": update}


def in_short(error: Exception) -> str:
    """Return an error on one line."""
    return f"{type(error).__name__}: {error}"[:300]


def served(data: bytes, name: str) -> str:
    """Return the path of a file in Gradio's cache, from where browsers are given it.

    It is there whole or not at all: pages that show the same write the same file, and a browser
    that is being sent it must not see it cut (`gradio.processing_utils.save_bytes_to_cache` writes
    it anew in place).
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        return save_file_to_cache(file, get_upload_folder())


def _encoded(value: Update) -> Update:
    """Return pictures as files in Gradio's cache, everything else as it is.

    Gradio encodes arrays with the slowest of compressions; a page of five pictures would take most
    of its time there.
    """
    if not isinstance(value, np.ndarray):
        return value
    done, data = cv2.imencode(".png", value[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"picture must be encodable, got {value.dtype} of shape {value.shape}.")
    return served(data.tobytes(), "picture.png")
