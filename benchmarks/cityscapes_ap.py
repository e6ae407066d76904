"""Cityscapes AP, ours against the official tool: same generated files, same process, equal numbers.

    python benchmarks/cityscapes_ap.py --images 10 --size 1024x2048

Prints one JSON object. Both sides read the same submission folder (PNG masks); "from_rle" is what
an evaluation during training costs, where masks are run-length codes already.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling as official_tool
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uda4inst.classes import THING_CLASSES
from uda4inst.data.readers.cityscapes import CityscapesLabels
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.cityscapes_submission import write_submission
from uda4inst.formats.predictions import ImagePredictions, ScoredMask


def ellipse(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask of the size distribution of street objects: many small, few large."""
    height, width = size
    rows, columns = np.ogrid[:height, :width]
    y, x = rng.uniform(0.3 * height, 0.9 * height), rng.uniform(0, width)
    a = height * np.exp(rng.uniform(np.log(0.012), np.log(0.22)))
    b = a * rng.uniform(0.4, 2.0)
    return ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1


def make_set(
    root: Path, *, images: int, size: tuple[int, int], objects: int, predictions: int
) -> list[ImagePredictions]:
    """Write ground truth below `root` and return predictions: moved objects and false ones."""
    rng = np.random.default_rng(0)
    folder = root / "gtFine/val/town"
    folder.mkdir(parents=True)
    made: list[ImagePredictions] = []
    for number in range(images):
        name = f"town_{number:06d}_000019"
        ids = np.full(size, 7, dtype=np.uint16)
        ids[-size[0] // 8 :] = 1  # ego vehicle
        for k in range(objects):
            label_id = int(rng.choice([c.label_id for c in THING_CLASSES]))
            ids[ellipse(rng, size)] = label_id if rng.random() < 0.1 else label_id * 1000 + k
        Image.fromarray(ids).save(folder / f"{name}_gtFine_instanceIds.png")
        values = [v for v in np.unique(ids).tolist() if v >= 24]
        detections: list[ScoredMask] = []
        for _ in range(predictions):
            value = int(rng.choice(values))
            label_id = value if value < 1000 else value // 1000
            label = [c.label_id for c in THING_CLASSES].index(label_id)
            moved = np.roll(ids == value, rng.integers(-12, 13, size=2), axis=(0, 1))
            mask = moved if rng.random() < 0.6 else ellipse(rng, size)
            detections.append(ScoredMask(label, float(rng.random()), mask))
        coded = tuple(ScoredMask(d.label, d.score, d.rle()) for d in detections)
        made.append(ImagePredictions(name, size, coded))
    return made


def run_official(root: Path, submission: Path, scratch: Path) -> dict[str, Any]:
    """Run the official tool without its caches and prints (shims for numpy 2.3 and later)."""
    args = official_tool.args
    args.predictionPath, args.predictionWalk = str(submission), None
    args.gtInstancesFile = str(scratch / "gtInstances.json")
    args.JSONOutput, args.quiet = False, True
    truths = sorted(str(p) for p in root.glob("gtFine/val/*/*_gtFine_instanceIds.png"))
    with (
        mock.patch.object(np, "in1d", np.isin, create=True),
        mock.patch.object(official_tool, "writeDict2JSON"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        predictions = [official_tool.getPrediction(path, args) for path in truths]
        return official_tool.evaluateImgLists(predictions, truths, args)


def main() -> None:
    """Time both on one set and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--predictions", type=int, default=30)
    options = parser.parse_args()
    height, width = (int(v) for v in options.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        root, submission = Path(scratch) / "truth", Path(scratch) / "submission"
        predictions = make_set(
            root,
            images=options.images,
            size=(height, width),
            objects=options.objects,
            predictions=options.predictions,
        )
        write_submission(submission, predictions)
        # Processor time: other programs on the machine do not count.
        marks = [time.process_time()]
        truth = CityscapesLabels(root, "val")
        theirs = run_official(root, submission, Path(scratch))
        marks.append(time.process_time())
        ours = evaluate_predictions(submission, truth, protocols=["cityscapes"])
        marks.append(time.process_time())
        from_rle = CityscapesAP()
        for index, image in enumerate(predictions):
            from_rle.add(truth.read_instance_ids(index), image.detections)
        result = from_rle.result()
        marks.append(time.process_time())
    official_s, ours_s, rle_s = np.diff(marks).tolist()
    expected = theirs["averages"]["allAp"], theirs["averages"]["allAp50%"]
    assert expected == (ours["cityscapes"]["AP"], ours["cityscapes"]["AP50"])
    assert expected == (result.AP, result.AP50)
    report = {
        "images": options.images,
        "size": [height, width],
        "objects": options.objects,
        "predictions": options.predictions,
        "AP": expected[0],
        "AP50": expected[1],
        "official_s_per_image": official_s / options.images,
        "ours_s_per_image": ours_s / options.images,
        "ours_from_rle_s_per_image": rle_s / options.images,
        "official_over_ours": official_s / ours_s,
        "official_over_ours_from_rle": official_s / rle_s,
        "cores": os.cpu_count(),
        "numpy": np.__version__,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
