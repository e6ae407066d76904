"""Which labelled images a training shows, and what draws them by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.data.class_counts import class_counts, pixel_counts
from uda4inst.data.config import DataConfig, DatasetRef
from uda4inst.data.stream.sampling import RareClassSampler
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.structures import Labels


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The labelled images that are shown.

    Args:
        shown: their places in the data set.
        by_class: draws places in `shown` by class; None where all are drawn equally often.
    """

    shown: Int64[np.ndarray, " M"]
    by_class: RareClassSampler | None = None


def choose_images(
    dataset: ImageTree,
    config: DataConfig,
    *,
    labels: Labels,
    classes: Sequence[int] | None,
    is_source: bool,
    seed: int,
) -> Choice:
    """Return which labelled images are shown; what draws by class counts within these.

    Args:
        dataset: opened with labels.
        config: says how to choose; rare classes are looked for in the source alone.
        labels: which labels are learned from.
        classes: thing indices to learn; None for all.
        is_source: whether it is the source.
        seed: the run's seed.

    Raises:
        UserError: nothing is left to learn from, or too little of a class to draw by.
    """
    everything = np.arange(len(dataset))
    temperature = config.rare_class_temperature if is_source else None
    if labels == "semantic":
        if temperature is None:
            return Choice(everything)
        enough = config.rare_class_pixels
        return Choice(everything, _by_pixels(dataset, temperature, enough=enough, seed=seed))
    if temperature is None and not config.skip_empty:
        return Choice(everything)
    counts = class_counts(dataset)
    if classes is not None:
        counts = counts[:, list(classes)]
    shown = everything[counts.any(axis=1)] if config.skip_empty else everything
    if not counts.any():
        names = dataset.thing_classes.names
        wanted = ", ".join(names if classes is None else (names[i] for i in classes))
        raise UserError(
            f"images to learn from must show an object ({wanted}), got none in {len(counts)} "
            f"({dataset.root}). Check it with `uda4inst data stats`, or loosen its filters."
        )
    if temperature is None:
        return Choice(shown)
    return Choice(shown, RareClassSampler(counts[shown], temperature=temperature, seed=seed))


def _by_pixels(
    dataset: ImageTree, temperature: float, *, enough: int, seed: int
) -> RareClassSampler:
    """Return what draws images by the pixels of their classes.

    A class that no image shows enough of is refused, not left out: it is one of the rarest, which
    is what this drawing is for, and a run that never favours it would not say so.
    """
    counts = pixel_counts(dataset)
    if not counts.any():
        raise UserError(
            f"images to learn from must have labelled pixels, got none in {len(counts)} "
            f"({dataset.root}). Check it with `uda4inst data stats`."
        )
    highest: NDArray[np.int64] = counts.max(axis=0)
    scarce = [int(i) for i in np.flatnonzero((highest > 0) & (highest <= enough))]
    if scarce:
        named = ", ".join(f"{SEMANTIC_CLASSES[i].name} at most {highest[i]}" for i in scarce)
        raise UserError(
            f"some image must show more than data.rare_class_pixels={enough} pixels of every class "
            f"there is, to be drawn for it, got {named} ({dataset.root}). Set "
            f"data.rare_class_pixels below {highest[scarce].min()}, or leave "
            "data.rare_class_temperature empty."
        )
    return RareClassSampler(counts, temperature=temperature, seed=seed, more_than=enough)


def refuse_foreign_choices(
    config: DataConfig, learned: DatasetRef, classes: Sequence[int] | None, labels: Labels
) -> None:
    """Raise where a setting is made that chooses by labels which are not learned from.

    `data.skip_empty` is no such choice: every image has semantic classes to learn. Nor is
    `data.rare_class_pixels`, which does nothing by itself.

    Args:
        config: what is set.
        learned: the data set that is learned from.
        classes: thing indices to learn; None for all.
        labels: which labels are learned from.

    Raises:
        UserError: there are such settings; all are named.
    """
    if labels == "instances":
        if config.max_class_share is None:
            return
        raise UserError(
            "data.max_class_share must be empty where instances are learned: it chooses crops by "
            f"their semantic maps, got {config.max_class_share} ({learned.root}). Leave it out."
        )
    offenders = [
        name
        for name, given in (
            ("method.classes", classes is not None),
            ("max_occlusion, max_truncation or min_area", learned.object_filter.is_active),
        )
        if given
    ]
    if offenders:
        raise UserError(
            "settings that choose by instance must be empty where semantic maps are learned, got "
            f"{' and '.join(offenders)} ({learned.root}). Leave them out."
        )
