"""Reads the snapshots that `uda4inst.run_folder.snapshots` writes, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import EIGHT, THING_NAMES, ThingClasses
from uda4inst.errors import UserError
from uda4inst.formats.rle import Rle
from uda4inst.reading import read_arrays, read_json
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_format import (
    ARRAYS,
    FACTS,
    ItemFacts,
    Part,
    PoolFacts,
    SnapshotFacts,
    View,
    array_name,
)

# What damaged facts raise when they are read.
_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError)

Image = NDArray[np.uint8]
Ids = NDArray[np.int32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with the instances a step trained it on.

    Args:
        image: RGB, (H, W, 3).
        ids: 0 background, k the k-th instance, -1 ignore; (H, W).
        labels: thing index of every instance.
        origin: where a pixel comes from, (H, W): 0 base, 1 source, 2 pseudo-label, 3 pool; None
            where nothing was pasted.
    """

    image: Image
    ids: Ids
    labels: Labels
    origin: Image | None = None


@dataclass(frozen=True, slots=True)
class SemanticImage:
    """An image with the semantic map a step trained it on.

    Args:
        image: RGB, (H, W, 3).
        train_ids: 0..18, 255 ignore; (H, W).
        weight: how much each pixel counts in the loss, 255 for 1; None where all count 1.
        origin: as in `LabelledImage`.
    """

    image: Image
    train_ids: Image
    weight: Image | None = None
    origin: Image | None = None


