"""Random Cityscapes-like sets, and the official tool run on them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from uda4inst.formats.predictions import ImagePredictions, ScoredMask

RandomSet = list[tuple[NDArray[np.int32], ImagePredictions]]

STUFF_AND_VOID = (0, 1, 4, 5, 7, 8, 11, 21, 23, 29, 30)
OBJECTS = (24, 25, 26, 27, 28, 31, 32, 33, 29, 30)


def _blob(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return an ellipse or a box; some under 100 pixels."""
    height, width = size
    rows, columns = np.ogrid[:height, :width]
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    a, b = rng.uniform(2, height / 2.5), rng.uniform(2, width / 3.5)
    if rng.random() < 0.5:
        return ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
    return (abs(rows - y) <= a) & (abs(columns - x) <= b)


def _truth(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.int32]:
    """Return a raw map with stuff, void, groups, objects, caravans and small pieces."""
    ids = np.full(size, 7, dtype=np.int32)
    for _ in range(rng.integers(0, 4)):
        ids[_blob(rng, size)] = rng.choice(STUFF_AND_VOID)
    classes = rng.choice(OBJECTS, size=rng.integers(1, 5))
    for number in range(rng.integers(0, 9)):
        label = rng.choice(classes)
        ids[_blob(rng, size)] = label if rng.random() < 0.2 else label * 1000 + number
    return ids


def _prediction(rng: np.random.Generator, ids: NDArray[np.int32]) -> ScoredMask:
    """Return a shifted, cut or free mask; ties, empty masks and other classes included."""
    values = np.unique(ids)
    value = int(rng.choice(values))
    label_id = value if value < 1000 else value // 1000
    mask = ids == value
    kind = rng.random()
    if kind < 0.55:
        mask = np.roll(mask, rng.integers(-3, 4, size=2), axis=(0, 1))
    elif kind < 0.7:
        mask = mask & (rng.random(ids.shape) < rng.uniform(0.4, 1))
    elif kind < 0.95:
        mask = _blob(rng, (ids.shape[0], ids.shape[1]))
    else:
        mask = np.zeros(ids.shape, dtype=bool)
    thing = {24: 0, 25: 1, 26: 2, 27: 3, 28: 4, 31: 5, 32: 6, 33: 7}.get(label_id, -1)
    if rng.random() < 0.2:
        thing = int(rng.integers(0, 8))
    score = rng.choice([0.0, 0.5, 1.0]) if rng.random() < 0.3 else rng.random()
    return ScoredMask(thing, float(score), mask)


@pytest.fixture(scope="session")
def random_set() -> Callable[[int], RandomSet]:
    """Return a maker of small random sets from a seed."""

    def make(seed: int) -> RandomSet:
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(40, 70)), int(rng.integers(60, 110)))
        images: RandomSet = []
        for number in range(rng.integers(1, 5)):
            ids = _truth(rng, size)
            made = tuple(_prediction(rng, ids) for _ in range(rng.integers(0, 14)))
            images.append((ids, ImagePredictions(f"toytown_{seed:06d}_{number:06d}", size, made)))
        return images

    return make


def write_truth(root: Path, images: RandomSet, *, split: str = "val") -> None:
    """Write the raw maps as a Cityscapes tree without images."""
    folder = root / "gtFine" / split / "toytown"
    folder.mkdir(parents=True, exist_ok=True)
    for ids, predictions in images:
        path = folder / f"{predictions.sample_id}_gtFine_instanceIds.png"
        Image.fromarray(ids.astype(np.uint16)).save(path)


@pytest.fixture(scope="session")
def truth_writer() -> Callable[..., None]:
    """Return the writer of ground-truth trees."""
    return write_truth


@pytest.fixture(scope="session")
def official() -> Callable[[Path, Path, Path], dict[str, Any]]:
    """Return a runner of the official tool: (ground-truth root, submission, scratch) -> result.

    The two shims are for numpy 2.3 and 2.4 (np.in1d is gone, matches.json cannot be dumped); they
    also keep matches.json out of the current folder.
    """
    tool = pytest.importorskip(
        "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling",
        reason="the comparison needs cityscapesScripts (pip install -e .[dev])",
    )

    def run(root: Path, submission: Path, scratch: Path) -> dict[str, Any]:
        scratch.mkdir(parents=True, exist_ok=True)
        args = tool.args
        args.predictionPath, args.predictionWalk = str(submission.absolute()), None
        args.gtInstancesFile = str(scratch / "gtInstances.json")
        args.exportFile = str(scratch / "result.json")
        args.JSONOutput, args.quiet = False, True
        tool.writeDict2JSON = lambda *_: None
        truths = sorted(str(p) for p in root.glob("gtFine/val/*/*_gtFine_instanceIds.png"))
        quiet = contextlib.redirect_stdout(io.StringIO())
        with quiet, mock.patch.object(np, "in1d", np.isin, create=True):
            predictions = [tool.getPrediction(path, args) for path in truths]
            return tool.evaluateImgLists(predictions, truths, args)

    return run
