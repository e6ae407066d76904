"""Stored predictions beside ground truth: what the Error maps page needs, read once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from uda4inst.classes import EIGHT, NUM_THINGS, ThingClasses
from uda4inst.data.config import DatasetRef
from uda4inst.data.records import LabelArrays
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import basis_of
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.error_maps import ErrorIndex, index_errors, true_classes
from uda4inst.evaluation.results import restrict
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.evaluation.semantic_errors import index_semantic_errors
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.formats.predictions import ImagePredictions, read_predictions
from uda4inst.run_folder.evaluations import (
    Evaluation,
    evaluated_steps,
    predicting_networks,
    predictions_file,
    read_evaluation,
    where_images_lie,
)
from workbench.stores.background import Background, Progress, Tell
from workbench.stores.recent import Recent
from workbench.stores.runs import RunStore

# Smallest of the sets kept in memory: predictions of 500 images are about 15 MB of text.
_SETS_KEPT: Final = 3
_INDEXES_KEPT: Final = 12
ALL_THINGS: Final = frozenset(range(NUM_THINGS))
# A background that is judged, unlike the void of a raw id of 0.
_ROAD: Final = 7


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Which predictions: those of one network of a run at a step.

    Args:
        run: name of the run, or of one of its modules.
        step: of the evaluation.
        network: "student" or "teacher".
    """

    run: str
    step: int
    network: str


@dataclass(frozen=True, slots=True, eq=False)
class PredictionSet:
    """The evaluated detections of one network on a split, and where the split lies.

    Args:
        dataset: images with annotation.
        images: detections by the data set's image names.
        positions: place of every image in the data set.
        things: the classes the network learned; instances of others are background to it.
        classes: all there are.
    """

    dataset: ImageTree
    images: Mapping[str, ImagePredictions]
    positions: Mapping[str, int]
    things: frozenset[int] = ALL_THINGS
    classes: ThingClasses = EIGHT

    @property
    def learns_all(self) -> bool:
        """Whether the network learned every class."""
        return len(self.things) == len(self.classes)

    @property
    def names(self) -> Collection[str]:
        """Names of the judged images."""
        return self.images.keys()

    def image(self, sample_id: str) -> NDArray[np.uint8]:
        """Return an image as RGB."""
        return self.dataset.read_image(self.positions[sample_id])

    def read_truth(self, sample_id: str) -> NDArray[np.integer]:
        """Return an image's annotation as raw Cityscapes ids, 7 (road) for classes not learned."""
        truth = self.dataset.read_instance_ids(self.positions[sample_id])
        if self.learns_all:
            return truth
        things = true_classes(truth).astype(np.int64) - 1
        others = (things >= 0) & (things < len(self.classes)) & ~np.isin(things, list(self.things))
        return np.where(others, _ROAD, truth)

    def read_labels(self, sample_id: str) -> LabelArrays:
        """Return an image's objects; classes not learned are named -1."""
        labels = self.dataset.read_labels(self.positions[sample_id])
        known = np.isin(labels.labels, list(self.things))
        return replace(labels, labels=np.where(known, labels.labels, -1))


@dataclass(frozen=True, slots=True, eq=False)
class SemanticSet:
    """The judged semantic maps of one network on a split, and where the split lies.

    Args:
        dataset: images with annotation.
        maps: by the data set's image names.
        positions: place of every image in the data set.
    """

    dataset: ImageTree
    maps: LabelMaps
    positions: Mapping[str, int]

    @property
    def names(self) -> Collection[str]:
        """Names of the judged images."""
        return self.maps.names

    def image(self, sample_id: str) -> NDArray[np.uint8]:
        """Return an image as RGB."""
        return self.dataset.read_image(self.positions[sample_id])

    def read_truth(self, sample_id: str) -> NDArray[np.uint8]:
        """Return an image's annotation: trainIds, 255 ignore."""
        return self.dataset.read_semantic(self.positions[sample_id])

    def read_predicted(self, sample_id: str) -> NDArray[np.uint8]:
        """Return what was predicted: trainIds, 255 for no class."""
        return self.maps.read(sample_id)


