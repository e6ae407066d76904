"""Readers of run folders, of what leaves them and of the app's own files; see `fuzz_target.py`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from fuzz_target import Read, Target, as_json, file_named, put
from safetensors.torch import save
from sample_files import (
    ARRAYS,
    CHOICE,
    EVALUATION,
    MANIFEST,
    METRICS_LINE,
    OPTIMIZER,
    SNAPSHOT,
    STATUS,
)

from uda4inst.classes import THING_NAMES
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
from uda4inst.models.storage import read_tensors
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
from workbench.gate.passwords import read_passwords
from workbench.jobs.queue import read_queue
from workbench.jobs.queue_records import queue_folder, read_record

_CONFIGS: Final = Path(__file__).parents[2] / "uda4inst" / "configs"
_SUITE: Final = (
    b"suite: table5\nscale: smoke\nseeds: [0]\nscenes: []\nrows: []\ncommand: [a]\n"
    b"runs: [{name: m1-seed0, row: m1, scenes: null, seed: 0}]\n"
)


def in_run(name: Callable[[RunDir], Path], *reads: Callable[[RunDir], object]) -> Read:
    """Return what reads a file of a run."""

    def read(folder: Path, data: bytes) -> None:
        run = RunDir(folder)
        put(name(run), data)
        for one in reads:
            one(run)

    return read


def _metrics(folder: Path, data: bytes) -> None:
    path = put(folder / "m.jsonl", data)
    for _, line in MetricsReader(path).read_new().lines:
        flat_numbers(line)
    cut_metrics(path, 3)
    if not data.startswith(path.read_bytes()):
        raise AssertionError("cut metrics are no beginning of the metrics")


def _manifest(folder: Path, data: bytes) -> None:
    for name in _FILES:
        put(folder / name, b"")
    put(folder / "manifest.json", data)
    read_checkpoint(folder)


def _optimizer(folder: Path, data: bytes) -> None:
    put(folder / "optimizer.pt", data)
    Checkpoint(folder, {"files": {"optimizer.pt": {"bytes": len(data)}}}).load("optimizer.pt")


def _evaluation(path: Path) -> None:
    found = read_evaluation(path)
    if found is not None:
        for network in found.networks:
            found.value(network, "coco", "AP")
            found.value(network, "coco", "AP", "car")


def _snapshot(folder: Path, *, facts: bytes, arrays: bytes) -> None:
    run = RunDir(folder)
    put(run.snapshot_of(3) / "snapshot.json", facts)
    put(run.snapshot_of(3) / "arrays.npz", arrays)
    read_snapshot(run, 3)


def _configuration(path: Path) -> None:
    if not isinstance(read_config_values(path), dict):
        raise AssertionError("a configuration's values are no mapping")
    load_config(path)


def _suite(folder: Path, data: bytes) -> None:
    put(SuiteFolder(folder).description, data)
    collect(folder)


def _records(folder: Path, data: bytes) -> None:
    suite = SuiteFolder(folder)
    put(suite.description, _SUITE)
    put(suite.run("m1-seed0").config, b"{}")
    put(suite.records, data)
    collect(folder)


def _passwords(folder: Path, data: bytes) -> None:
    path = put(folder / "users", data)
    path.chmod(0o600)
    read_passwords(path)


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


RUN_FOLDER_TARGETS: Final[Mapping[str, Target]] = {
    "yaml": Target(
        lambda _, data: parse_yaml(data.decode("utf-8", "replace")),
        [b"a: &b [1e-4, 1:30, 2026-01-01]\nc: *b\n", b"!!int '7'", b"? a\n: |\n  text\n"],
        (ValueError,),
    ),
    "configuration": Target(
        file_named("a.yaml", _configuration),
        [path.read_bytes() for path in sorted(_CONFIGS.glob("toystreets*.yaml"))],
    ),
    "status": Target(
        in_run(lambda run: run.status, read_status, lambda run: load_status(run.status)),
        as_json(STATUS),
    ),
    "evaluation": Target(file_named("a.json", _evaluation), as_json(EVALUATION)),
    "choice": Target(in_run(lambda run: run.choice, read_choice), as_json(CHOICE)),
    "command": Target(
        in_run(lambda run: run.command, read_command),
        as_json({"time": "a", "commit": "b", "resumed": [{"commit": "c"}]}),
    ),
    "metrics": Target(_metrics, [METRICS_LINE * 2]),
    "manifest": Target(
        _manifest,
        as_json({**MANIFEST, "files": _FILES}),
    ),
    "optimizer": Target(_optimizer, [OPTIMIZER]),
    "snapshot_facts": Target(
        lambda folder, data: _snapshot(folder, facts=data, arrays=ARRAYS), as_json(SNAPSHOT)
    ),
    "snapshot_arrays": Target(
        lambda folder, data: _snapshot(folder, facts=json.dumps(SNAPSHOT).encode(), arrays=data),
        [ARRAYS],
    ),
    "resampled": Target(file_named("a.npz", read_resampled), [_resampled()]),
    "speeds": Target(file_named("a.jsonl", read_speeds), as_json(_SPEED)),
    "suite": Target(_suite, [_SUITE]),
    "suite_records": Target(
        _records, [b'{"run": "m1-seed0", "end": "finished", "hardware": "a"}\n']
    ),
    "queue": Target(
        file_named("a.json", read_queue),
        as_json(
            {"at_once": 1, "waiting": [{"name": "a", "command": "train", "step": None, "asked": 1}]}
        ),
    ),
    "queue_record": Target(
        lambda folder, data: (
            put(queue_folder(folder, "a") / "record.json", data),
            read_record(folder, "a"),
        ),
        as_json({"pid": 1, "host": "a", "started": 1.5, "argv": ["a"]}),
    ),
    "passwords": Target(_passwords, [b"# who may\nanna: a long password\nben:another one\n"]),
    "weights": Target(
        file_named("a.safetensors", _tensors), [save({"a": torch.zeros(2)}, metadata={"b": "c"})]
    ),
    "hub_folder": Target(
        file_named("config.json", lambda path: open_exported(path.parent)),
        as_json(
            {
                "model_type": "mask2former",
                "id2label": dict(enumerate(THING_NAMES)),
                "backbone_config": {"model_type": "swin", "depths": [2, 2, 6, 2], "embed_dim": 96},
                "uda4inst": {"classes": list(THING_NAMES), "short_side": 64},
            }
        ),
    ),
    "archive": Target(
        file_named("a.zip", _archive),
        [
            _packed(RUN, run="a", steps=[3], resumable=False),
            _packed(SUITE, folder="table5-smoke", runs=[]),
        ],
    ),
    "model_zoo": Target(
        file_named("a.pkl", read_zoo), [pickle.dumps(_ZOO, protocol=k) for k in (2, 4, 5)]
    ),
    "pickle": Target(
        lambda _, data: parse_pickle(data),
        [pickle.dumps(value, protocol=k) for k in (0, 2, 4) for value in (_ZOO, [1, "a", (None,)])],
        (ValueError,),
    ),
}
