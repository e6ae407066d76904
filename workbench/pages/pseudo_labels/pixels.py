"""What a threshold does to pseudo-labels of pixels, in words, tables and charts."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.colors import HALO
from uda4inst.errors import UserError
from uda4inst.evaluation.pixel_verdicts import VerdictCurve, judge_by_confidence
from uda4inst.run_folder.snapshot_reader import PixelLabelImage
from workbench.drawings import pixel_labels
from workbench.drawings.pixel_labels import PixelTrial
from workbench.services import Services
from workbench.session import SessionState
from workbench.ui import markup, plots
from workbench.ui.palette import LINE_COLORS, css

THRESHOLDS: Final[NDArray[np.float64]] = np.linspace(0.05, 0.995, 190, dtype=np.float64)
_UNSEEN: Final = (
    "Shares of this target crop. Its labels are not looked at: what is kept may be wrong."
)
_DIAGNOSTICS: Final = (
    "Diagnostics, by the target's labels, which training never sees. Precision: how much of what "
    "is kept of a class is right; recall: how much of the class is kept and right; of this crop's "
    "labelled pixels. The likeliest class is right on {accuracy} of them."
)
_NOT_FOUND: Final = (
    "The target's labels are not shown: this crop could not be cut again from the labelled image "
    "(other data than in training, or too many processes)."
)


@dataclass(frozen=True, slots=True)
class PixelTruth:
    """What the target's labels say of a crop's pseudo-labels.

    Args:
        verdicts: at every threshold; None where labels are not asked for, or cannot be shown.
        note: what is said of that.
    """

    verdicts: VerdictCurve | None
    note: str


def truth_of(
    services: Services, state: SessionState, step: int, index: int, labels: PixelLabelImage
) -> PixelTruth:
    """Return what the target's labels say, if a person asks for them.

    Args:
        services: where labels are cut.
        state: what the browser looks at.
        step: of the snapshot.
        index: position in the batch.
        labels: of the crop.
    """
    run = services.network(state)
    if not state.target_labels or run is None:
        return PixelTruth(None, _UNSEEN)
    try:
        truth = services.target_labels.semantic(run, step, index, labels.learned.image)
    except UserError as error:
        return PixelTruth(None, str(error))
    if truth is None:
        return PixelTruth(None, _NOT_FOUND)
    verdicts = judge_by_confidence(labels.best, labels.confidence, truth)
    accuracy = _per_cent(verdicts.at(0).precision_of_all)
    return PixelTruth(verdicts, _DIAGNOSTICS.format(accuracy=accuracy))


def legend(labels: PixelLabelImage, trial: PixelTrial) -> str:
    """Return the colours of the classes that are kept."""
    there = np.flatnonzero(pixel_labels.areas(labels, trial.kept))
    shown = [SEMANTIC_CLASSES[k] for k in there]
    entries = [(c.name, css(c.color)) for c in shown]
    return markup.legend([*entries, ("less sure", css(HALO))])


def table(labels: PixelLabelImage, trial: PixelTrial, truth: PixelTruth) -> str:
    """Return how much of the image each class takes: kept here, dropped, learned in training.

    With the target's labels also how right that is, of the classes that are kept or truly there.
    """
    whichs = {
        "kept": trial.kept,
        "dropped": ~trial.kept,
        f"learned in training, weight {trial.weight:.2f}": trial.learned,
    }
    shares = [pixel_labels.areas(labels, which) for which in whichs.values()]
    judged = _judged(truth, trial.threshold)
    rows: list[list[str]] = []
    for train_id, known in enumerate(SEMANTIC_CLASSES):
        marks = [column[train_id] for column in judged.values()]
        if any(share[train_id] for share in shares) or any(mark != "–" for mark in marks):
            key = f'<i style="--key:{css(known.color)}"></i>{known.name}'
            cells = [_per_cent(share[train_id]) for share in shares]
            rows.append([f'<span class="wb-key">{key}</span>', *cells, *marks])
    totals = [_per_cent(share.sum()) for share in shares]
    totals += [column[-1] for column in judged.values()]
    rows.append([f"<b>{text}</b>" for text in ("all", *totals)])
    note = f'<p class="wb-quiet">{escape(truth.note)}</p>'
    return markup.table(["class", *whichs, *judged], rows, kind="wb-counts") + note


def _judged(truth: PixelTruth, threshold: float) -> dict[str, list[str]]:
    """Return the columns that the target's labels give: a cell a class, then that of all."""
    if truth.verdicts is None:
        return {}
    found = truth.verdicts.at(threshold)
    return {
        name: [_per_cent(share) for share in (*by_class.tolist(), of_all)]
        for name, by_class, of_all in (
            ("precision*", found.precision(), found.precision_of_all),
            ("recall*", found.recall(), found.recall_of_all),
        )
    }


def _per_cent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"


def curves(labels: PixelLabelImage, trial: PixelTrial, own: float | None, truth: PixelTruth) -> str:
    """Return what is kept over the threshold, and how right that is where labels are shown."""
    marks = [plots.Mark(trial.threshold, f"{trial.threshold:g}", strong=True)]
    if own is not None and trial.threshold != own:
        marks.append(plots.Mark(own, f"training {own:g}"))
    drawn = plots.draw(_kept(labels, marks))
    return drawn if truth.verdicts is None else drawn + plots.draw(_right(truth.verdicts, marks))


def _kept(labels: PixelLabelImage, marks: list[plots.Mark]) -> plots.Chart:
    shares = 100 * pixel_labels.kept_curve(labels, THRESHOLDS)
    lines = [plots.Line("all", "var(--body-text-color)", shares.sum(axis=1))]
    lines += [
        plots.Line(known.name, css(known.color), shares[:, train_id])
        for train_id, known in enumerate(SEMANTIC_CLASSES)
        if shares[:, train_id].any()
    ]
    return plots.Chart(
        "Kept over the threshold, % of the image",
        THRESHOLDS,
        lines,
        x_name="confidence",
        marks=marks,
        height=220,
    )


def _right(verdicts: VerdictCurve, marks: list[plots.Mark]) -> plots.Chart:
    found = [verdicts.at(threshold) for threshold in THRESHOLDS.tolist()]
    precision = 100 * np.array([one.precision_of_all for one in found])
    recall = 100 * np.array([one.recall_of_all for one in found])
    return plots.Chart(
        "Diagnostics: right by the target's labels, %",
        THRESHOLDS,
        [
            plots.Line("precision*", LINE_COLORS[0], precision),
            plots.Line("recall*", LINE_COLORS[1], recall),
        ],
        x_name="confidence",
        marks=marks,
        height=160,
    )