@dataclass(frozen=True, slots=True)
class PixelLabelImage:
    """A target image with its pseudo-labels of pixels.

    Args:
        learned: the labels that were learned, 255 where dropped, with weights.
        best: the likeliest class of every pixel before any threshold, a trainId; (H, W).
        confidence: its probability, 255 for 1; (H, W).
    """

    learned: SemanticImage
    best: Image
    confidence: Image


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detection of the teacher on the target image; `rle` is its mask."""

    label: int
    score: float
    class_score: float
    mask_score: float
    valid_share: float
    rle: Rle


@dataclass(frozen=True, slots=True)
class PoolItem:
    """An instance waiting in the rare-class pool; `patch` is RGBA, (h, w, 4)."""

    label: int
    sample_id: str
    step: int
    times_drawn: int
    patch: Image


@dataclass(frozen=True)
class SnapshotItem:
    """One position of the batch; views that were switched off are None.

    `valid` is False on the ego vehicle; None in snapshots that do not say. The semantic images are
    the source crop, the labelled target crop and the mixed images of runs that learn the class of
    every pixel, and so are the pixels' pseudo-labels. `domains` is what a discriminator says of
    every pixel of the target crop, 255 for target for sure. `names` are those of the classes.
    """

    source_id: str
    target_id: str
    source: LabelledImage | None
    target: Image | None
    pseudo_labels: LabelledImage | None
    s2t: LabelledImage | None
    t2s: LabelledImage | None
    candidates: Sequence[Candidate]
    kept: Sequence[bool]
    valid: NDArray[np.bool_] | None = None
    source_semantic: SemanticImage | None = None
    target_semantic: SemanticImage | None = None
    pixel_labels: PixelLabelImage | None = None
    s2t_semantic: SemanticImage | None = None
    t2s_semantic: SemanticImage | None = None
    domains: Image | None = None
    names: tuple[str, ...] = THING_NAMES


@dataclass(frozen=True)
class Snapshot:
    """Everything shown of one step.

    Args:
        step: the step.
        stage: its stage.
        method: what trained.
        score_threshold: as configured; 1, which nothing exceeds, for methods without one.
        rare_classes: of those that are learned.
        items: the first pairs of the batch.
        pool: the rare-class pool after the step.
        class_thresholds: class name -> the score a detection had to exceed at this step; empty in
            snapshots that do not say.
        unsure_threshold: what scored more than this, yet too little, was ignored; None: nothing.
        min_visible_share: see `uda4inst.uda.pseudo_labels.select`.
        pixel_threshold: what makes a pixel's label sure, or kept; None for methods without.
        things: the classes of its labels.
    """

    step: int
    stage: int
    method: str
    score_threshold: float
    rare_classes: Sequence[str]
    items: Sequence[SnapshotItem]
    pool: Sequence[PoolItem]
    class_thresholds: Mapping[str, float] = field(default_factory=dict[str, float])
    unsure_threshold: float | None = None
    min_visible_share: float = 0.0
    pixel_threshold: float | None = None
    things: ThingClasses = EIGHT

    @property
    def has_one_threshold(self) -> bool:
        """Whether every class had to exceed the configured score."""
        own = np.float32(self.score_threshold)
        return all(np.float32(value) == own for value in self.class_thresholds.values())


def snapshot_changed(run: RunDir, step: int) -> int | None:
    """Return when the snapshot of a step was written (ns); None where there is none.

    A resumed run writes the same step again.
    """
    try:
        return (run.snapshot_of(step) / FACTS).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def read_snapshot(run: RunDir, step: int) -> Snapshot:
    """Return the snapshot of a step.

    Raises:
        UserError: it is not kept any more, or cannot be read.
    """
    folder = run.snapshot_of(step)
    try:
        return _parsed(folder)
    except FileNotFoundError as error:
        missing = Path(error.filename or folder).name
        raise UserError(
            f"snapshot {step} of {run.name!r} must be a folder with {FACTS} and {ARRAYS}, "
            f"{missing} is missing ({folder}). It may just have made room for a newer one: "
            "choose another snapshot."
        ) from error
    except _UNREADABLE as error:
        raise UserError(
            f"snapshot {step} of {run.name!r} must be readable, got {_reason(error)} "
            f"({folder}). Choose another snapshot."
        ) from error


def _reason(error: Exception) -> str:
    # A missing key's message is the bare key.
    return f"no entry {error}" if isinstance(error, KeyError) else str(error)


def _parsed(folder: Path) -> Snapshot:
    raw = cast(SnapshotFacts, read_json(folder / FACTS))
    arrays = _read_arrays(folder / ARRAYS)
    return Snapshot(
        step=int(raw["step"]),
        stage=int(raw["stage"]),
        method=str(raw["method"]),
        score_threshold=float(raw.get("score_threshold", 1.0)),
        rare_classes=_own_rare_classes(raw),
        items=tuple(
            _read_item(item, arrays, i, _things(raw).names) for i, item in enumerate(raw["items"])
        ),
        pool=tuple(_read_pool_item(entry, arrays) for entry in raw.get("pool", ())),
        class_thresholds={
            str(name): float(value) for name, value in raw.get("class_thresholds", {}).items()
        },
        unsure_threshold=None if (unsure := raw.get("unsure_threshold")) is None else float(unsure),
        min_visible_share=float(raw.get("min_visible_share", 0.0)),
        pixel_threshold=None if (sure := raw.get("pixel_threshold")) is None else float(sure),
        things=_things(raw),
    )


def _things(raw: SnapshotFacts) -> ThingClasses:
    return ThingClasses(tuple(raw.get("own_classes", ())))


def _own_rare_classes(raw: SnapshotFacts) -> tuple[str, ...]:
    """Return the rare classes among those the network learns; a module learns only some."""
    learned = raw.get("classes") or _things(raw).names
    return tuple(name for name in raw.get("rare_classes", ()) if name in learned)


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        return read_arrays(path)
    except ValueError as error:
        raise ValueError(f"{path.name} is cut or damaged") from error


def _read_item(
    raw: ItemFacts, arrays: Mapping[str, NDArray[Any]], index: int, names: tuple[str, ...]
) -> SnapshotItem:
    target = arrays.get(array_name("target", index))
    return SnapshotItem(
        source_id=str(raw.get("source_id") or ""),
        target_id=str(raw.get("target_id") or ""),
        source=_labelled(arrays, "source", index),
        target=target,
        pseudo_labels=_labelled(arrays, "pseudo", index, image=target),
        s2t=_labelled(arrays, "s2t", index),
        t2s=_labelled(arrays, "t2s", index),
        candidates=tuple(
            Candidate(
                label=int(d["label"]),
                score=float(d["score"]),
                class_score=float(d["class_score"]),
                mask_score=float(d["mask_score"]),
                valid_share=float(d.get("valid_share", 1.0)),
                rle=Rle(size=list(d["rle"]["size"]), counts=str(d["rle"]["counts"])),
            )
            for d in raw.get("detections", ())
        ),
        kept=tuple(bool(k) for k in raw.get("kept", ())),
        valid=_valid(arrays, index, target),
        source_semantic=_semantic(arrays, "source", index),
        target_semantic=_semantic(arrays, "target", index),
        pixel_labels=_pixel_labels(arrays, index, target),
        s2t_semantic=_semantic(arrays, "s2t", index),
        t2s_semantic=_semantic(arrays, "t2s", index),
        domains=None if target is None else _map_of(arrays, "target", index, "domains", target),
        names=names,
    )


def _valid(
    arrays: Mapping[str, NDArray[Any]], index: int, target: Image | None
) -> NDArray[np.bool_] | None:
    valid = arrays.get(array_name("valid", index))
    if valid is None or target is None:
        return None
    if valid.shape != target.shape[:2]:
        raise ValueError(f"valid_{index} must have size {target.shape[:2]}, got {valid.shape}")
    return valid.astype(bool)


def _semantic(
    arrays: Mapping[str, NDArray[Any]],
    view: View | str,
    index: int,
    *,
    image: Image | None = None,
) -> SemanticImage | None:
    picture = image if image is not None else arrays.get(array_name(view, index))
    if picture is None:
        return None
    ids, weight, origin = (
        _map_of(arrays, view, index, part, picture) for part in ("semantic", "weight", "origin")
    )
    return None if ids is None else SemanticImage(picture, ids, weight, origin)


def _pixel_labels(
    arrays: Mapping[str, NDArray[Any]], index: int, target: Image | None
) -> PixelLabelImage | None:
    learned = _semantic(arrays, "pseudo", index, image=target)
    if learned is None:
        return None
    best, confidence = (
        _map_of(arrays, "pseudo", index, part, learned.image) for part in ("best", "confidence")
    )
    if best is None or confidence is None:
        raise ValueError(f"pseudo_best_{index} and pseudo_confidence_{index} must be there")
    return PixelLabelImage(learned, best, confidence)


def _map_of(
    arrays: Mapping[str, NDArray[Any]], view: View | str, index: int, part: Part, picture: Image
) -> Image | None:
    """Return one value a pixel of a picture; None where there is none."""
    name = array_name(view, index, part)
    values = arrays.get(name)
    if values is not None and values.shape != picture.shape[:2]:
        raise ValueError(f"{name} must have size {picture.shape[:2]}, got {values.shape}")
    return values


def _labelled(
    arrays: Mapping[str, NDArray[Any]], view: View | str, index: int, *, image: Image | None = None
) -> LabelledImage | None:
    picture = image if image is not None else arrays.get(array_name(view, index))
    ids = arrays.get(array_name(view, index, "ids"))
    if picture is None or ids is None:
        return None
    if ids.shape != picture.shape[:2]:
        raise ValueError(f"{view}_ids_{index} must have size {picture.shape[:2]}, got {ids.shape}")
    labels = arrays[array_name(view, index, "labels")]
    if ids.size and ids.max() > len(labels):
        raise ValueError(f"{view}_ids_{index} must be at most {len(labels)}, got {ids.max()}")
    return LabelledImage(
        image=picture,
        ids=ids,
        labels=labels,
        origin=arrays.get(array_name(view, index, "origin")),
    )


def _read_pool_item(raw: PoolFacts, arrays: Mapping[str, NDArray[Any]]) -> PoolItem:
    return PoolItem(
        label=int(raw["label"]),
        sample_id=str(raw["sample_id"]),
        step=int(raw["step"]),
        times_drawn=int(raw["times_drawn"]),
        patch=arrays[str(raw["patch"])],
    )
