"""A slider for bounds that move."""

from __future__ import annotations

import gradio as gr

from gradio.events import Dependency

class LateSlider(gr.Slider):
    """A slider whose bounds change while its value is on the way to the server.

    Gradio refuses a value outside the bounds of the moment. Here such a value is only late, sent
    before the bounds moved, and the nearest thing there is gets shown for it.
    """

    is_template = True

    def preprocess(self, payload: float) -> float:
        """Return the value as it was sent."""
        return float(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component