"""Readers of data sets, predictions and pictures; see `fuzz_target.py`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from fuzz_target import Read, Target, as_json, file_named, put
from published_trees import write_tree
from sample_files import (
    ANNOTATION,
    CLASS_MAP,
    ENTRY,
    IMAGE,
    INSTANCES,
    NAME,
    PICTURES,
    POLYGON,
    PREDICTION_LINE,
    RESULTS,
    ZIPPED,
)

from uda4inst.classes import THING_NAMES
from uda4inst.data.config import DatasetRef
from uda4inst.data.files.images import picture_size, read_picture
from uda4inst.data.files.png import read_map
from uda4inst.data.readers.coco_file import read_annotation_file, read_images
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.formats.cityscapes_submission import read_submission
from uda4inst.formats.class_map import read_class_map
from uda4inst.formats.coco import read_results
from uda4inst.formats.image_list import read_image_list
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.formats.predictions import read_predictions
from uda4inst.formats.rle import as_rle, run_lengths
from uda4inst.pictures import decode_picture

_COCO: Final = {  # of a picture of 3 x 3 pixels, as PICTURES are
    **INSTANCES,
    "images": [{**IMAGE, "height": 3, "width": 3}],
    "annotations": [
        {**ANNOTATION, "segmentation": {"size": [3, 3], "counts": [2, 4, 3]}},
        {**POLYGON, "segmentation": [[0, 0, 2, 0, 2, 2]]},
    ],
}
_LABEL_IDS: Final = np.array([0, 7, 8, 11, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)


def _annotations(path: Path) -> None:
    read_images(path)
    label = {name: k for k, name in enumerate(THING_NAMES)}
    for entry in read_annotation_file(path, label_of=label.get).annotations:
        _masked(entry.mask)


def _masked(mask: Callable[[], Any]) -> None:
    with suppress(ValueError):
        run_lengths(as_rle(mask(), (2, 2)))


def _predicted(path: Path) -> None:
    for image in read_predictions(path):
        for detection in image.detections:
            _masked(lambda d=detection: d.rle)


def _results(path: Path) -> None:
    for detection in read_results(path, {NAME: (2, 2)})[NAME]:
        detection.pixels()


def _submission(folder: Path, data: bytes) -> None:
    put(folder / f"{NAME}_pred.txt", data)
    put(folder / f"{NAME}_0.png", PICTURES["PNG-L"])
    for line in read_submission(folder, [NAME])[NAME]:
        line.load((3, 3))


def _pictured(path: Path) -> None:
    for read in (picture_size, read_picture):
        with suppress(UserError):
            read(path)
    read_map(path, what="map", allow={"8-bit gray", "palette", "8-bit RGB", "16-bit RGB"})


def _maps(path: Path) -> None:
    LabelMaps(path).read("a")


def _write_bdd100k(root: Path) -> None:
    for kind in ("train", "val"):
        bitmask = np.zeros((8, 16, 4), np.uint8)
        bitmask[2:6, 3:9] = (3, 1, 0, 7)
        # cv2 writes blue first
        for place, pixels in (
            (f"images/10k/{kind}/a.jpg", np.full((8, 16, 3), 90, np.uint8)),
            (f"labels/ins_seg/bitmasks/{kind}/a.png", bitmask[..., [2, 1, 0, 3]]),
            (f"labels/sem_seg/masks/{kind}/a.png", np.full((8, 16), 13, np.uint8)),
        ):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / place), pixels)


def _write_gta5(root: Path) -> None:
    for place, pixels in (
        ("images/00001.png", np.full((8, 12, 3), 90, np.uint8)),
        ("labels/00001.png", np.tile(_LABEL_IDS, (8, 1))),
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / place), pixels)


@cache
def _tree(name: str, root: Path) -> ImageTree:
    """Return a small tree of a format, written once below a folder."""
    writers = {"bdd100k": _write_bdd100k, "gta5": _write_gta5}
    if name in writers:
        writers[name](root / name)
        path = root / name
    else:
        path = write_tree(name, root)
    ref = DatasetRef.model_validate({"format": name, "root": str(path), "split": "train"})
    return open_dataset(ref, domain="source", labels="semantic" if name == "gta5" else "instances")


def _label_file(name: str, number: int) -> Read:
    """Return what reads the first image's labels with one of its label files replaced."""

    def read(folder: Path, data: bytes) -> None:
        tree = _tree(name, folder)
        with _replaced(tree.records[0].labels[number], data):
            _read_labels(tree)

    return read


