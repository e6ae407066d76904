"""What one browser looks at: ids only, so that it can be compared, copied and thrown away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

PageName = Literal["train", "mixing", "pool", "pseudo_labels", "error_maps"]


ImageOrder = Literal["worst", "worse than B"]


@dataclass(frozen=True, slots=True)
class ErrorChoice:
    """What the Error maps page shows; A is the chosen run, B an optional second side.

    Args:
        step: evaluation step of A, or None for the newest.
        network: network of A, or None for the teacher where there is one.
        other_run: run of B, or None for no second side.
        other_step: evaluation step of B, or None for the newest.
        other_network: network of B, or None for the teacher where there is one.
        thing: class looked at (0..7), or None for all.
        score_threshold: only detections scoring more are shown and judged.
        order: by the errors of A, or by how much they exceed those of B.
        position: place of the image in that order, from 0.
    """

    step: int | None = None
    network: str | None = None
    other_run: str | None = None
    other_step: int | None = None
    other_network: str | None = None
    thing: int | None = None
    score_threshold: float = 0.5
    order: ImageOrder = "worst"
    position: int = 0


@dataclass(frozen=True, slots=True)
class SessionState:
    """The choices of one browser session, shared by all pages.

    Args:
        page: the page on screen; the others do no work.
        run: name of the chosen run, or None before there is one.
        snapshot: step of the chosen snapshot, or None to follow the newest.
        item: position in the batch of the snapshot.
        score_threshold: tried on the Pseudo-labels page, or None for the training's own.
        errors: what the Error maps page shows.
    """

    page: PageName = "train"
    run: str | None = None
    snapshot: int | None = None
    item: int = 0
    score_threshold: float | None = None
    errors: ErrorChoice = ErrorChoice()

    def on_page(self, page: PageName) -> SessionState:
        """Return the session showing another page."""
        return replace(self, page=page)

    def on_run(self, run: str | None) -> SessionState:
        """Return the session on another run: its newest snapshot, its own threshold."""
        errors = replace(self.errors, step=None, network=None, position=0)
        return SessionState(page=self.page, run=run, errors=errors)

    def on_snapshot(self, step: int | None) -> SessionState:
        """Return the session on another snapshot (None: follow the newest)."""
        return replace(self, snapshot=step)

    def on_item(self, item: int) -> SessionState:
        """Return the session on another item of the batch."""
        return replace(self, item=item)

    def on_threshold(self, score_threshold: float | None) -> SessionState:
        """Return the session trying another threshold (None: the training's own)."""
        return replace(self, score_threshold=score_threshold)

    def on_errors(self, **changes: Any) -> SessionState:
        """Return the session with another choice of errors; a new order begins at its first."""
        changes.setdefault("position", 0)
        return replace(self, errors=replace(self.errors, **changes))