class EvaluationStore:
    """Reads evaluations of runs; what was read last stays in memory."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        self._sets: Recent[tuple[Path, int], PredictionSet | SemanticSet] = Recent(_SETS_KEPT)
        self._indexes: Recent[tuple[Path, int, float], ErrorIndex] = Recent(_INDEXES_KEPT)
        self._scores: Recent[tuple[Path, int, str], Evaluation] = Recent(_INDEXES_KEPT)
        self._background = Background()

    def steps(self, run: str) -> list[int]:
        """Return the steps with stored predictions, oldest first."""
        return [s for s in evaluated_steps(self._runs.dir(run)) if self.networks(run, s)]

    def networks(self, run: str, step: int) -> list[str]:
        """Return which networks have stored predictions at a step, the teacher first.

        None of a task whose predictions no page can show.
        """
        if self._runs.task(run).predictions_kind is None:
            return []
        return predicting_networks(self._runs.dir(run), step)

    def record(self, run: str, step: int) -> Evaluation | None:
        """Return what was written about an evaluation; None when it cannot be read."""
        try:
            return read_evaluation(self._runs.dir(run).evaluation_of(step))
        except UserError:
            return None

    def predictions(self, which: Evaluated) -> PredictionSet | SemanticSet:
        """Return stored predictions with the images they were made on.

        Raises:
            UserError: the predictions or the images cannot be read.
        """
        key = self._key(which)
        return self._recent_set(which, key)

    def judged(
        self, first: Evaluated, second: Evaluated | None, score_threshold: float
    ) -> Progress | None:
        """Judge every image that one or two networks have predictions of, in the background.

        Returns:
            How far that is; None once `index` and `comparable` have it at once.

        Raises:
            UserError: predictions or annotation cannot be read.
        """
        sides = [first, *([] if second is None else [second])]

        def work(tell: Tell) -> None:
            for one in sides:
                what = f"{one.network} of {one.run} at step {one.step:,}"
                tell(what, 0, 0)
                self.index(one, score_threshold, partial(tell, what))
            if second is not None:
                self.comparable(first, second, partial(tell, "the images of both"))

        return self._background.ask((*map(self._key, sides), score_threshold), work)

    def index(
        self,
        which: Evaluated,
        score_threshold: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> ErrorIndex:
        """Return the errors of every image at a score threshold.

        Args:
            which: the predictions.
            score_threshold: only scores above it are painted.
            progress: told (images done, images in all).

        Raises:
            UserError: the predictions or the annotation cannot be read.
        """
        key = self._key(which)
        found = self._recent_set(which, key)

        def make() -> ErrorIndex:
            if isinstance(found, SemanticSet):
                names = sorted(found.maps.names)
                return index_semantic_errors(
                    names, found.read_predicted, found.read_truth, progress=progress
                )
            return index_errors(
                found.images.values(),
                found.read_truth,
                score_threshold=score_threshold,
                things=len(found.classes),
                progress=progress,
            )

        # Semantic maps have no scores.
        threshold = 0.0 if isinstance(found, SemanticSet) else score_threshold
        return self._indexes.get((*key, threshold), make)

    def comparable(
        self,
        which: Evaluated,
        other: Evaluated,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Evaluation, Evaluation] | None:
        """Return two evaluations whose scores may stand beside each other.

        Those that were written where both judged the same images; else the headline's protocol
        anew, over the images that both have predictions of. None where there are none.

        Raises:
            UserError: predictions or annotation cannot be read.
        """
        written = [self.record(one.run, one.step) for one in (which, other)]
        if written[0] and written[1] and written[0].basis.is_same_as(written[1].basis):
            return written[0], written[1]
        found = [self.predictions(one) for one in (which, other)]
        trees = {(one.dataset.name, one.dataset.root.resolve(), one.dataset.split) for one in found}
        names = sorted(set(found[0].names) & set(found[1].names)) if len(trees) == 1 else []
        if not names:
            return None
        return self._anew(which, names, progress), self._anew(other, names, progress)

    def _anew(
        self,
        which: Evaluated,
        names: Sequence[str],
        progress: Callable[[int, int], None] | None,
    ) -> Evaluation:
        """Return the evaluation of some of the images that were judged."""
        key, written = self._key(which), self.record(which.run, which.step)
        found = self._recent_set(which, key)
        basis = basis_of(found.dataset, [found.positions[name] for name in names])
        if written is not None and written.basis.is_same_as(basis):
            return written

        def make() -> Evaluation:
            result = _scores(found, names, progress)
            protocol = self._runs.task(which.run).protocols[0]
            return Evaluation(
                {which.network: {protocol: result}},
                which.step,
                written.config_hash if written else "",
                basis.dataset,
                basis.split,
                basis.images,
                basis.there,
                basis.names,
            )

        return self._scores.get((*key, basis.names), make)

    def _recent_set(self, which: Evaluated, key: tuple[Path, int]) -> PredictionSet | SemanticSet:
        def read() -> PredictionSet | SemanticSet:
            dataset = self._dataset(which.run)
            if self._runs.task(which.run).predictions_kind == "label maps":
                return _read_semantic_set(key[0], dataset)
            things = self._runs.things(which.run)
            return _read_set(key[0], dataset, self._things(which.run), things)

        return self._sets.get(key, read)

    def _key(self, which: Evaluated) -> tuple[Path, int]:
        path = predictions_file(self._runs.dir(which.run), which.step, which.network)
        try:
            # An evaluation may be repeated.
            return path, path.stat().st_mtime_ns
        except FileNotFoundError as error:
            raise UserError(
                f"predictions of the {which.network} of {which.run!r} at step {which.step} must "
                f"exist, got none ({path}). Choose another step or network."
            ) from error

    def _things(self, run: str) -> frozenset[int]:
        things = self._runs.things(run)
        return frozenset(map(things.index, self._runs.classes(run) or things.names))

    def _dataset(self, run: str) -> ImageTree:
        val = self._runs.setting(run, "data.val")
        try:
            ref = DatasetRef.model_validate(val)
            if not Path(ref.root).is_dir():
                raise UserError(
                    f"data.val.root must be the folder that run {run!r} was evaluated on, got no "
                    f"such folder ({ref.root}). {where_images_lie(self._runs.dir(run))}"
                )
            return open_dataset(ref, domain="target", labels=self._runs.task(run).labels)
        except ValidationError as error:
            raise UserError(
                f"data.val must name the images run {run!r} was evaluated on, got {val!r} "
                f"({self._runs.dir(run).config}). Restore the file."
            ) from error


def _scores(
    found: PredictionSet | SemanticSet,
    names: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Return the headline's scores over some images, as an evaluation holds them."""
    tell = progress or (lambda done, total: None)
    if isinstance(found, SemanticSet):
        pixels = SemanticScores()
        for done, name in enumerate(names, start=1):
            pixels.add(found.read_truth(name), found.read_predicted(name))
            tell(done, len(names))
        return pixels.to_json()
    objects = CityscapesAP(found.classes)
    for done, name in enumerate(names, start=1):
        # As every evaluation does: objects of classes not learned are there, and not asked for.
        truth = found.dataset.read_instance_ids(found.positions[name])
        objects.add(truth, found.images[name].detections)
        tell(done, len(names))
    own = [found.classes.names[thing] for thing in sorted(found.things)]
    result = objects.result()
    return (result if found.learns_all else restrict(result, own)).to_json()


