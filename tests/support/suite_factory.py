"""Made-up suite folders, written as `uda4inst suite` and its trainers write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from uda4inst.classes import SEMANTIC_CLASSES, THING_NAMES
from uda4inst.evaluation.found import KEY, FoundClass, found_json
from uda4inst.evaluation.resampling import RESAMPLES, Resampled, resampled_path, write_resampled

# AP in per cent of the student by the Cityscapes protocol, by row and seed.
Values = Mapping[str, Mapping[int, float]]


def write_suite(
    folder: Path,
    suite: str,
    values: Values,
    *,
    seeds: Sequence[int] = (0,),
    scale: str = "toy",
    runs: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a suite whose runs of given AP are finished, and return its folder.

    Args:
        folder: of the suite.
        suite: its name.
        values: AP of the finished runs.
        seeds: asked for.
        scale: its scale.
        runs: names and stage-1 runs as suite.yaml lists them; empty leaves them out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {"suite": suite, "scale": scale, "seeds": list(seeds)}
    description["command"] = ["uda4inst", "suite", suite, "--seeds", ",".join(map(str, seeds))]
    description["runs"] = [{"name": name, "stage1": stage1} for name, stage1 in runs]
    (folder / "suite.yaml").write_text(yaml.safe_dump(description))
    (folder / "records.jsonl").touch()
    for row, by_seed in values.items():
        for seed, ap in by_seed.items():
            write_finished(folder, f"{row}-seed{seed}", ap)
    return folder


def write_finished(folder: Path, name: str, ap: float) -> None:
    """Write a finished run whose classes have AP ap, ap + 1, ..., and twice that as AP50."""
    write_status(folder, name, state="finished", step=9, steps=9)
    run = folder / "runs" / name
    command = {"commit": "abc1", "time": "2026-11-21T10:00:00+0000", "resumed": []}
    (run / "command.json").write_text(json.dumps(command))
    (run / "evaluation").mkdir(exist_ok=True)
    (run / "evaluation" / "00000009.json").write_text(json.dumps(evaluation(ap, name=name)))
    add_record(folder, run=name, end="finished", hardware="a machine, 2 cores")


def write_resamples(
    folder: Path, name: str, ap: float, *, images: int = 100, noise: float = 1
) -> None:
    """Write a student's scores by resample beside the evaluation of `write_finished`.

    Runs on equally many images vary alike, but for a tenth of the noise that is their own.

    Args:
        folder: of the suite.
        name: of the run.
        ap: as given to `write_finished`.
        images: how many were judged.
        noise: how much a resample moves AP, in points.
    """
    shared = np.random.default_rng(images).standard_normal((RESAMPLES, 1, 1))
    own = np.random.default_rng(list(name.encode())).standard_normal((RESAMPLES, 1, 1))
    points = ap + np.arange(len(THING_NAMES)) + noise * (shared[..., 0] + 0.1 * own[..., 0])
    by_class = np.stack([points, 2 * points], axis=2) / 100
    overall = by_class.mean(axis=1) - by_class.mean(axis=(0, 1)) + np.array([ap, 2 * ap]) / 100
    predictions = folder / "runs" / name / "evaluation" / "predictions" / "00000009"
    write_resampled(
        resampled_path(predictions / "student.jsonl.gz"),
        Resampled(
            overall.astype(np.float32),
            by_class.astype(np.float32),
            tuple(f"image{index}" for index in range(images)),
        ),
    )


def write_found(
    folder: Path, name: str, counts: Mapping[str, tuple[int, int, int]], *, step: int = 9
) -> None:
    """Give a student's evaluation counts by class: objects, detections above .5, right ones.

    Args:
        folder: of the suite.
        name: of a finished run.
        counts: by class.
        step: of the evaluation; another than the last is written anew.
    """
    path = folder / "runs" / name / "evaluation" / "00000009.json"
    record = json.loads(path.read_text())
    found = {n: FoundClass(*numbers) for n, numbers in counts.items()}
    record["results"]["student"]["cityscapes"][KEY] = found_json(found)
    path.with_name(f"{step:08d}.json").write_text(json.dumps(record | {"step": step}))


def write_status(folder: Path, name: str, **fields: Any) -> None:
    """Write a run with a status of given fields."""
    run = folder / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").touch()
    (run / "status.json").write_text(json.dumps(fields))


def add_record(folder: Path, **fields: Any) -> None:
    """Add a line about work on a run."""
    with (folder / "records.jsonl").open("a") as file:
        file.write(json.dumps(fields) + "\n")


def evaluation(ap: float, *, name: str) -> dict[str, Any]:
    """Return an evaluation: COCO one more than Cityscapes, the teacher two more."""

    def part(value: float) -> dict[str, float]:
        return {"AP": value / 100, "AP50": 2 * value / 100}

    def protocol(value: float) -> dict[str, Any]:
        by_class = {thing: part(value + i) for i, thing in enumerate(THING_NAMES)}
        return {**part(value), "per_class": {**by_class, "train": None}}

    def network(value: float) -> dict[str, Any]:
        return {"cityscapes": protocol(value), "coco": protocol(value + 1)}

    return {
        "step": 9,
        "config_hash": f"hash-{name}",
        "dataset": "Cityscapes (toy)",
        "split": "val",
        "images": 100,
        "images_there": 100,
        "image_names": "0" * 16,
        "results": {"student": network(ap), "teacher": network(ap + 2)},
    }


def semantic_evaluation(miou: float) -> dict[str, Any]:
    """Return a result whose classes have IoU miou, miou + .01, ..., and accuracy .2 more."""
    per_class: dict[str, Any] = {
        name: {"IoU": miou + i / 100, "accuracy": miou + i / 100 + 0.2}
        for i, name in enumerate(c.name for c in SEMANTIC_CLASSES)
    }
    scores = {"mIoU": miou, "accuracy": 0.5 + miou, "per_class": per_class | {"train": None}}
    images = {"images": 100, "images_there": 100, "image_names": "0" * 16}
    return {"step": 9, "config_hash": "hash", **images, "results": {"student": {"pixels": scores}}}


def write_semantic_finished(folder: Path, name: str, miou: float) -> None:
    """Write a finished run of semantic segmentation; see `semantic_evaluation`."""
    write_status(folder, name, state="finished", step=9, steps=9)
    run = folder / "runs" / name
    (run / "command.json").write_text(json.dumps({"commit": "abc1", "time": "", "resumed": []}))
    (run / "evaluation").mkdir()
    (run / "evaluation" / "00000009.json").write_text(json.dumps(semantic_evaluation(miou)))
    add_record(folder, run=name, end="finished", hardware="a machine")
