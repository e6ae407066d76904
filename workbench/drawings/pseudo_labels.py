"""What a score threshold keeps of a snapshot's detections, as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uda4inst.draw import DrawnDetection, draw_detections
from uda4inst.run_folder.snapshot_reader import Snapshot, SnapshotItem
from uda4inst.uda.threshold_sweep import Settled


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What becomes of every detection of an item at a threshold, and what did in training.

    Args:
        threshold: the one tried.
        own: the run's.
        kept: becomes a pseudo-label.
        ignored: neither that nor background.
        trained: became a pseudo-label in training.
    """

    threshold: float
    own: float
    kept: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    trained: NDArray[np.bool_]


def try_threshold(
    chosen: float | None, snapshot: Snapshot, item: SnapshotItem, candidates: Settled
) -> Trial:
    """Return what the chosen threshold keeps; without one, what training kept.

    Args:
        chosen: a score; None for the training's own.
        snapshot: the item's.
        item: with a target image.
        candidates: its detections.
    """
    trained = np.asarray(item.kept, dtype=bool)
    kept = trained if chosen is None else candidates.kept(chosen)
    own = snapshot.score_threshold
    return Trial(
        threshold=own if chosen is None else chosen,
        own=own,
        kept=kept,
        ignored=candidates.ignored(kept, snapshot.unsure_threshold),
        trained=trained,
    )


def picture(item: SnapshotItem, candidates: Settled, trial: Trial) -> NDArray[np.uint8]:
    """Return the target image with kept objects filled and dropped ones dashed.

    Args:
        item: with a target image.
        candidates: its detections.
        trial: which of them become pseudo-labels, and which are ignored.
    """
    if item.target is None:
        raise ValueError("item must have a target image, got None.")
    drawn = [
        DrawnDetection(
            candidates.ids == k + 1,
            int(label),
            float(score),
            kept=bool(trial.kept[k]),
            ignored=bool(trial.ignored[k]),
        )
        for k, (label, score) in enumerate(zip(candidates.labels, candidates.scores, strict=True))
    ]
    return draw_detections(item.target, drawn, names=item.names)
