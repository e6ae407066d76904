"""How long a session of data takes to build, and to open again.

    python benchmarks/inspection.py [--images 500] [--objects 15] [--size 1024x2048]

An UrbanSyn tree is written into a temporary folder: eight pictures of ToyStreets again and again,
under label maps with as many ellipses as asked for. There FiftyOne starts alone, to compare with;
then `uda4inst inspect data` builds the session, and opens it again: each a process of its own. Peak
memory is that of the process and of all it started, the database included, ten times a second;
pages that they share are counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from uda4inst.toystreets.write import write_toystreets

_SCENES = 8
_START = "from workbench.sessions.database import connect; connect()"


def write_tree(root: Path, *, images: int, objects: int, size: tuple[int, int]) -> Path:
    """Write an UrbanSyn tree of so many images with so many objects each."""
    toy = write_toystreets(root / "toy", size=size, train=_SCENES, val=1, workers=0)
    pictures = sorted((toy.source_root / "rgb").glob("*.png"))
    tree = root / "urbansyn"
    for kind in ("rgb", "ss", "panoptic"):
        (tree / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, images + 1):
        (tree / "rgb" / f"rgb_{number:04d}.png").hardlink_to(pictures[number % len(pictures)])
        ss, panoptic = paint(rng, objects, size)
        quick = (cv2.IMWRITE_PNG_COMPRESSION, 1)
        cv2.imwrite(str(tree / "ss" / f"ss_{number:04d}.png"), ss, quick)
        cv2.imwrite(str(tree / "panoptic" / f"panoptic_{number:04d}.png"), panoptic, quick)
    return tree


def paint(
    rng: np.random.Generator, objects: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a class map and a panoptic map (blue first): ellipses that overlap no other whole."""
    height, width = size
    ss = np.zeros(size, np.uint8)
    ss[: height // 3] = 10  # sky
    panoptic = np.zeros((*size, 3), np.uint8)
    for number in range(1, objects + 1):
        thing = int(rng.integers(11, 19))
        center = (int((number - 0.5) * width / objects), int(rng.integers(height // 4, height)))
        axes = tuple(int(side) for side in rng.integers(height // 60, height // 6, 2))
        for canvas, color in ((ss, thing), (panoptic, (thing, 0, number))):
            cv2.ellipse(canvas, center, axes, float(number), 0, 360, color, -1)
    return ss, panoptic


def timed(words: list[str], folder: Path) -> tuple[float, float, str]:
    """Return seconds, peak memory in MiB and standard output of a process; print its work."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = psutil.Popen(
        [sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], memory_of(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"  {seconds:.1f} s, {work:.1f} of processors (without the database's): {words[-1][-40:]}"
    )
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return seconds, peak[0] / 2**20, out


def memory_of(process: psutil.Popen) -> float:
    """Return the bytes of a process and of all it started, what they share counted once."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:
        pass
    return float(total)


def main() -> None:
    """Print the figures of this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--objects", type=int, default=15)
    parser.add_argument("--size", default="1024x2048")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tree(folder, images=options.images, objects=options.objects, size=(height, width))
        timed(["-c", _START], folder)  # the database's files are made
        command = ["-m", "uda4inst.cli", "inspect", "data", "urbansyn", "urbansyn", "--headless"]
        start, _, _ = timed(["-c", _START], folder)
        load = os.getloadavg()[0]
        built, memory, out = timed(command, folder)
        again, _, second = timed(command, folder)
    assert not json.loads(second)["built"]
    objects = sum(json.loads(out)["domains"]["source"]["objects"].values())
    print(f"{options.images} images of {options.size}, {objects} objects; load before: {load:.1f}")
    print(f"FiftyOne's own start: {start:.1f} s")
    print(f"built: {built:.1f} s, {built - start:.1f} beside the start; peak {memory:.0f} MiB")
    print(f"opened again: {again:.1f} s, {again - start:.1f} beside the start")


if __name__ == "__main__":
    main()
