"""Confusion matrices of semantic maps: how long an image takes, ours against plain numpy.

    taskset -c 0 python benchmarks/semantic_scores.py --images 500 --size 1024x2048

Prints one JSON object, in processor time. Maps are generated: regions of all 19 classes with an
ignored share, a tenth of the predicted pixels wrong at random. Files are neither written nor read.
`numpy` is the obvious way, one index a pixel and `np.bincount`; both must give the same counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from uda4inst.evaluation.semantic import SemanticScores

Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def make_maps(rng: np.random.Generator, size: tuple[int, int]) -> Maps:
    """Return the trainIds of an image and what is predicted."""
    classes = np.array([*range(19), 255], dtype=np.uint8)
    cell = 32
    small = rng.choice(classes, size=(-(-size[0] // cell), -(-size[1] // cell)))
    truth = small.repeat(cell, 0).repeat(cell, 1)[: size[0], : size[1]].copy()
    said = rng.integers(0, 19, size=size, dtype=np.uint8)
    keep = (rng.random(size) < 0.9) & (truth != 255)
    return truth, np.where(keep, truth, said)


def by_numpy(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the confusion matrix the obvious way, (19, 20)."""
    seen = truth != 255
    pairs = truth[seen].astype(np.intp) * 20 + np.minimum(predicted[seen], 19)
    return np.bincount(pairs, minlength=19 * 20).reshape(19, 20)


def milliseconds(work: Callable[[Maps], object], maps: list[Maps], images: int) -> list[float]:
    """Return the processor time of every image, going round the maps there are."""
    work(maps[0])
    taken = []
    for number in range(images):
        begun = time.process_time()
        work(maps[number % len(maps)])
        taken.append(1000 * (time.process_time() - begun))
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--different", type=int, default=20, help="maps kept in memory")
    parser.add_argument("--size", default="1024x2048")
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    maps = [make_maps(rng, (height, width)) for _ in range(min(args.different, args.images))]
    scores = SemanticScores()
    ours = milliseconds(lambda pair: scores.add(*pair), maps, args.images)
    plain = milliseconds(lambda pair: by_numpy(*pair), maps, min(args.images, len(maps)))
    for pair in maps:
        np.testing.assert_array_equal(SemanticScores().add(*pair), by_numpy(*pair))
    result = {
        "images": args.images,
        "size": [height, width],
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "ours_ms": {"mean": statistics.mean(ours), "median": statistics.median(ours)},
        "numpy_ms": {"mean": statistics.mean(plain), "median": statistics.median(plain)},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
