"""Right and wrong pixels of several runs on the same images, as the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from uda4inst.data.tree import ImageTree
from uda4inst.draw import error_overlay
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import (
    class_error,
    confusion,
    error_map,
    predicted_classes,
    true_classes,
)
from uda4inst.formats.predictions import ImagePredictions, read_predictions
from uda4inst.run_folder.evaluations import last_evaluation, predictions_file
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config
from uda4inst.training.validation import require_validation
from workbench.notebook.shown import Captioned
from workbench.notebook.stepper import Stepper

ALL: Final = "all classes"
_NETWORK: Final = "student"
_SCORES: Final = (0.3, 0.5, 0.7, 0.9)
# Looked through for the images with the most errors: reading masks takes time.
_LOOKED_AT: Final = 200


@dataclass(frozen=True, slots=True)
class _Found:
    """What a run's student predicted at its last evaluation, by image."""

    step: int
    images: Mapping[str, ImagePredictions]


def error_maps(runs: Mapping[str, RunDir], *, images: int = 8) -> Stepper:
    """Step through the images that the first run has most wrong, as every run sees them.

    Green is right, red wrong, grey left out of judging; the rest is background, rightly so.

    Args:
        runs: evaluated on the same images, by the name the control shows.
        images: how many, of the first 200 that were judged.

    Raises:
        UserError: a run has no predictions.
    """
    found = {name: _predictions(run) for name, run in runs.items()}
    first = next(iter(runs.values()))
    dataset = require_validation(load_config(first.config))
    names = dataset.thing_classes.names
    places = {dataset.basename(index): index for index in range(len(dataset))}
    shared = [name for name in places if all(name in part.images for part in found.values())]
    truths = {name: _truth(dataset, places[name]) for name in shared[:_LOOKED_AT]}
    of_first = next(iter(found.values())).images
    wrong = {
        name: class_error(confusion(_painted(of_first[name], 0.5), truth, things=len(names)))
        for name, truth in truths.items()
    }
    worst = sorted(truths, key=lambda name: -wrong[name].wrong_pixels)[:images]

    def draw(row: str, image: int, of_class: str, score_threshold: float) -> Captioned:
        name = worst[image - 1]
        thing = None if of_class == ALL else names.index(of_class)
        predicted = _painted(found[row].images[name], score_threshold)
        codes = error_map(predicted, truths[name], thing=thing)
        error = class_error(confusion(predicted, truths[name], things=len(names)), thing)
        text = (
            f"{row}, {_NETWORK} at step {found[row].step:,}, {name}, {of_class}, "
            f"scores above {score_threshold:g}: "
            f"{error.right_pixels:,} pixels right, {error.false_positive_pixels:,} found too much, "
            f"{error.false_negative_pixels:,} missed"
        )
        return Captioned(error_overlay(dataset.read_image(places[name]), codes), text)

    choices = {
        "row": list(runs),
        "image": range(1, len(worst) + 1),
        "of_class": (ALL, *names),
        "score_threshold": _SCORES,
    }
    return Stepper(draw, choices, start={"score_threshold": 0.5})


def _predictions(run: RunDir) -> _Found:
    """Return the student's predictions at the last evaluation."""
    last = last_evaluation(run)
    path = None if last is None else predictions_file(run, last.step, _NETWORK)
    if last is None or path is None or not path.is_file():
        raise UserError(
            f"run {run.name!r} must have predictions of its {_NETWORK}, got none ({run.path}). "
            "Evaluate it first: uda4inst evaluate RUN"
        )
    return _Found(last.step, {image.sample_id: image for image in read_predictions(path)})


def _truth(dataset: ImageTree, index: int) -> NDArray[np.uint8]:
    return true_classes(dataset.read_instance_ids(index))


def _painted(image: ImagePredictions, score_threshold: float) -> NDArray[np.uint8]:
    return predicted_classes(image.detections, image.size, score_threshold=score_threshold)
