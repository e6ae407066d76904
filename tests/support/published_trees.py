"""Small trees in the layouts of the published data sets, from ToyStreets scenes.

Encoded here from the formats' descriptions, without the loaders' code.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from uda4inst.toystreets import render_scene
from uda4inst.toystreets.world import ToyDomain
from uda4inst.toystreets.write import write_toystreets

SIZE = (64, 128)
IMAGES = 4
# Cityscapes label ids of trainIds 0..18, then of things 0..7.
LABEL_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
THINGS = LABEL_IDS[11:]
SYNTHIA_OF_TRAIN_ID = np.array(
    [3, 4, 2, 21, 5, 7, 15, 9, 6, 0, 1, 10, 17, 8, 0, 19, 0, 12, 11]  # no terrain, truck, train
)


def write_tree(name: str, root: Path) -> Path:
    """Write one published data set below a folder and return its root."""
    if name in ("urbansyn", "cityscapes"):
        if not (root / "toy").exists():
            write_toystreets(root / "toy", size=SIZE, train=IMAGES, val=2, workers=0)
        return root / "toy" / name
    out = root / name
    {"synscapes": write_synscapes, "synthia": write_synthia, "kitti360": write_kitti360}[name](out)
    return out


def scene(domain: ToyDomain, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return BGR picture, label ids, instance number of every pixel, and thing of every number."""
    made = render_scene(seed=1, domain=domain, split="train", index=index, size=SIZE)
    labels = np.where(made.semantic < 19, LABEL_IDS[made.semantic.clip(max=18)], 0)
    return made.image[..., ::-1], labels, made.ids.clip(min=0), made.labels


def save(path: Path, array: np.ndarray) -> None:
    """Write a PNG, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def write_synscapes(root: Path) -> None:
    """Write img/rgb, img/class, img/instance and meta; riders fused with what they ride."""
    for index in range(IMAGES):
        picture, labels, ids, things = scene("render", index)
        is_rider = things == 1
        kept = np.concatenate(([False], ~is_rider))[ids]
        numbers = np.where(kept, ids, 0)
        instance = np.dstack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255])
        number = index + 1
        save(root / f"img/rgb/{number}.png", picture)
        save(root / f"img/class/{number}.png", labels.astype(np.uint8))
        save(root / f"img/instance/{number}.png", instance.astype(np.uint8))
        known = {str(k): t for k, t in enumerate(things.tolist(), start=1) if t != 1}
        meta = {
            "instance": {
                "class": {k: int(THINGS[t]) for k, t in known.items()},
                "occluded": dict.fromkeys(known, 0.0),
                "truncated": dict.fromkeys(known, 0.0),
                "bbox2d": {},
                "bbox3d": {},
            }
        }
        (root / "meta").mkdir(exist_ok=True)
        (root / f"meta/{number}.json").write_text(json.dumps(meta))


def write_synthia(root: Path) -> None:
    """Write RGB and GT/LABELS: class and number as red and green of 16 bits each."""
    table = np.zeros(256, dtype=np.uint16)
    table[LABEL_IDS] = SYNTHIA_OF_TRAIN_ID
    for index in range(IMAGES):
        picture, labels, ids, _ = scene("render", index)
        classes, numbers = table[labels], ids.astype(np.uint16)
        save(root / f"RGB/{index:07d}.png", picture)
        save(
            root / f"GT/LABELS/{index:07d}.png",
            np.dstack([np.zeros_like(classes), numbers, classes]),
        )


def write_kitti360(root: Path) -> None:
    """Write two frames of each split, semantic and instance maps, and the split files."""
    drive = "2013_05_28_drive_0003_sync"
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for index in range(IMAGES):
        split = "train" if index < IMAGES - 2 else "val"
        picture, labels, ids, things = scene("camera", index)
        classes = np.concatenate(([0], THINGS[things]))[ids]
        values = np.where(ids > 0, classes * 1000 + ids, labels * 1000)
        name = f"{250 + index:010d}.png"
        image = f"data_2d_raw/{drive}/image_00/data_rect/{name}"
        semantic = f"data_2d_semantics/train/{drive}/image_00/semantic/{name}"
        save(root / image, picture)
        save(root / semantic, labels.astype(np.uint8))
        save(root / semantic.replace("/semantic/", "/instance/"), values.astype(np.uint16))
        lines[split].append(f"{image} {semantic}")
    for split, of_split in lines.items():
        path = root / f"data_2d_semantics/train/2013_05_28_drive_{split}_frames.txt"
        path.write_text("\n".join(of_split) + "\n")