def _read_set(
    path: Path, dataset: ImageTree, things: frozenset[int], classes: ThingClasses
) -> PredictionSet:
    positions = {dataset.basename(i): i for i in range(len(dataset))}
    images = {image.sample_id: image for image in read_predictions(path)}
    _check_names(images, positions, dataset, path)
    return PredictionSet(
        dataset=dataset,
        images=images,
        positions=positions,
        things=things,
        classes=classes,
    )


def _read_semantic_set(path: Path, dataset: ImageTree) -> SemanticSet:
    positions = {dataset.basename(i): i for i in range(len(dataset))}
    maps = LabelMaps(path)
    _check_names(sorted(maps.names), positions, dataset, path)
    return SemanticSet(dataset, maps, positions)


def _check_names(
    names: Iterable[str], positions: Mapping[str, int], dataset: ImageTree, path: Path
) -> None:
    """Raise where predictions are of images that the data set does not have."""
    unknown = [name for name in names if name not in positions]
    if unknown:
        raise UserError(
            f"predictions must be of images in {dataset.root} ({dataset.split}), got "
            f"{len(unknown)} others such as {unknown[0]!r} ({path}). "
            "Restore the data set they were made on, or evaluate again."
        )


def worst_first(
    index: ErrorIndex, thing: int | None, *, other: ErrorIndex | None = None
) -> Sequence[str]:
    """Return image names by wrong pixels, most first.

    Args:
        index: errors of every image.
        thing: one class, or None for all.
        other: when given, images where the first errs most beyond the other come first; only
            images of both are listed.
    """
    wrong = _wrong_pixels(index, thing)
    if other is not None:
        theirs = _wrong_pixels(other, thing)
        wrong = {name: count - theirs[name] for name, count in wrong.items() if name in theirs}
    return sorted(wrong, key=lambda name: (-wrong[name], name))


def _wrong_pixels(index: ErrorIndex, thing: int | None) -> dict[str, int]:
    errors = index.errors(thing)
    return {name: error.wrong_pixels for name, error in zip(index.sample_ids, errors, strict=True)}
