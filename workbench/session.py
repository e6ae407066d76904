"""What one browser looks at: ids, so that it can be compared, copied and thrown away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from workbench.held import Held

PageName = Literal["train", "data", "mixing", "pool", "pseudo_labels", "error_maps", "results"]
ImageOrder = Literal["worst", "worse than B"]
Overlay = Literal["none", "instances", "semantic", "ignore", "boxes"]
# Lowest and highest score threshold of Pseudo-labels, where it is tried, and of Error maps.
TRIED_SCORES: Final = (0.05, 0.99)
SHOWN_SCORES: Final = (0.0, 0.99)


@dataclass(frozen=True, slots=True)
class ErrorChoice:
    """What the Error maps page shows; A is the chosen run, B an optional second side.

    Args:
        group: category group of A, or None for what all groups found together.
        step: evaluation step of A, or None for the newest.
        network: network of A, or None for the teacher where there is one.
        other_run: run of B, or the network of one of its groups, or None for no second side.
        other_step: evaluation step of B, or None for the newest.
        other_network: network of B, or None for the teacher where there is one.
        class_name: the class looked at, or None for all.
        score_threshold: only detections scoring more are shown and judged.
        order: by the errors of A, or by how much they exceed those of B.
        position: place of the image in that order, from 0.
        images: file of an image list, as a person wrote it; None for all images.
    """

    group: str | None = None
    step: int | None = None
    network: str | None = None
    other_run: str | None = None
    other_step: int | None = None
    other_network: str | None = None
    class_name: str | None = None
    score_threshold: float = 0.5
    order: ImageOrder = "worst"
    position: int = 0
    images: str | None = None


@dataclass(frozen=True, slots=True)
class TreeChoice:
    """Which images: what a person wrote, right or wrong.

    Args:
        format: name of a format, as in the configuration.
        root: the data set's folder.
        split: part of it.
    """

    format: str
    root: str
    split: str


@dataclass(frozen=True, slots=True)
class DataChoice:
    """What the Data page shows.

    Args:
        source: the source images, or None for those of the chosen run.
        target: the target images, or None for those of the chosen run.
        source_position: place of the source image, from 0.
        target_position: place of the target image, from 0.
        overlay: what is drawn over the images, or None for what the chosen run learns.
        target_labels: whether the target's labels are opened, for this page alone.
    """

    source: TreeChoice | None = None
    target: TreeChoice | None = None
    source_position: int = 0
    target_position: int = 0
    overlay: Overlay | None = None
    target_labels: bool = False


@dataclass(frozen=True, slots=True)
class ResultsChoice:
    """What the Results page shows; it does not depend on the chosen run.

    Args:
        folder: of a suite, or None for the one that changed last.
        protocol: whose AP.
        network: whose predictions.
    """

    folder: str | None = None
    protocol: Literal["cityscapes", "coco"] = "cityscapes"
    network: Literal["student", "teacher"] = "student"


@dataclass(frozen=True, slots=True)
class SessionState:
    """The choices of one browser session, shared by all pages.

    Args:
        page: the page on screen; the others do no work.
        run: name of the chosen run, or None before there is one.
        group: category group whose network is looked at, or None for the first; without meaning
            for a run of one network.
        snapshot: step of the chosen snapshot, or None to follow the newest.
        item: position in the batch of the snapshot.
        score_threshold: tried on the Pseudo-labels page, or None for the training's own.
        target_labels: whether the Pseudo-labels page judges pixels by the target's labels.
        errors: what the Error maps page shows.
        data: what the Data page shows.
        results: what the Results page shows.
        preset: that filled the form of a new run, or None before it is filled.
        opened: when the page was put on screen, by the browser's clock; no choice, like `turn`.
        turn: how many choices led here. As no choice itself, like `held`: sessions that differ in
            nothing else are equal.
        held: what the browser's controls hold, the one thing here that changes in place.
    """

    page: PageName = "train"
    run: str | None = None
    group: str | None = None
    snapshot: int | None = None
    item: int = 0
    score_threshold: float | None = None
    target_labels: bool = False
    errors: ErrorChoice = ErrorChoice()
    data: DataChoice = DataChoice()
    results: ResultsChoice = ResultsChoice()
    preset: str | None = None
    opened: float = field(default=0.0, compare=False)
    turn: int = field(default=0, compare=False)
    held: Held = field(default_factory=Held, compare=False, repr=False)

    def on_page(self, page: PageName) -> SessionState:
        """Return the session showing another page."""
        return replace(self, page=page)

    def on_run(self, run: str | None) -> SessionState:
        """Return the session on another run: its newest snapshot, its own threshold and data.

        On the run it is on, nothing changes: lists say that they were chosen from when they are
        only left.
        """
        if run == self.run:
            return self
        errors = replace(self.errors, group=None, step=None, network=None, position=0)
        return replace(
            self,
            run=run,
            snapshot=None,
            item=0,
            score_threshold=None,
            target_labels=False,
            errors=errors,
            data=DataChoice(overlay=self.data.overlay),
        )

    def on_preset(self, preset: str) -> SessionState:
        """Return the session whose form is filled with a preset's values."""
        return replace(self, preset=preset)

    def on_group(self, group: str | None) -> SessionState:
        """Return the session on the network of another category group, at the same step."""
        return replace(self, group=group)

    def on_snapshot(self, step: int | None) -> SessionState:
        """Return the session on another snapshot (None: follow the newest)."""
        return replace(self, snapshot=step)

    def on_item(self, item: int) -> SessionState:
        """Return the session on another item of the batch."""
        return replace(self, item=item)

    def on_threshold(self, score_threshold: float | None) -> SessionState:
        """Return the session trying another threshold (None: the training's own)."""
        return replace(self, score_threshold=score_threshold)

    def on_target_labels(self, shown: bool) -> SessionState:
        """Return the session with pseudo-labels of pixels judged by the target's labels, or not."""
        return replace(self, target_labels=shown)

    def on_errors(self, **changes: object) -> SessionState:
        """Return the session with another choice of errors; a new order begins at its first."""
        if all(getattr(self.errors, name) == value for name, value in changes.items()):
            return self
        changes.setdefault("position", 0)
        return replace(self, errors=replace(self.errors, **changes))

    def on_data(self, **changes: object) -> SessionState:
        """Return the session with another choice of data; other images begin at their first."""
        for side in ("source", "target"):
            if side in changes:
                changes.setdefault(f"{side}_position", 0)
        return replace(self, data=replace(self.data, **changes))

    def on_results(self, **changes: object) -> SessionState:
        """Return the session with another choice of results."""
        return replace(self, results=replace(self.results, **changes))
