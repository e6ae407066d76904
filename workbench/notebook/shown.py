"""What a cell shows without a running kernel: text and pictures."""

from __future__ import annotations

import base64
import io
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as PilImage

Image = NDArray[np.uint8]

_QUALITY: Final = 82
_DPI: Final = 100
_SECONDS_BETWEEN: Final = 0.5
# Of a sheet, so that captions stay legible where a page shows it smaller.
_SHEET_INCHES: Final = 12.0
_CAPTION_WIDTH: Final = 52
_CAPTION_INCHES: Final = 0.8


@dataclass(frozen=True, slots=True, repr=False)
class Text:
    """Markdown, as a cell's output."""

    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/markdown": self.markdown}

    def __add__(self, other: Text) -> Text:
        return Text(f"{self.markdown}\n\n{other.markdown}")


class Line:
    """One line under a cell that is written anew, a few times a second at most."""

    def __init__(self) -> None:
        self._handle: Any = display(Text(""), display_id=True)
        self._last = 0.0

    def __call__(self, text: str, *, at_once: bool = False) -> None:
        """Write it anew, unless that was a moment ago; `at_once`: in any case."""
        now = time.monotonic()
        if self._handle is not None and (at_once or now - self._last > _SECONDS_BETWEEN):
            self._handle.update(Text(text))
            self._last = now


@dataclass(frozen=True, slots=True, eq=False)
class Captioned:
    """A picture and what it shows.

    Args:
        picture: RGB, (H, W, 3).
        text: one or two lines; also what a reader hears who does not see it.
    """

    picture: Image
    text: str

    def html(self) -> str:
        """Return it as HTML that needs no other file."""
        data = base64.b64encode(_jpeg(self.picture)).decode("ascii")
        alt = self.text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        return (
            f'<img src="data:image/jpeg;base64,{data}" alt="{alt}" '
            f'style="max-width:100%">'
            f'<div style="margin-top:.3em" role="status">{alt}</div>'
        )


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A picture as a cell's output, kept in the notebook's file.

    Args:
        data: the file's bytes.
        kind: jpeg or png.
        text: for those who do not see it.
    """

    data: bytes
    kind: str
    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {f"image/{self.kind}": base64.b64encode(self.data).decode(), "text/plain": self.text}


def sheet(pictures: Sequence[Captioned], *, columns: int = 2) -> Still:
    """Return pictures side by side, each under its caption.

    Args:
        pictures: at least one, of any sizes.
        columns: how many beside each other.

    Raises:
        ValueError: there is none.
    """
    if not pictures:
        raise ValueError("pictures must not be empty.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width = _SHEET_INCHES / columns
    ratio = max(p.picture.shape[0] / p.picture.shape[1] for p in pictures)
    figure = Figure((_SHEET_INCHES, rows * (width * ratio + _CAPTION_INCHES)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, one in zip(panels, pictures, strict=False):
        axes.imshow(one.picture, interpolation="antialiased")
        lines = textwrap.wrap(one.text, round(_CAPTION_WIDTH * 2 / columns))[:3]
        axes.set_title("\n".join(lines), fontsize=9, loc="left")
    return figure_still(figure, "; ".join(p.text for p in pictures), kind="jpeg")


def figure_still(figure: Figure, text: str, *, kind: str = "png") -> Still:
    """Return a figure as it is kept in the notebook's file."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": _QUALITY} if kind == "jpeg" else {}
    figure.savefig(buffer, format=kind, dpi=_DPI, pil_kwargs=options)
    return Still(buffer.getvalue(), kind, text)


def _jpeg(picture: Image) -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(picture).save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
