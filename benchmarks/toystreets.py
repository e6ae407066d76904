"""How many ToyStreets scenes one core paints a second, each domain in the same run.

    python benchmarks/toystreets.py [--size 128x256] [--scenes 200]

Prints images a second of processor time (other work on the machine counts little) and of wall time.
"""

from __future__ import annotations

import argparse
import time
from typing import get_args

import cv2

from uda4inst.toystreets import ToyDomain, render_scene, scene_layout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="128x256", help="HEIGHTxWIDTH")
    parser.add_argument("--scenes", type=int, default=200)
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))
    cv2.setNumThreads(1)  # one core, as in a worker process
    print(f"{options.scenes} scenes of {height}x{width}, images a second on one core")
    for domain in get_args(ToyDomain):
        render_scene(seed=0, domain=domain, split="warm", index=0, size=(height, width))
        processor, wall = time.process_time(), time.perf_counter()
        for index in range(options.scenes):
            render_scene(seed=0, domain=domain, split="bench", index=index, size=(height, width))
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        layout = time.process_time()
        for index in range(options.scenes):
            scene_layout(seed=0, domain=domain, split="bench", index=index)
        layout = time.process_time() - layout
        print(
            f"  {domain:8s} {options.scenes / processor:7.1f} processor"
            f" {options.scenes / wall:7.1f} wall"
            f"   (layouts alone: {options.scenes / layout:.0f})"
        )


if __name__ == "__main__":
    main()
