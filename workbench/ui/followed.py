"""Controls that are followed, so that a drawing writes only what they do not hold yet.

What they hold lies in the session (`workbench/held.py`); here Gradio's events meet it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from workbench.session import SessionState
from workbench.ui.views import Updates, properties


@dataclass(frozen=True, slots=True)
class Followed:
    """Controls whose every move is a choice.

    Args:
        session: what the browser looks at.
        drawing: number of the last drawing that the browser has; unseen.
        controls: themselves.
    """

    session: gr.State
    drawing: gr.Number
    controls: set[Block]

    def news(self, state: SessionState, updates: Updates) -> Updates:
        """Return a drawing's updates, those of followed controls without what they hold already.

        Args:
            state: the session that was drawn; nothing is left where a later one was drawn before.
            updates: of the components.
        """
        wanted = {part: properties(updates[part]) for part in updates if part in self.controls}
        numbered = {part._id: wanted[part] for part in wanted}
        news = state.held.news(numbered, turn=state.turn, place=self.drawing._id)
        if news is None:
            return {self.drawing: gr.skip()}
        drawing, of_controls = news
        written = {part: {"__type__": "update", **of_controls[part._id]} for part in wanted}
        return {**updates, **written, self.drawing: drawing if wanted else gr.skip()}

    def noting(
        self,
        choose: Callable[..., SessionState | Updates],
        inputs: Sequence[Component],
        outputs: Sequence[Component] = (),
    ) -> Callable[..., SessionState | Updates]:
        """Return a choice that notes what the controls hold.

        Args:
            choose: returns the new session for the session and the values of `inputs`; with
                `outputs`, `Updates` of the session and of them.
            inputs: components that `choose` reads beside the session. What is returned reads one
                more, last of all: `drawing`, for the drawing that the choice was made on.
            outputs: components written beside the session.
        """

        def noted(state: SessionState, *values: object) -> SessionState | Updates:
            *read, drawing = values
            if any(_is_emptied(part, value) for part, value in zip(inputs, read, strict=False)):
                return {self.session: state} if outputs else state
            seen = drawing if isinstance(drawing, int | float) else 0
            held, turn = state.held, state.turn + 1
            moved = {p: v for p, v in zip(inputs, read, strict=False) if p in self.controls}
            for part, value in moved.items():
                held.choose(part._id, value, turn=turn, drawing=seen)
            try:
                chosen = choose(state, *read)
            except Exception:
                for part in moved:
                    held.refuse(part._id, turn=state.turn)
                raise
            for part in self.controls.intersection(outputs):
                held.forget(part._id)
            if isinstance(chosen, SessionState):
                return replace(chosen, turn=turn)
            after = chosen[self.session]
            assert isinstance(after, SessionState), "a choice returns the session it makes"
            return {**chosen, self.session: replace(after, turn=turn)}

        # Gradio goes by the parameters: where to put what it adds (`gr.EventData`), and how many
        # values to send; of those that have a default it would send the default.
        signature = inspect.signature(choose)
        every = signature.parameters.values()
        parameters = [one for one in every if one.default is one.empty]
        if all(one.kind is not one.VAR_POSITIONAL for one in parameters):
            parameters.append(inspect.Parameter("drawing", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        handler = functools.wraps(choose)(noted)
        vars(handler)["__signature__"] = signature.replace(parameters=parameters)
        return handler


def _is_emptied(part: Component, value: object) -> bool:
    """Whether the box beside a slider is empty: somebody is about to type into it."""
    return value is None and isinstance(part, gr.Slider)
