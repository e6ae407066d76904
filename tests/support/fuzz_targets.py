"""Every reader of a file of somebody else's, as a function of the file's bytes.

Each puts the bytes where its reader looks and reads them: what comes is a value or a `UserError`
(of the parsers below readers a `ValueError`), whatever the bytes are. `fuzz.py` looks for bytes of
which that is not true; `tests/fuzz` reads those that are kept.
"""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import torch
from published_trees import write_tree
from safetensors.torch import save
from sample_files import (
    ARRAYS,
    CHOICE,
    CLASS_MAP,
    ENTRY,
    EVALUATION,
    INSTANCES,
    MANIFEST,
    METRICS_LINE,
    NAME,
    OPTIMIZER,
    PICTURES,
    PREDICTION_LINE,
    RESULTS,
    SNAPSHOT,
    STATUS,
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
from uda4inst.evaluation.resampling import read_resampled
from uda4inst.exchange.archives import Entry, Kind, read_format, write_archive
from uda4inst.exchange.hub_folder import open_exported
from uda4inst.exchange.model_zoo import read_zoo
from uda4inst.exchange.packed_runs import KIND as RUN
from uda4inst.exchange.packed_runs import unpack_run
from uda4inst.exchange.packed_suites import KIND as SUITE
from uda4inst.exchange.packed_suites import unpack_suite
from uda4inst.exchange.pickles import parse_pickle
from uda4inst.formats.cityscapes_submission import read_submission
from uda4inst.formats.class_map import read_class_map
from uda4inst.formats.coco import read_results
from uda4inst.formats.image_list import read_image_list
from uda4inst.formats.label_maps import LabelMaps
from uda4inst.formats.predictions import read_predictions
from uda4inst.formats.rle import as_rle, run_lengths
from uda4inst.models.storage import read_tensors
from uda4inst.pictures import decode_picture
from uda4inst.run_folder.checkpoints import Checkpoint, read_checkpoint
from uda4inst.run_folder.choices import read_choice
from uda4inst.run_folder.evaluations import read_evaluation
from uda4inst.run_folder.layout import RunDir, read_command, read_config_values
from uda4inst.run_folder.metrics import MetricsReader, cut_metrics, flat_numbers
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.run_folder.speeds import read_speeds
from uda4inst.run_folder.status import load_status, read_status
from uda4inst.suites.folder import SuiteFolder
from uda4inst.suites.results import collect
from uda4inst.training.config import load_config
from uda4inst.yaml_dialect import parse_yaml
from workbench.jobs.queue import read_queue
from workbench.jobs.queue_records import queue_folder, read_record

Read: TypeAlias = Callable[[Path, bytes], object]

_CONFIGS: Final = Path(__file__).parents[2] / "uda4inst" / "configs"
_LABEL_IDS: Final = np.array([0, 7, 8, 11, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)
_SUITE: Final = (
    b"suite: table5\nscale: smoke\nseeds: [0]\nscenes: []\nrows: []\ncommand: [a]\n"
    b"runs: [{name: m1-seed0, row: m1, scenes: null, seed: 0}]\n"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Args:
        read: puts bytes into a folder of its own, and reads them.
        seeds: whole files to begin with; those that a tree has are found by `seeds_of`.
        refusals: errors that may come.
    """

    read: Read
    seeds: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = (UserError,)

    def attempt(self, folder: Path, data: bytes) -> None:
        """Read bytes; raise what a reader should not."""
        try:
            self.read(folder, data)
        except self.refusals:
            return


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _file(name: str, read: Callable[[Path], object]) -> Read:
    """Return what reads a file of this name."""
    return lambda folder, data: read(_put(folder / name, data))


def _in_run(name: Callable[[RunDir], Path], *reads: Callable[[RunDir], object]) -> Read:
    """Return what reads a file of a run."""

    def read(folder: Path, data: bytes) -> None:
        run = RunDir(folder)
        _put(name(run), data)
        for one in reads:
            one(run)

    return read


def _json(*documents: Any) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]


# Data sets --------------------------------------------------------------------------------------


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
    _put(folder / f"{NAME}_pred.txt", data)
    _put(folder / f"{NAME}_0.png", PICTURES["PNG-L"])
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


# Run folders and what leaves them ---------------------------------------------------------------


def _metrics(folder: Path, data: bytes) -> None:
    path = _put(folder / "m.jsonl", data)
    for _, line in MetricsReader(path).read_new().lines:
        flat_numbers(line)
    cut_metrics(path, 3)
    if not data.startswith(path.read_bytes()):
        raise AssertionError("cut metrics are no beginning of the metrics")


def _manifest(folder: Path, data: bytes) -> None:
    for name in _FILES:
        _put(folder / name, b"")
    _put(folder / "manifest.json", data)
    read_checkpoint(folder)


def _optimizer(folder: Path, data: bytes) -> None:
    _put(folder / "optimizer.pt", data)
    Checkpoint(folder, {"files": {"optimizer.pt": {"bytes": len(data)}}}).load("optimizer.pt")


def _evaluation(path: Path) -> None:
    found = read_evaluation(path)
    if found is not None:
        for network in found.networks:
            found.value(network, "coco", "AP")
            found.value(network, "coco", "AP", "car")


def _snapshot(folder: Path, *, facts: bytes, arrays: bytes) -> None:
    run = RunDir(folder)
    _put(run.snapshot_of(3) / "snapshot.json", facts)
    _put(run.snapshot_of(3) / "arrays.npz", arrays)
    read_snapshot(run, 3)


def _configuration(path: Path) -> None:
    if not isinstance(read_config_values(path), dict):
        raise AssertionError("a configuration's values are no mapping")
    load_config(path)


def _suite(folder: Path, data: bytes) -> None:
    _put(SuiteFolder(folder).description, data)
    collect(folder)


def _records(folder: Path, data: bytes) -> None:
    suite = SuiteFolder(folder)
    _put(suite.description, _SUITE)
    _put(suite.run("m1-seed0").config, b"{}")
    _put(suite.records, data)
    collect(folder)


def _archive(path: Path) -> None:
    read_format(path)
    for unpack in (unpack_run, unpack_suite):
        with TemporaryDirectory(dir=path.parent) as root, suppress(UserError):
            unpack(path, root=Path(root))


def _packed(kind: Kind, **about: Any) -> bytes:
    """Return an archive of a kind with its one needed file."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "a.zip"
        write_archive(out, {"format": kind.format, **about}, [Entry(kind.file, data=b"a: 1\n")])
        return out.read_bytes()


def _resampled() -> bytes:
    buffer = BytesIO()
    scores = np.zeros((2, 3))
    np.savez(buffer, overall=scores, by_class=np.zeros((2, 3, 8)), images=np.array(["a", "b"]))
    return buffer.getvalue()


def _tensors(path: Path) -> None:
    read_tensors(path)


_FILES: Final = {
    name: {"sha256": sha256(b"").hexdigest(), "bytes": 0}
    for name in ("student.safetensors", "optimizer.pt", "state.pt")
}
_SPEED: Final = {
    "network": "tiny", "parameters": 1, "gflops": 1.0, "images_per_second": 1.0,
    "latency_p50_ms": 1.0, "latency_p95_ms": 1.0, "peak_memory_mib": 1.0,
    "peak_memory_of": "tensors", "size": [1, 2], "batch": 1, "precision": "float32",
    "compiled": False, "repeats": 1, "warm_up": 0, "device": "cpu", "machine": "a", "threads": 1,
    "torch": "2",
}  # fmt: skip
_ZOO: Final = {"model": {"a.weight": np.ones((2, 2), np.float32)}, "__author__": "x"}

TARGETS: Final[Mapping[str, Target]] = {
    "annotations": Target(_file("a.json", _annotations), _json(INSTANCES)),
    "results": Target(_file("a.json", _results), _json(RESULTS, [ENTRY])),
    "predictions": Target(
        lambda folder, data: _predicted(_put(folder / "a.gz", gzip.compress(data, 1, mtime=0))),
        _json(PREDICTION_LINE),
    ),
    "packed_predictions": Target(
        _file("a.gz", _predicted), [gzip.compress(json.dumps(PREDICTION_LINE).encode(), mtime=0)]
    ),
    "image_list": Target(_file("a.txt", read_image_list), [b"a\nb\n", b'["a", "b"]']),
    "class_map": Target(
        _file("a.yaml", read_class_map),
        [*_json(CLASS_MAP), b"own: [van]\nclasses: {Bus: bus, lorry: van}\n"],
    ),
    "picture": Target(_file("a.png", _pictured), list(PICTURES.values())),
    "picture_of_any_kind": Target(
        lambda _, data: decode_picture(data, lambda picture: picture.convert("RGB")),
        list(PICTURES.values()),
        (ValueError,),
    ),
    "submission": Target(_submission, [f"{NAME}_0.png 26 0.5\n".encode()]),
    "label_maps": Target(_file("a.zip", _maps), [ZIPPED]),
    "yaml": Target(
        lambda _, data: parse_yaml(data.decode("utf-8", "replace")),
        [b"a: &b [1e-4, 1:30, 2026-01-01]\nc: *b\n", b"!!int '7'", b"? a\n: |\n  text\n"],
        (ValueError,),
    ),
    "configuration": Target(
        _file("a.yaml", _configuration),
        [path.read_bytes() for path in sorted(_CONFIGS.glob("toystreets*.yaml"))],
    ),
    "status": Target(
        _in_run(lambda run: run.status, read_status, lambda run: load_status(run.status)),
        _json(STATUS),
    ),
    "evaluation": Target(_file("a.json", _evaluation), _json(EVALUATION)),
    "choice": Target(_in_run(lambda run: run.choice, read_choice), _json(CHOICE)),
    "command": Target(
        _in_run(lambda run: run.command, read_command),
        _json({"time": "a", "commit": "b", "resumed": [{"commit": "c"}]}),
    ),
    "metrics": Target(_metrics, [METRICS_LINE * 2]),
    "manifest": Target(
        _manifest,
        _json({**MANIFEST, "files": _FILES}),
    ),
    "optimizer": Target(_optimizer, [OPTIMIZER]),
    "snapshot_facts": Target(
        lambda folder, data: _snapshot(folder, facts=data, arrays=ARRAYS), _json(SNAPSHOT)
    ),
    "snapshot_arrays": Target(
        lambda folder, data: _snapshot(folder, facts=json.dumps(SNAPSHOT).encode(), arrays=data),
        [ARRAYS],
    ),
    "resampled": Target(_file("a.npz", read_resampled), [_resampled()]),
    "speeds": Target(_file("a.jsonl", read_speeds), _json(_SPEED)),
    "suite": Target(_suite, [_SUITE]),
    "suite_records": Target(
        _records, [b'{"run": "m1-seed0", "end": "finished", "hardware": "a"}\n']
    ),
    "queue": Target(
        _file("a.json", read_queue),
        _json(
            {"at_once": 1, "waiting": [{"name": "a", "command": "train", "step": None, "asked": 1}]}
        ),
    ),
    "queue_record": Target(
        lambda folder, data: (
            _put(queue_folder(folder, "a") / "record.json", data),
            read_record(folder, "a"),
        ),
        _json({"pid": 1, "host": "a", "started": 1.5, "argv": ["a"]}),
    ),
    "weights": Target(
        _file("a.safetensors", _tensors), [save({"a": torch.zeros(2)}, metadata={"b": "c"})]
    ),
    "hub_folder": Target(
        _file("config.json", lambda path: open_exported(path.parent)),
        _json(
            {
                "model_type": "mask2former",
                "id2label": dict(enumerate(THING_NAMES)),
                "backbone_config": {"model_type": "swin", "depths": [2, 2, 6, 2], "embed_dim": 96},
                "uda4inst": {"classes": list(THING_NAMES), "short_side": 64},
            }
        ),
    ),
    "archive": Target(
        _file("a.zip", _archive),
        [
            _packed(RUN, run="a", steps=[3], resumable=False),
            _packed(SUITE, folder="table5-smoke", runs=[]),
        ],
    ),
    "model_zoo": Target(
        _file("a.pkl", read_zoo), [pickle.dumps(_ZOO, protocol=k) for k in (2, 4, 5)]
    ),
    "pickle": Target(
        lambda _, data: parse_pickle(data),
        [pickle.dumps(value, protocol=k) for k in (0, 2, 4) for value in (_ZOO, [1, "a", (None,)])],
        (ValueError,),
    ),
    "urbansyn_boxes": Target(
        _boxes, _json([{"color": [1, 0, 11, 255], "occlusion_percentage": 5.0}])
    ),
    "kitti360_split": Target(_split, []),
    **{
        f"{name}_{number}": Target(_label_file(name, number), [])
        for name, count in LABEL_FILES.items()
        for number in range(count)
    },
}


def seeds_of(name: str, folder: Path) -> Sequence[bytes]:
    """Return whole files of a target, in a folder for its trees."""
    if name == "kitti360_split":
        return [_split_file(folder).read_bytes()]
    tree, _, number = name.rpartition("_")
    if tree in LABEL_FILES and number.isdecimal():
        return [_tree(tree, folder).records[0].labels[int(number)].read_bytes()]
    return TARGETS[name].seeds
