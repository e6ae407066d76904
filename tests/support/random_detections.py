"""Detections that err in every way a protocol tells apart, drawn around the true objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uda4inst.classes import NUM_THINGS
from uda4inst.data.tree import ImageTree
from uda4inst.formats.predictions import (
    OUT_OF_CLASS,
    ImagePredictions,
    ScoredMask,
    to_line,
    writing_text,
)


def draw(tree: ImageTree, index: int, rng: np.random.Generator) -> ImagePredictions:
    """Return detections of an image: good, moved, doubled, of other classes, on nothing, empty."""
    labels = tree.read_labels(index)
    size = (int(labels.ids.shape[0]), int(labels.ids.shape[1]))
    found: list[ScoredMask] = []
    for number, thing in enumerate(labels.labels.tolist(), start=1):
        for _ in range(int(rng.integers(0, 3))):
            shift = rng.integers(-6, 7, size=2) if rng.random() < 0.6 else (0, 0)
            mask = np.roll(labels.ids == number, shift, axis=(0, 1))
            mask &= rng.random(size) < rng.choice([0.5, 0.9, 1.0])
            label = thing if rng.random() < 0.7 else int(rng.integers(OUT_OF_CLASS, NUM_THINGS))
            found.append(ScoredMask(label, _score(rng), mask))
    for _ in range(int(rng.integers(0, 4))):  # anywhere
        mask = np.zeros(size, dtype=bool)
        top, left = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        mask[top : top + rng.integers(1, 40), left : left + rng.integers(1, 60)] = True
        found.append(ScoredMask(int(rng.integers(0, NUM_THINGS)), _score(rng), mask))
    if rng.random() < 0.5:
        found.append(ScoredMask(0, _score(rng), np.zeros(size, dtype=bool)))
    found = [found[place] for place in rng.permutation(len(found))]
    return ImagePredictions(tree.basename(index), size, tuple(found))


def _score(rng: np.random.Generator) -> float:
    """Return a score; many are equal."""
    return float(rng.choice([0.25, 0.5, 0.75, rng.random()]))


def write_predictions(path: Path, images: list[ImagePredictions]) -> Path:
    """Write a predictions file as a run has it."""
    with writing_text(path, compressed=True) as write:
        for image in images:
            write(to_line(image))
    return path
