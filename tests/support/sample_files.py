"""Small whole files of every kind the readers know, as documents or bytes."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import torch
from PIL import Image

# Data sets and predictions ----------------------------------------------------------------------
CODE = {"size": [2, 2], "counts": "22"}
IMAGE = {"id": 1, "file_name": "a_000000_000000.png", "height": 2, "width": 2}
ANNOTATION = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": CODE}
POLYGON = {**ANNOTATION, "id": 2, "segmentation": [[0, 0, 1, 0, 1, 1]]}
INSTANCES = {
    "images": [IMAGE],
    "annotations": [ANNOTATION, POLYGON],
    "categories": [{"id": 1, "name": "person"}],
}
NAME = "a_000000_000000"
ENTRY = {"image_id": NAME, "category_id": 3, "segmentation": CODE, "score": 0.5}
RESULTS = {"images": [{"id": 1, "file_name": f"{NAME}.png"}], "annotations": [ENTRY]}
PREDICTION = {"label": 2, "score": 0.5, "rle": CODE}
PREDICTION_LINE = {"sample_id": NAME, "size": [2, 2], "detections": [PREDICTION]}
CLASS_MAP = {"classes": {"Pedestrian": "person", "dog": None, "van": "car"}}


def picture(kind: str, mode: str, pixels: np.ndarray | None = None) -> bytes:
    if pixels is None:
        pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {
    f"{kind}-{mode}": picture(kind, mode)
    for kind, mode in [
        ("PNG", "RGB"),
        ("PNG", "L"),
        ("PNG", "P"),
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
        ("PPM", "RGB"),
    ]
}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", picture("PNG", "L", np.arange(9, dtype=np.uint8).reshape(3, 3)))
    return buffer.getvalue()


ZIPPED = zipped()

# Run folders ------------------------------------------------------------------------------------
STATUS = {"state": "running", "step": 3, "steps": 9, "pid": 1, "heartbeat": 1.5, "host": "a"}
SCORES = {"AP": 0.1, "per_class": {"car": {"AP": None}}}
EVALUATION = {"step": 3, "results": {"student": {"coco": SCORES}}, "images": 3, "modules": {}}
QUALITY = {"quality": 0.5, "f1": 0.5}
THRESHOLD = {"threshold": 0.8, "pseudo_labels": 2.5, "agreement": QUALITY, "stability": None}
CHOICE = {
    "checkpoints": [
        {"step": 3, "network": "teacher", "diagnostic": None, "thresholds": [THRESHOLD]},
    ],
    "chosen": {"step": 3, "threshold": 0.8},
    "by": "agreement",
    "images": 4,
}
MANIFEST = {
    "step": 3,
    "stage": 1,
    "kept": False,
    "architecture": {"preset": "tiny", "num_classes": 8},
    "files": {n: {"sha256": "", "bytes": 0} for n in ("student.safetensors", "state.pt")},
}
DETECTION = {
    "label": 2,
    "score": 0.5,
    "class_score": 0.9,
    "mask_score": 0.9,
    "rle": {"size": [2, 2], "counts": "22"},
}
SNAPSHOT = {
    "step": 3,
    "stage": 1,
    "method": "a",
    "class_thresholds": {"car": 0.5},
    "items": [{"source_id": "a", "target_id": "b", "detections": [DETECTION], "kept": [True]}],
    "pool": [{"label": 1, "sample_id": "a", "step": 1, "times_drawn": 0, "patch": "pool_0"}],
}
METRICS_LINE = json.dumps({"step": 3, "loss": 1.5, "losses": {"a": 1.0}}).encode() + b"\n"


def packed(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


OPTIMIZER = packed({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"params": [0]}]})


def archive() -> bytes:
    buffer = io.BytesIO()
    picture = np.zeros((2, 2, 3), np.uint8)
    ids = np.ones((2, 2), np.int32)
    labels = np.array([2])
    np.savez_compressed(
        buffer, source_0=picture, target_0=picture, source_ids_0=ids, source_labels_0=labels,
        pool_0=picture,
    )  # fmt: skip
    return buffer.getvalue()


ARRAYS = archive()
