"""What the controls of one browser hold, as far as the server knows.

A redraw knows what every control should hold, and most hold it already. One that is written all the
same is put back under the finger of a person who has just moved it, whose choice is still on its
way. So a redraw writes only what is news to the browser.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# One for all browsers: it is held for microseconds, and what is locked is copied for each browser.
_LOCK: Final = threading.Lock()


@dataclass(slots=True)
class _Control:
    """What one control holds.

    Args:
        known: its properties (`value`, `choices`, bounds), as they were written or chosen last.
        turn: of the session that the last choice with it made.
        drawing: number of the drawing that wrote its value last.
    """

    known: dict[str, object] = field(default_factory=dict)
    turn: int = 0
    drawing: int = 0


@dataclass(slots=True)
class Held:
    """What the controls of one browser hold.

    Args:
        controls: by number of the component.
        drawings: how many there were.
        turns: of the latest session drawn, by place.
    """

    controls: dict[int, _Control] = field(default_factory=dict)
    drawings: int = 0
    turns: dict[int, int] = field(default_factory=dict)

    def choose(self, control: int, value: object, *, turn: int, drawing: float) -> None:
        """Note what a person has moved a control to.

        Args:
            control: number of the component.
            value: what it held as the choice was sent.
            turn: of the session that the choice makes.
            drawing: number of the last drawing that the browser had then. A later one that wrote
                the control has put it back; what it holds is unknown, and the next one says it.
        """
        with _LOCK:
            held = self.controls.setdefault(control, _Control())
            held.turn = turn
            if held.drawing <= drawing:
                held.known["value"] = value
            else:
                held.known.pop("value", None)

    def refuse(self, control: int, *, turn: int) -> None:
        """Note that a choice was refused: the session stays at the turn it is at."""
        with _LOCK:
            self.controls[control].turn = turn

    def forget(self, control: int) -> None:
        """Note that a control was written by something else than a drawing."""
        with _LOCK:
            self.controls.pop(control, None)

    def news(
        self, wanted: Mapping[int, Mapping[str, object]], *, turn: int, place: int
    ) -> tuple[int, dict[int, dict[str, object]]] | None:
        """Return the number of a drawing, and what of it the controls do not hold yet.

        Args:
            wanted: properties by number of the component.
            turn: of the session that is drawn. A control moved since is left alone: the drawing
                of that choice says what it holds.
            place: what is drawn, a page or the header. None is returned where a later session is
                drawn there already, by a drawing that was begun later and took less time.
        """
        with _LOCK:
            if self.turns.get(place, turn) > turn:
                return None
            self.turns[place] = turn
            self.drawings += 1
            return self.drawings, {
                control: self._news(control, properties, turn)
                for control, properties in wanted.items()
            }

    def _news(self, control: int, wanted: Mapping[str, object], turn: int) -> dict[str, object]:
        held = self.controls.setdefault(control, _Control())
        if held.turn > turn:
            return {}
        nothing = object()
        news = {k: v for k, v in wanted.items() if held.known.get(k, nothing) != v}
        if "value" in news:
            held.drawing = self.drawings
        held.known |= news
        return news
