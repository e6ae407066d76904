"""Scores of predictions made elsewhere or stored earlier: from files, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from uda4inst.classes import (
    BACKGROUND_LABEL_ID,
    EIGHT,
    SEMANTIC_CLASSES,
    THING_NAMES,
    ThingClasses,
)
from uda4inst.data.parallel import in_order
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import basis_json, basis_of
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.coco_ap import CocoAP
from uda4inst.evaluation.found import KEY, found_above, found_json
from uda4inst.evaluation.resampling import resampled_ap, write_resampled
from uda4inst.evaluation.results import restrict
from uda4inst.evaluation.thing_pixels import PROTOCOL as THING_PIXELS
from uda4inst.evaluation.thing_pixels import ThingPixels
from uda4inst.formats.cityscapes_submission import MaskLine, read_submission
from uda4inst.formats.coco import read_results
from uda4inst.formats.image_list import ImageList
from uda4inst.formats.predictions import ScoredMask, basename, read_predictions
from uda4inst.structures import Size

ImagesDone = Callable[[int, int], None]  # images done, images in all
Accumulator = CityscapesAP | CocoAP | ThingPixels
Entries = Sequence[ScoredMask | MaskLine]

_AP: Final[Mapping[str, type[CityscapesAP | CocoAP]]] = {"cityscapes": CityscapesAP, "coco": CocoAP}
PROTOCOLS: Final = tuple(_AP)  # unless others are asked for
ALL_PROTOCOLS: Final = (*PROTOCOLS, THING_PIXELS)
_UNJUDGED: Final = "detections_of_classes_not_there"
# A trainId that is no thing: background of a class nobody named is judged as any other.
_SOME_STUFF: Final = np.uint8(next(c.train_id for c in SEMANTIC_CLASSES if not c.is_thing))


def accumulators(protocols: Sequence[str], things: ThingClasses = EIGHT) -> dict[str, Accumulator]:
    """Return an empty accumulator for every protocol.

    Args:
        protocols: which of `ALL_PROTOCOLS`.
        things: the classes that are judged.

    Raises:
        UserError: a protocol is unknown, or judges the eight classes alone and there are more; the
            message lists the known ones.
    """
    unknown = [p for p in protocols if p not in ALL_PROTOCOLS]
    if unknown or not protocols:
        known = ", ".join(ALL_PROTOCOLS)
        raise UserError(f"protocols must be among {known}, got {list(protocols)}.")
    if things.own and THING_PIXELS in protocols:
        raise UserError(
            f"protocols must be of {', '.join(PROTOCOLS)} where there are classes beside the eight "
            f"({', '.join(things.own)}), got {THING_PIXELS}, which has no number for them."
        )
    return {p: _AP[p](things) if p in _AP else ThingPixels() for p in protocols}


class JudgedSet(Protocol):
    """What judging needs of a data set; a labelled `uda4inst.data.tree.ImageTree` has it."""

    def read_instance_ids(self, index: int) -> NDArray[np.integer]:
        """Return the labels as raw Cityscapes instance ids, (H, W)."""
        ...

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        """Return trainIds, 255 ignore, (H, W); asked for by pixel protocols alone."""
        ...


def judge_image(
    scores: Mapping[str, Accumulator],
    dataset: JudgedSet,
    index: int,
    detections: Sequence[ScoredMask],
    *,
    instance_ids: NDArray[np.integer] | None = None,
) -> None:
    """Take one image into accumulators; each gets the labels it judges by.

    Args:
        scores: accumulators by protocol.
        dataset: its labels are the ground truth.
        index: of the image.
        detections: of its size.
        instance_ids: its raw ids, where they were read already.

    Raises:
        UserError: a file cannot be read.
        ValueError: sizes differ.
    """
    if instance_ids is None:
        instance_ids = dataset.read_instance_ids(index)
    for accumulator in scores.values():
        if isinstance(accumulator, ThingPixels):
            truth = dataset.read_semantic(index)
            is_background = instance_ids == BACKGROUND_LABEL_ID
            accumulator.add(np.where(is_background, _SOME_STUFF, truth), detections)
        else:
            accumulator.add(instance_ids, detections)


def results_json(
    scores: Mapping[str, Accumulator], *, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the results of all protocols as JSON holds them, over some classes (None: all).

    That of Cityscapes has counts of what is `found` above a score beside AP.
    """
    parts: dict[str, Any] = {}
    for protocol, accumulator in scores.items():
        if isinstance(accumulator, ThingPixels):
            parts[protocol] = accumulator.to_json(classes or THING_NAMES)
            continue
        every = accumulator.things.names
        names = every if classes is None else classes
        result = accumulator.result()
        parts[protocol] = (restrict(result, names) if len(names) < len(every) else result).to_json()
        if isinstance(accumulator, CityscapesAP):
            found = found_above(accumulator.judged(), names=names, every=every)
            parts[protocol][KEY] = found_json(found)
    return parts


