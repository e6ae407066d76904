"""AP of predictions made elsewhere, or stored earlier: from files to numbers, without a network."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.coco_ap import CocoAP
from uda4inst.evaluation.ground_truth import GroundTruth, find_ground_truth, read_instance_ids
from uda4inst.evaluation.results import restrict
from uda4inst.formats.cityscapes_submission import MaskLine, read_submission
from uda4inst.formats.coco import read_results
from uda4inst.formats.predictions import ScoredMask, basename, read_predictions

Progress = Callable[[int, int], None]  # images done, images in all
Accumulator = CityscapesAP | CocoAP
Entries = Sequence[ScoredMask | MaskLine]

_ACCUMULATORS: Final[Mapping[str, type[CityscapesAP] | type[CocoAP]]] = {
    "cityscapes": CityscapesAP,
    "coco": CocoAP,
}
PROTOCOLS: Final = tuple(_ACCUMULATORS)
_IMAGES_PER_TASK: Final = 8  # handed to a worker process at once


def accumulators(protocols: Sequence[str]) -> dict[str, Accumulator]:
    """Return an empty accumulator for every protocol.

    Raises:
        UserError: a protocol is unknown; the message lists the known ones.
    """
    unknown = [p for p in protocols if p not in _ACCUMULATORS]
    if unknown or not protocols:
        raise UserError(f"protocols must be among {', '.join(PROTOCOLS)}, got {list(protocols)}.")
    return {protocol: _ACCUMULATORS[protocol]() for protocol in protocols}


def results_json(
    scores: Mapping[str, Accumulator], *, classes: Sequence[str] = THING_NAMES
) -> dict[str, Any]:
    """Return the results of all protocols as JSON holds them, over some classes."""
    results = {protocol: accumulator.result() for protocol, accumulator in scores.items()}
    if len(classes) < len(THING_NAMES):
        results = {protocol: restrict(result, classes) for protocol, result in results.items()}
    return {protocol: result.to_json() for protocol, result in results.items()}


def to_json(result: Mapping[str, Any]) -> str:
    """Return an evaluation result as JSON text: every digit, null for classes without truth."""
    return json.dumps(result, indent=2, allow_nan=False)


def evaluate_predictions(
    path: Path,
    root: Path,
    *,
    split: str = "val",
    protocols: Sequence[str] = PROTOCOLS,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the AP of predictions stored in files.

    Args:
        path: a Cityscapes submission folder (every image needs its text file), a COCO results
            JSON (see `formats.coco.read_results` for the accepted ids), or a predictions file of
            a run (`.jsonl.gz`). In the last two an image may be left out: nothing was found there.
        root: a Cityscapes tree; only `gtFine/<split>/*/*_gtFine_instanceIds.png` is read.
        split: the annotated split.
        protocols: which of "cityscapes" and "coco".
        workers: processes that share the images; more than one pays for hundreds of full-size
            images.
        progress: called after every image or, with several workers, after every eight.

    Returns:
        Where it came from (`predictions`, `target`, `split`), `images`, and for every protocol
        `AP`, `AP50` and `per_class`, in [0, 1], null for classes without ground truth.

    Raises:
        UserError: anything about the files that the user can mend, naming file and line or entry.
    """
    path, root = Path(path), Path(root)
    scores = accumulators(protocols)
    truth = find_ground_truth(root, split=split)
    entries = _read_entries(path, truth)
    tasks = [(file, entries[name]) for name, file in zip(truth.names, truth.paths, strict=True)]
    for done, part in _scored(tasks, tuple(protocols), workers):
        for protocol, accumulator in part.items():
            _merge(scores[protocol], accumulator)
        if progress is not None:
            progress(done, len(tasks))
    return {
        "predictions": str(path),
        "target": str(root),
        "split": split,
        "images": len(truth),
        **results_json(scores),
    }


def _read_entries(path: Path, truth: GroundTruth) -> Mapping[str, Entries]:
    """Return the detections of every annotated image, from whichever format the path holds."""
    if path.is_dir():
        return read_submission(path, truth.names)
    if not path.is_file():
        raise UserError(
            "predictions must be a Cityscapes submission folder, a COCO results .json or a "
            f"predictions .jsonl.gz, got nothing there ({path}). Check the path."
        )
    if path.suffix == ".gz":
        return _read_own(path, truth)
    return read_results(path, {n: truth.size_of(i) for i, n in enumerate(truth.names)})


def _read_own(path: Path, truth: GroundTruth) -> dict[str, Sequence[ScoredMask]]:
    """Return the detections of a run's predictions file, by annotated image."""
    found: dict[str, Sequence[ScoredMask]] = dict.fromkeys(truth.names, ())
    for image in read_predictions(path):
        name = basename(image.sample_id)
        if name not in found:
            raise UserError(
                f"sample_id must name an image of the split, got {image.sample_id!r} ({path}). "
                "Choose the data set and split the predictions were made on."
            )
        found[name] = image.detections
    return found


def _scored(
    tasks: Sequence[tuple[Path, Entries]], protocols: tuple[str, ...], workers: int
) -> Iterator[tuple[int, dict[str, Accumulator]]]:
    """Yield (images done, accumulators) part by part, in order."""
    if workers <= 1:
        for done, task in enumerate(tasks, start=1):
            yield done, score_images([task], protocols)
        return
    parts = [tasks[i : i + _IMAGES_PER_TASK] for i in range(0, len(tasks), _IMAGES_PER_TASK)]
    # Not fork: torch and OpenCV may already run threads.
    context = multiprocessing.get_context("spawn")
    done = 0
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        scored = pool.map(score_images, parts, [protocols] * len(parts))
        for part, result in zip(parts, scored, strict=True):
            done += len(part)
            yield done, result


def score_images(
    tasks: Sequence[tuple[Path, Entries]], protocols: Sequence[str]
) -> dict[str, Accumulator]:
    """Return accumulators over some images.

    Args:
        tasks: raw instance map and detections of every image.
        protocols: which of "cityscapes" and "coco".

    Raises:
        UserError: a file cannot be read, or a mask has another size than its image.
    """
    scores = accumulators(protocols)
    for path, entries in tasks:
        instance_ids = read_instance_ids(path)
        height, width = instance_ids.shape
        detections = [e.load((height, width)) if isinstance(e, MaskLine) else e for e in entries]
        try:
            for accumulator in scores.values():
                accumulator.add(instance_ids, detections)
        except ValueError as error:
            raise UserError(f"{error} ({path.name})") from error
    return scores


def _merge(scores: Accumulator, part: Accumulator) -> None:
    """Merge accumulators of one protocol."""
    if isinstance(scores, CityscapesAP):
        assert isinstance(part, CityscapesAP)
        scores.merge(part)
    else:
        assert isinstance(part, CocoAP)
        scores.merge(part)
