"""What joining the predictions of two category groups costs on one image, and judging them.

python benchmarks/merging.py [--size 1024x2048] [--detections 100]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from uda4inst.formats.predictions import ImagePredictions, ScoredMask, merge_detections, to_line
from uda4inst.formats.rle import rle_encode


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH")
    parser.add_argument("--detections", type=int, default=100, help="of each group")
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))
    rng = np.random.default_rng(0)
    parts = [
        [detection(rng, (height, width), label) for _ in range(options.detections)]
        for label in (0, 2)
    ]
    merged = merge_detections(parts)
    image = ImagePredictions("image", (height, width), merged)
    print(f"{options.size}, {len(merged)} detections of two groups, median of 20")
    print(f"  merge           {median(lambda: merge_detections(parts)):8.3f} ms")
    print(f"  merge and write {median(lambda: to_line(image)):8.3f} ms")


def detection(rng: np.random.Generator, size: tuple[int, int], label: int) -> ScoredMask:
    """Make a detection with an elliptic mask somewhere in the image."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    middle, half = rng.uniform(0, 1, 2) * size, rng.uniform(0.02, 0.2, 2) * size[0]
    inside = ((rows - middle[0]) / half[0]) ** 2 + ((columns - middle[1]) / half[1]) ** 2 < 1
    return ScoredMask(label, float(rng.random()), rle_encode(inside))


def median(work: Callable[[], object]) -> float:
    """Return the median milliseconds of 20 calls."""
    times: list[float] = []
    for _ in range(20):
        started = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


if __name__ == "__main__":
    main()