def write_resampled_ap(
    path: Path,
    scores: Mapping[str, Accumulator],
    images: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Write AP by the Cityscapes protocol on every resample of the images, if that was asked for.

    Args:
        path: see `resampling.resampled_path`.
        scores: accumulators by protocol.
        images: names of the images, in the order they were added.
        classes: the ones the network answers for; None for all.
    """
    found = scores.get("cityscapes")
    if isinstance(found, CityscapesAP) and images:
        every = found.things.names
        ap = resampled_ap(found.judged(), images, names=classes or every, every=every)
        write_resampled(path, ap)


def to_json(result: Mapping[str, Any]) -> str:
    """Return an evaluation result as JSON text: every digit, null for classes without truth."""
    return json.dumps(result, indent=2, allow_nan=False)


def evaluate_predictions(
    path: Path,
    dataset: ImageTree,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    only: ImageList | None = None,
    classes: Sequence[str] | None = None,
    workers: int = 1,
    progress: ImagesDone | None = None,
) -> dict[str, Any]:
    """Return the AP of predictions stored in files.

    Args:
        path: a submission folder in Cityscapes' format (every image needs its text file), a COCO
            results JSON (see `formats.coco.read_results` for the accepted ids), or a predictions
            file of a run (`.jsonl.gz`). In the last two an image may be left out: nothing was found
            there.
        dataset: opened with labels, which have instances; of Cityscapes' `CityscapesLabels` will
            do.
        protocols: which of `ALL_PROTOCOLS`.
        only: judge these images alone; None for all.
        classes: judge these alone, those that a network answers for; None for all.
        workers: processes that share the images; more than one pays for hundreds of full-size
            images.
        progress: called after every image.

    Returns:
        Where it came from (`predictions`, `target`), what it rests on (`basis.Basis`: `dataset`,
        `split`, `images`, `images_there`, `image_names`), and for every protocol
        `AP`, `AP50` and `per_class`, in [0, 1], null for classes without ground truth; by
        "thing_pixels" what `ThingPixels.to_json` says. Where some detections are of classes that
        the data set does not have and count for nothing, how many
        (`detections_of_classes_not_there`).

    Raises:
        UserError: anything about the files that the user can mend, naming file and line or entry.
    """
    path = Path(path)
    scores = accumulators(protocols, dataset.thing_classes)
    places = range(len(dataset)) if only is None else dataset.places(only)
    entries = _read_entries(path, dataset)
    work = _ImageScore(dataset, entries, tuple(protocols), places)

    def show(done: int) -> None:
        if progress is not None:
            progress(done, len(places))

    for part in in_order(work, len(places), workers=workers, progress=show):
        for protocol, accumulator in part.items():
            _merge(scores[protocol], accumulator)
    return {
        "predictions": str(path),
        "target": str(dataset.root),
        **_unjudged(entries, dataset, places),
        **basis_json(basis_of(dataset, places)),
        **results_json(scores, classes=classes),
    }


def _unjudged(
    entries: Sequence[Entries], dataset: ImageTree, places: Sequence[int]
) -> dict[str, int]:
    """Return how many detections are of classes that the data set does not have, if any are."""
    known = len(dataset.thing_classes)
    found = (entry for place in places for entry in entries[place])
    count = sum(isinstance(entry, ScoredMask) and entry.label >= known for entry in found)
    return {_UNJUDGED: count} if count else {}


def read_detections(path: Path, dataset: ImageTree) -> Iterator[tuple[ScoredMask, ...]]:
    """Yield the detections of every image of a data set, in its order, from any of the formats.

    Args:
        path: as for `evaluate_predictions`.
        dataset: the images they are of.

    Raises:
        UserError: as `evaluate_predictions`.
    """
    for index, entries in enumerate(_read_entries(path, dataset)):
        yield _loaded(entries, dataset.size_of(index))


def _loaded(entries: Entries, size: Size) -> tuple[ScoredMask, ...]:
    return tuple(e.load(size) if isinstance(e, MaskLine) else e for e in entries)


def _read_entries(path: Path, dataset: ImageTree) -> Sequence[Entries]:
    """Return the detections of every image in its place, from whichever format the path holds."""
    names = [dataset.basename(index) for index in range(len(dataset))]
    found: Mapping[str, Entries]
    if path.is_dir():
        found = read_submission(path, names)
    elif not path.is_file():
        raise UserError(
            "predictions must be a Cityscapes submission folder, a COCO results .json or a "
            f"predictions .jsonl.gz, got nothing there ({path}). Check the path."
        )
    elif path.suffix == ".gz":
        found = _read_own(path, names)
    else:
        sizes = {n: dataset.size_of(i) for i, n in enumerate(names)}
        found = read_results(path, sizes, dataset.thing_classes)
    return [found[name] for name in names]


def _read_own(path: Path, names: Sequence[str]) -> dict[str, Sequence[ScoredMask]]:
    """Return the detections of a run's predictions file, by image."""
    found: dict[str, Sequence[ScoredMask]] = dict.fromkeys(names, ())
    for image in read_predictions(path):
        name = image.sample_id if image.sample_id in found else basename(image.sample_id)
        if name not in found:
            raise UserError(
                f"sample_id must name an image of the split, got {image.sample_id!r} ({path}). "
                "Choose the data set and split the predictions were made on."
            )
        found[name] = image.detections
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _ImageScore:
    """Judges one image, here or in another process.

    Args:
        dataset: its labels are the ground truth.
        entries: the detections of every image.
        protocols: which of `ALL_PROTOCOLS`.
        places: indices of the judged images.
    """

    dataset: ImageTree
    entries: Sequence[Entries]
    protocols: tuple[str, ...]
    places: Sequence[int]

    def __call__(self, number: int) -> dict[str, Accumulator]:
        """Return accumulators over one of the judged images."""
        index = self.places[number]
        scores = accumulators(self.protocols, self.dataset.thing_classes)
        ids = self.dataset.read_instance_ids(index)
        size = (int(ids.shape[0]), int(ids.shape[1]))
        detections = _loaded(self.entries[index], size)
        try:
            judge_image(scores, self.dataset, index, detections, instance_ids=ids)
        except ValueError as error:
            raise UserError(f"{error} ({self.dataset.basename(index)})") from error
        return scores


def _merge(scores: Accumulator, part: Accumulator) -> None:
    """Merge accumulators of one protocol."""
    if isinstance(scores, CityscapesAP):
        assert isinstance(part, CityscapesAP)
        scores.merge(part)
    elif isinstance(scores, CocoAP):
        assert isinstance(part, CocoAP)
        scores.merge(part)
    else:
        assert isinstance(part, ThingPixels)
        scores.merge(part)
