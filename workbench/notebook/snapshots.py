"""Steppers over what a run's training saw: mixed images, thresholds, the rare-class pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, module_names, numbered, read_config_values
from uda4inst.run_folder.snapshot_reader import PoolItem, Snapshot, SnapshotItem, read_snapshot
from uda4inst.uda.mixing import Origin
from workbench.drawings import pixel_labels
from workbench.drawings.mixing import PictureView, item_pictures
from workbench.drawings.pool import on_checkerboard
from workbench.drawings.pseudo_labels import picture, try_threshold
from workbench.notebook.shown import Captioned, Image
from workbench.notebook.stepper import Stepper
from workbench.stores.candidates import settle

VIEWS: Final = ("source", "target", "pseudo_labels", "s2t", "t2s", "weights", "domains")
THRESHOLDS: Final = tuple(round(0.05 * k, 2) for k in range(1, 20))
_CELL: Final = 168  # pixels, of a pool entry's place in the picture
_BACKGROUND: Final = 245
_IN_A_ROW: Final = 6

ViewName = Literal["source", "target", "pseudo_labels", "s2t", "t2s", "weights", "domains"]


def snapshots_of(run: RunDir, module: str | None = None) -> dict[int, Snapshot]:
    """Return a run's snapshots by step.

    Args:
        run: of one network, or of category groups.
        module: the category group's; None for the first.

    Raises:
        UserError: there is none, or one cannot be read.
    """
    if run.is_grouped:
        names = module_names(run)
        run = run.module(module or names[0])
    steps = numbered(run.snapshots)
    if not steps:
        raise UserError(
            f"run {run.name!r} must have snapshots, got none ({run.snapshots}). "
            "Train it with training.snapshot_every=N."
        )
    return {step: read_snapshot(run, step) for step in steps}


def mixing(
    runs: Mapping[str, RunDir], *, module: str | None = None, views: Sequence[ViewName] = VIEWS[:5]
) -> Stepper:
    """Step through what runs were trained on.

    Args:
        runs: by the name the control shows.
        module: category group of runs that have several; None for the first.
        views: those that can be chosen.
    """
    found = {name: snapshots_of(run, module) for name, run in runs.items()}
    steps = _shared(found)
    pairs = min(len(found[name][step].items) for name in found for step in steps)

    def draw(row: str, step: int, pair: int, view: ViewName) -> Captioned:
        snapshot = found[row][step]
        item = snapshot.items[pair - 1]
        shown: PictureView = getattr(item_pictures(snapshot, item), view)
        text = f"{row}, step {step}, {view}: {shown.text}"
        return Captioned(_blank(item) if shown.picture is None else shown.picture, text)

    choices = {"row": list(found), "step": steps, "pair": range(1, pairs + 1), "view": views}
    return Stepper(draw, choices, start={"view": "s2t", "step": steps[-1]})


def confidence(runs: Mapping[str, RunDir]) -> Stepper:
    """Step through confidence thresholds over what runs said of the target's pixels.

    Args:
        runs: of semantic methods with pseudo-labels, by the name the control shows.
    """
    found = {
        name: {
            step: snapshot
            for step, snapshot in snapshots_of(run).items()
            if snapshot.items and snapshot.items[0].pixel_labels is not None
        }
        for name, run in runs.items()
    }
    steps = _shared(found)

    def draw(row: str, step: int, threshold: float) -> Captioned:
        snapshot = found[row][step]
        labels = snapshot.items[0].pixel_labels
        assert labels is not None
        trial = pixel_labels.try_confidence(threshold, labels, own=snapshot.pixel_threshold)
        kept, learned = 100 * float(trial.kept.mean()), 100 * float(trial.learned.mean())
        own = snapshot.pixel_threshold
        text = (
            f"{row}, step {step}: {kept:.1f} % of the pixels at least {threshold:g} sure; training "
            f"({own:g}) learned {learned:.1f} % with a weight of {trial.weight:.2f}"
        )
        return Captioned(pixel_labels.picture(labels, trial), text)

    choices = {"row": list(found), "step": steps, "threshold": THRESHOLDS}
    return Stepper(draw, choices, start={"threshold": 0.8, "step": steps[-1]})


def _shared(found: Mapping[str, Mapping[int, Snapshot]]) -> list[int]:
    """Return the steps that every run has a snapshot of."""
    every = [set(snapshots) for snapshots in found.values()]
    shared = sorted(set.intersection(*every))
    if not shared:
        listed = "; ".join(f"{name}: {sorted(steps)}" for name, steps in found.items())
        raise UserError(f"runs must have snapshots of the same step, got {listed}.")
    return shared


def _blank(item: SnapshotItem) -> Image:
    """Return the place of a view that was not made."""
    views = (item.source, item.s2t, item.t2s, item.source_semantic)
    there = [item.target, *(view.image for view in views if view is not None)]
    shape = next((image.shape for image in there if image is not None), (128, 256, 3))
    return np.full(shape, _BACKGROUND, dtype=np.uint8)


def thresholds(run: RunDir, *, module: str | None = None) -> Stepper:
    """Step through score thresholds over the teacher's detections, as training would apply them.

    Args:
        run: with pseudo-labels.
        module: category group of a run that has several; None for the first.
    """
    found = {
        step: snapshot
        for step, snapshot in snapshots_of(run, module).items()
        if snapshot.items and snapshot.items[0].pseudo_labels is not None
    }
    if not found:
        raise UserError(f"run {run.name!r} must have pseudo-labels in a snapshot, got none.")
    steps = sorted(found)
    pairs = min(len(snapshot.items) for snapshot in found.values())
    share = _min_valid_share(run)
    settled = {
        (step, pair): settle(
            item, min_valid_share=share, min_visible_share=found[step].min_visible_share
        )
        for step in steps
        for pair, item in enumerate(found[step].items[:pairs], start=1)
    }

    def draw(score_threshold: float, step: int, pair: int) -> Captioned:
        snapshot, candidates = found[step], settled[step, pair]
        item = snapshot.items[pair - 1]
        trial = try_threshold(score_threshold, snapshot, item, candidates)
        kept, ignored = int(trial.kept.sum()), int(trial.ignored.sum())
        text = (
            f"score above {score_threshold:g} at step {step}: {kept} kept"
            f"{_named(candidates.labels[trial.kept], item.names)}, {ignored} ignored as unsure, "
            f"{len(trial.kept) - kept - ignored} dropped"
        )
        return Captioned(picture(item, candidates, trial), text)

    choices = {"score_threshold": THRESHOLDS, "step": steps, "pair": range(1, pairs + 1)}
    return Stepper(draw, choices, start={"score_threshold": 0.9, "step": steps[-1]})


def _min_valid_share(run: RunDir) -> float:
    """Return how much of a detection must lie off the ego vehicle, as the run is configured."""
    value: object = read_config_values(run.config)
    for key in ("method", "ego", "min_valid_share"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _named(labels: Sequence[int] | np.ndarray, names: Sequence[str]) -> str:
    counts = Counter(names[int(label)] for label in labels)
    listed = ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.most_common())
    return f" ({listed})" if listed else ""


def pool(run: RunDir, *, module: str | None = None) -> Stepper:
    """Step through what waits in the rare-class pool, and what it hides in S2T images.

    Args:
        run: with a pool.
        module: category group of a run that has several; None for the first.
    """
    found = snapshots_of(run, module)
    steps = sorted(found)

    def draw(step: int, show: str) -> Captioned:
        snapshot = found[step]
        if show == "entries":
            text = f"step {step}: {len(snapshot.pool)} entries wait"
            held = _named([e.label for e in snapshot.pool], snapshot.things.names)
            return Captioned(_entries(snapshot.pool), text + held)
        item = snapshot.items[0]
        shown = item_pictures(snapshot, item).s2t
        origin = None if item.s2t is None else item.s2t.origin
        hidden = 0.0 if origin is None else float((origin == Origin.POOL).mean())
        text = f"step {step}: the pool hides {hidden:.1%} of this image; {shown.text}"
        return Captioned(_blank(item) if shown.picture is None else shown.picture, text)

    choices = {"step": steps, "show": ("entries", "s2t")}
    return Stepper(draw, choices, start={"step": steps[-1]})


def _entries(entries: Sequence[PoolItem]) -> Image:
    """Return the pool's entries in rows, the oldest first; each fits its place."""
    rows = max(1, -(-len(entries) // _IN_A_ROW))
    canvas = np.full((rows * _CELL, _IN_A_ROW * _CELL, 3), _BACKGROUND, dtype=np.uint8)
    for place, entry in enumerate(entries):
        picture_of = on_checkerboard(entry.patch)
        step = max(1, -(-max(picture_of.shape[:2]) // (_CELL - 8)))
        small = picture_of[::step, ::step]
        top, left = (place // _IN_A_ROW) * _CELL + 4, (place % _IN_A_ROW) * _CELL + 4
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
