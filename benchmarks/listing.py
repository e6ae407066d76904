"""How long a large tree takes to open: the first time, and again.

    python benchmarks/listing.py [--images 25000] [--formats urbansyn,coco]

Writes trees of empty files into a temporary folder (so opening any picture would fail), with a
cache of its own, in which a COCO folder's masks are remembered to be well-formed. Prints seconds of
wall and processor time, the files below the root that were opened, and by how much the process
grew. Folders the system has never read take longer than these, which were just written. The COCO
folder has 16 polygons of 14 points an image, 340 bytes each.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from uda4inst.data.readers import DATASETS

_REPEATS = 5
_OBJECTS = 16  # of each image of a COCO folder
_POINTS = 14  # of each object's outline


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument("--formats", default=",".join(WRITERS))
    options = parser.parse_args()
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    with tempfile.TemporaryDirectory(prefix="uda4inst-listing-") as folder:
        os.environ["UDA4INST_CACHE"] = str(Path(folder) / "cache")
        roots = {name: Path(folder) / name for name in options.formats.split(",")}
        for name, root in roots.items():
            WRITERS[name](root, options.images)
        print(f"{options.images} images; wall (processor) seconds")
        for name, root in roots.items():
            measure(name, root, opened)


def measure(name: str, root: Path, opened: list[str]) -> None:
    """Open a tree several times, and print."""
    times: list[tuple[float, float]] = []
    before = most_memory()
    opened.clear()
    count = 0
    for _ in range(1 + _REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        dataset = DATASETS[name](root, require_labels=DATASETS[name].has_labels)
        times.append((time.perf_counter() - wall, time.process_time() - processor))
        count = len(dataset)
        del dataset
    (first, first_processor), *again = times
    middle, middle_processor = sorted(again)[_REPEATS // 2]
    below = {path for path in opened if path.startswith(str(root))}
    print(
        f"  {name:10s} {count:6d} images   first {first:.3f} ({first_processor:.3f})"
        f"   then {middle:.3f} ({middle_processor:.3f})   files opened: {len(below)}"
        f"   memory +{most_memory() - before:.0f} MiB"
    )


def most_memory() -> float:
    """Return the most memory this process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def touch_all(folder: Path, names: Iterable[str]) -> None:
    """Make empty files."""
    folder.mkdir(parents=True)
    for name in names:
        os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY))


def write_urbansyn(root: Path, count: int) -> None:
    """Make pictures and three folders of labels."""
    for kind, suffix in (("rgb", "png"), ("ss", "png"), ("panoptic", "png"), ("bbox2d", "json")):
        touch_all(root / kind, (f"{kind}_{i:04d}.{suffix}" for i in range(1, count + 1)))


def write_synscapes(root: Path, count: int) -> None:
    """Make pictures and three folders of labels."""
    for kind in ("img/rgb", "img/class", "img/instance"):
        touch_all(root / kind, (f"{i}.png" for i in range(1, count + 1)))
    touch_all(root / "meta", (f"{i}.json" for i in range(1, count + 1)))


def write_kitti360(root: Path, count: int) -> None:
    """Make pictures, semantic and instance maps of nine drives, and the split file."""
    lines: list[str] = []
    for sequence in range(9):
        where = f"2013_05_28_drive_{sequence:04d}_sync/image_00"
        names = [f"{i:010d}.png" for i in range(250, 250 + (count + 8 - sequence) // 9)]
        truth = f"data_2d_semantics/train/{where}"
        for folder in (f"data_2d_raw/{where}/data_rect", f"{truth}/semantic", f"{truth}/instance"):
            touch_all(root / folder, names)
        lines += (f"data_2d_raw/{where}/data_rect/{n} {truth}/semantic/{n}" for n in names)
    split = root / "data_2d_semantics/train/2013_05_28_drive_train_frames.txt"
    split.write_text("\n".join(lines))


def write_images(root: Path, count: int) -> None:
    """Make pictures in ten folders."""
    for part in range(10):
        names = (f"frame_{i}.jpg" for i in range((count + 9 - part) // 10))
        touch_all(root / f"drive_{part}", names)


def write_coco(root: Path, count: int) -> None:
    """Make pictures and an annotation file of polygons."""
    names = [f"frame_{i:06d}.png" for i in range(count)]
    touch_all(root / "images", names)
    draw = random.Random(0)
    outlines = [
        ", ".join(f"{draw.uniform(0, 1000):.2f}" for _ in range(2 * _POINTS)) for _ in range(500)
    ]
    images = (
        f'{{"id": {i}, "file_name": "{name}", "height": 1024, "width": 2048}}'
        for i, name in enumerate(names)
    )
    annotations = (
        f'{{"id": {i}, "image_id": {i // _OBJECTS}, "category_id": {i % 2 + 1}, "iscrowd": 0, '
        f'"area": 123.5, "bbox": [1.5, 2.5, 30.25, 40.5], '
        f'"segmentation": [[{outlines[i % len(outlines)]}]]}}'
        for i in range(count * _OBJECTS)
    )
    (root / "annotations").mkdir()
    with (root / "annotations/instances_train.json").open("w") as file:
        for start, entries in (('{"images": [', images), ('], "annotations": [', annotations)):
            file.write(start)
            file.writelines(f"{', ' * (i > 0)}{entry}" for i, entry in enumerate(entries))
        file.write('], "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]}')


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "urbansyn": write_urbansyn,
    "synscapes": write_synscapes,
    "kitti360": write_kitti360,
    "images": write_images,
    "coco": write_coco,
}


if __name__ == "__main__":
    main()
