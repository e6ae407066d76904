"""What the Error maps page costs an image: reading predictions, counting right and wrong pixels.

python benchmarks/error_maps.py [--images 20] [--size 1024x2048] [--predictions 30]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from cityscapes_ap import make_set

from uda4inst.data.readers.cityscapes import CityscapesLabels
from uda4inst.evaluation.error_maps import index_errors
from uda4inst.formats.predictions import read_predictions, to_line, writing_text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--predictions", type=int, default=30, help="half of them above 0.5")
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        made = make_set(
            Path(scratch),
            images=options.images,
            size=(height, width),
            objects=options.objects,
            predictions=options.predictions,
        )
        path = Path(scratch) / "student.jsonl.gz"
        with writing_text(path, compressed=True) as write:
            for image in made:
                write(to_line(image))
        truth = CityscapesLabels(Path(scratch), "val")
        places = {image.sample_id: place for place, image in enumerate(made)}
        marks = [(time.perf_counter(), time.process_time())]
        images = list(read_predictions(path))
        marks.append((time.perf_counter(), time.process_time()))
        index_errors(
            images, lambda name: truth.read_instance_ids(places[name]), score_threshold=0.5
        )
        marks.append((time.perf_counter(), time.process_time()))
    print(f"{options.images} images of {options.size}, {options.predictions} predictions each")
    for what, begun, ended in zip(("read", "count"), marks, marks[1:], strict=False):
        wall, processor = (
            1e3 * (b - a) / options.images for a, b in zip(begun, ended, strict=True)
        )
        print(f"  {what:5} {wall:7.1f} ms an image, {processor:7.1f} ms of processor time")
    print(f"  {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
