"""What loading a training image costs one core, stage by stage, and LAB beside scikit-image.

    python benchmarks/loading.py [--size 1024x2048] [--crop 1024x1024] [--images 8]

Writes ToyStreets at that size as a UrbanSyn and a Cityscapes tree of PNG files into a temporary
folder, the target images as a folder of JPEG files beside them, then prints milliseconds of
processor time and the share of each stage, and images a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from uda4inst.data.readers import Cityscapes, ImageFolder, UrbanSyn
from uda4inst.data.stream.dataset import _move_instances
from uda4inst.data.tree import ImageTree
from uda4inst.ops.color import lab_to_rgb, rgb_to_lab
from uda4inst.ops.geometric import GeometricPolicy
from uda4inst.ops.photometric import Distortion
from uda4inst.structures import Labels
from uda4inst.toystreets.write import write_toystreets

SHORT_SIDES = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH of the files")
    parser.add_argument("--crop", default="1024x1024", help="HEIGHTxWIDTH of a training image")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--lab-threads", type=int, default=2)
    options = parser.parse_args()
    size, crop = (tuple(int(n) for n in text.split("x")) for text in (options.size, options.crop))
    cv2.setNumThreads(1)  # one core, as in a worker process
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tree = write_toystreets(
            Path(folder) / "tree", size=(size[0], size[1]), train=options.images, val=1, workers=0
        )
        policy = GeometricPolicy(
            crop=(crop[0], crop[1]),
            short_sides=tuple(round(crop[0] * factor) for factor in SHORT_SIDES),
            long_side_max=2 * crop[0],
            flip=True,
        )
        print(f"one core, {options.size} PNG and JPEG, crop {options.crop}, processor time")
        for labels in ("instances", "semantic"):
            measure(UrbanSyn(tree.source_root), policy, labels=labels)
            measure(Cityscapes(tree.target_root, "train"), policy, labels=labels)
        measure(Cityscapes(tree.target_root, "train", require_labels=False), policy, labels=None)
        jpegs = write_jpegs(tree.target_root, Path(folder) / "jpegs")
        measure(ImageFolder(jpegs, require_labels=False), policy, labels=None)
    measure_lab(options.lab_threads)


def write_jpegs(cityscapes: Path, folder: Path) -> Path:
    """Write the training images of a Cityscapes tree as JPEG of quality 90; return the folder."""
    folder.mkdir()
    for path in cityscapes.glob("leftImg8bit/train/*/*.png"):
        with Image.open(path) as image:
            image.save(folder / f"{path.stem}.jpg", quality=90)
    return folder


def measure(dataset: ImageTree, policy: GeometricPolicy, *, labels: Labels | None) -> None:
    """Print what each stage of loading this data set takes."""
    spent: dict[str, float] = defaultdict(float)

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        spent[stage] += time.process_time() - started
        return result

    generator = np.random.default_rng(0)
    for index in [0, *range(len(dataset))]:
        if index == 0:
            spent.clear()  # the first image warms up
        image = timed("decode image", lambda i=index: dataset.read_image(i))
        transform = policy.draw((image.shape[0], image.shape[1]), generator)
        moved = timed("move image", lambda t=transform, p=image: t.image(p))
        distortion = Distortion.draw(generator)
        timed("photometric", lambda d=distortion, p=moved: d.apply(p))
        if labels == "instances":
            found = timed("decode labels", lambda i=index: dataset.read_instances(i))
            timed("move labels", lambda t=transform, n=found: _move_instances(n, t))
        elif labels == "semantic":
            found = timed("decode labels", lambda i=index: dataset.read_semantic(i))
            timed("move labels", lambda t=transform, n=found: t.map(n, fill=255))
    total = sum(spent.values())
    name = f"{dataset.name}, {labels or 'no labels'}"
    print(f"{name}: {len(dataset) / total:.1f} images/s, {1e3 * total / len(dataset):.1f} ms each")
    for stage, seconds in spent.items():
        share = 100 * seconds / total
        print(f"  {stage:14s} {1e3 * seconds / len(dataset):6.1f} ms  {share:3.0f} %")


def measure_lab(threads: int) -> None:
    """Print LAB there and back at 1024x1024, ours and scikit-image's in turn, in one process."""
    from skimage.color import lab2rgb, rgb2lab

    torch.set_num_threads(threads)
    image = torch.rand(3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    last = image.permute(1, 2, 0).contiguous().numpy()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(6):
        for times, work in (
            (ours, lambda: lab_to_rgb(rgb_to_lab(image))),
            (theirs, lambda: lab2rgb(rgb2lab(last))),
        ):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    mine, other = float(np.median(ours[1:])), float(np.median(theirs[1:]))
    print(
        f"LAB there and back, 1024x1024, {threads} threads, wall: ours {1e3 * mine:.0f} ms, "
        f"scikit-image {1e3 * other:.0f} ms ({other / mine:.1f} times)"
    )


if __name__ == "__main__":
    main()