@contextmanager
def _replaced(path: Path, data: bytes) -> Iterator[None]:
    whole = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def _read_labels(tree: ImageTree) -> None:
    for read in (tree.read_objects, tree.read_instances, tree.read_semantic):
        with suppress(UserError):
            read(0)


def _coco_folder(folder: Path, data: bytes) -> None:
    root = folder / "coco"
    put(root / IMAGE["file_name"], PICTURES["PNG-RGB"])
    put(root / "annotations" / "instances_train.json", data)
    ref = DatasetRef.model_validate({"format": "coco", "root": str(root), "split": "train"})
    _read_labels(open_dataset(ref, domain="source", labels="instances"))


def _boxes(folder: Path, data: bytes) -> None:
    tree = _tree("urbansyn", folder)
    with _replaced(next((tree.root / "bbox2d").iterdir()), data):
        _read_labels(tree)


def _split_file(folder: Path) -> Path:
    (path,) = _tree("kitti360", folder).root.rglob("*train_frames.txt")
    return path


def _split(folder: Path, data: bytes) -> None:
    path = _split_file(folder)
    root = str(_tree("kitti360", folder).root)
    ref = DatasetRef.model_validate({"format": "kitti360", "root": root, "split": "train"})
    with _replaced(path, data), suppress(UserError):
        open_dataset(ref, domain="target", labels="instances")


# How many label files an image of a format has.
LABEL_FILES: Final[Mapping[str, int]] = {
    "urbansyn": 2,
    "cityscapes": 2,
    "synscapes": 3,
    "synthia": 1,
    "kitti360": 2,
    "bdd100k": 2,
    "gta5": 1,
}


DATA_SET_TARGETS: Final[Mapping[str, Target]] = {
    "annotations": Target(file_named("a.json", _annotations), as_json(INSTANCES)),
    "results": Target(file_named("a.json", _results), as_json(RESULTS, [ENTRY])),
    "predictions": Target(
        lambda folder, data: _predicted(put(folder / "a.gz", gzip.compress(data, 1, mtime=0))),
        as_json(PREDICTION_LINE),
    ),
    "packed_predictions": Target(
        file_named("a.gz", _predicted),
        [gzip.compress(json.dumps(PREDICTION_LINE).encode(), mtime=0)],
    ),
    "image_list": Target(file_named("a.txt", read_image_list), [b"a\nb\n", b'["a", "b"]']),
    "class_map": Target(
        file_named("a.yaml", read_class_map),
        [*as_json(CLASS_MAP), b"own: [van]\nclasses: {Bus: bus, lorry: van}\n"],
    ),
    "picture": Target(file_named("a.png", _pictured), list(PICTURES.values())),
    "picture_of_any_kind": Target(
        lambda _, data: decode_picture(data, lambda picture: picture.convert("RGB")),
        list(PICTURES.values()),
        (ValueError,),
    ),
    "submission": Target(_submission, [f"{NAME}_0.png 26 0.5\n".encode()]),
    "label_maps": Target(file_named("a.zip", _maps), [ZIPPED]),
    "urbansyn_boxes": Target(
        _boxes, as_json([{"color": [1, 0, 11, 255], "occlusion_percentage": 5.0}])
    ),
    "coco_folder": Target(_coco_folder, as_json(_COCO)),
    "kitti360_split": Target(_split, []),
    **{
        f"{name}_{number}": Target(_label_file(name, number), [])
        for name, count in LABEL_FILES.items()
        for number in range(count)
    },
}


def seeds_in_trees(name: str, folder: Path) -> Sequence[bytes]:
    """Return the whole files of a target that a tree has, written below a folder."""
    if name == "kitti360_split":
        return [_split_file(folder).read_bytes()]
    tree, _, number = name.rpartition("_")
    if tree in LABEL_FILES and number.isdecimal():
        return [_tree(tree, folder).records[0].labels[int(number)].read_bytes()]
    return []
