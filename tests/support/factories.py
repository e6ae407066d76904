"""Run folders as a trainer writes them, made without one.

The layout follows the run-folder contract of the design document, section 7; the pictures are
ToyStreets scenes. Nothing here is random but by seed.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import Cityscapes
from uda4inst.formats.rle import rle_encode
from uda4inst.toystreets import Scene, ToyDomain, render_scene

SIZE = (128, 256)
RARE = ("train", "motorcycle")


@cache
def make_scene(domain: ToyDomain, index: int) -> Scene:
    return render_scene(seed=0, domain=domain, split="train", index=index, size=SIZE)


@cache
def rare_scenes(count: int) -> list[tuple[int, Scene, int]]:
    """Return (index, scene, instance number) of rare instances in the source domain."""
    found = []
    index = 0
    while len(found) < count and index < 400:
        scene = make_scene("render", index)
        for k, label in enumerate(scene.labels, start=1):
            if THING_NAMES[int(label)] in RARE:
                found.append((index, scene, k))
        index += 1
    return found[:count]


def make_status(**changes: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "step": 120,
        "steps": 400,
        "stage": 2,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": "2025-11-21T07:00:00+0000",
        "heartbeat": time.time(),
        "error": None,
        "message": "",
        "steps_per_second": 4.2,
        "eta_seconds": 66.7,
        **changes,
    }


def make_config(name: str, **method: Any) -> dict[str, Any]:
    return {
        "seed": 0,
        "run": {"root": "runs", "name": name},
        "data": {
            "val": {"format": "cityscapes", "root": "data/toystreets/cityscapes", "split": "val"}
        },
        "method": {
            "name": "uda4inst",
            "score_threshold": 0.9,
            "pool": {"enabled": True, "size": 10, "rare_classes": list(RARE)},
            "ego": {"min_valid_share": 0.2},
            **method,
        },
        "training": {"snapshot_every": 100},
    }


def make_metrics(steps: int, *, stage1_steps: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """Return plausible metrics lines for steps 0..steps-1."""
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(steps):
        stage = 1 if step < stage1_steps else 2
        age = step - (stage1_steps if stage == 2 else 0)
        base = 6.0 * np.exp(-age / (steps / 3 + 1)) + 9.0
        names = ("source",) if stage == 1 else ("s2t", "t2s")
        losses = {
            f"{view}/{part}": float(base * share * rng.lognormal(0, 0.18))
            for view in names
            for part, share in (("class", 0.3), ("mask", 0.06), ("dice", 0.09))
        }
        line = {
            "step": step,
            "stage": stage,
            "time": 1.7e9 + step * 0.25,
            "loss": float(sum(losses.values())),
            "losses": losses,
            "lr": 1e-4,
            "grad_norm": float(rng.lognormal(1, 0.3)),
            "pool": min(10, step // 7) if stage == 2 else 0,
            "images_per_second": float(rng.normal(12, 0.6)),
            "memory_mib": 1420.0,
        }
        if stage == 2:
            means = np.array([9, 0.9, 6, 0.3, 0.3, 0.05, 0.3, 0.6]) * min(1, 0.2 + age / steps)
            counts = dict(zip(THING_NAMES, (int(n) for n in rng.poisson(means)), strict=True))
            line["pseudo_labels"] = counts
        lines.append(line)
    return lines


def make_detections(scene: Scene, *, seed: int = 0) -> tuple[list[dict[str, Any]], list[bool]]:
    """Return the scene's instances as scored detections, some doubled, and which score > .9."""
    rng = np.random.default_rng(seed)
    found = []
    for k, label in enumerate(scene.labels, start=1):
        mask = scene.ids == k
        for extra in (0, 1) if rng.random() < 0.3 else (0,):
            shifted = np.roll(mask, 2 * extra, axis=1)
            class_score = float(np.clip(rng.beta(9, 1.2) - 0.25 * extra, 0.1, 0.999))
            mask_score = float(rng.uniform(0.86, 0.99))
            found.append(
                {
                    "label": int(label),
                    "score": class_score * mask_score,
                    "class_score": class_score,
                    "mask_score": mask_score,
                    "rle": rle_encode(shifted),
                    "valid_share": float((shifted & ~scene.ego).sum() / max(shifted.sum(), 1)),
                }
            )
    found.sort(key=lambda d: -d["score"])
    return found, [d["score"] > 0.9 for d in found]


def write_snapshot(
    run: Path, step: int, *, stage: int = 2, pool: int = 6, index: int = 0, **changes: Any
) -> Path:
    """Write the snapshot of a step with two batch items; `changes` are facts of it."""
    arrays, items, patches = _snapshot_parts(stage, pool, index)
    facts = {
        "step": step,
        "stage": stage,
        "method": "uda4inst" if stage == 2 else "source_only",
        "score_threshold": 0.9,
        "rare_classes": list(RARE),
        "items": items,
        "pool": [
            {**patch, "step": step - 3 * (len(patches) - k), "times_drawn": (len(patches) - k) // 2}
            for k, patch in enumerate(patches)
        ],
        **changes,
    }
    folder = run / "snapshots" / f"{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arrays.npz").write_bytes(arrays)
    write_json(folder / "snapshot.json", facts)
    return folder


@cache
def _snapshot_parts(
    stage: int, pool: int, index: int
) -> tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the arrays' file and all facts that do not depend on the step."""
    arrays: dict[str, Any] = {}
    items = []
    for i in range(2):
        source = make_scene("render", 2 * index + i)
        target = make_scene("camera", 2 * index + i)
        arrays |= {
            f"source_{i}": source.image,
            f"source_ids_{i}": source.ids,
            f"source_labels_{i}": source.labels,
            f"target_{i}": target.image,
        }
        item: dict[str, Any] = {
            "source_id": f"toy_{2 * index + i:04d}",
            "target_id": f"toyville_{2 * index + i:06d}_000019",
            "detections": [],
            "kept": [],
        }
        if stage == 2:
            item["detections"], item["kept"] = make_detections(target, seed=i)
            arrays |= _mixed_arrays(i, source, target, pool=pool)
        items.append(item)
    patches = []
    for k, (where, scene, number) in enumerate(rare_scenes(pool) if stage == 2 else []):
        arrays[f"pool_{k}"] = _patch(scene, number)
        label = int(scene.labels[number - 1])
        patches.append({"label": label, "sample_id": f"toy_{where:04d}", "patch": f"pool_{k}"})
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue(), items, patches


# Image, ids, labels and origin.
_Mixed = tuple[Any, Any, Any, Any]


def _mixed_arrays(i: int, source: Scene, target: Scene, *, pool: int) -> dict[str, Any]:
    kept = [k for k in range(1, len(target.labels) + 1) if k % 3]
    pseudo = _chosen(target, kept)
    s2t = _paste(target.image, *pseudo, [(source, range(1, len(source.labels) + 1), 1)])
    for _, scene, number in rare_scenes(pool)[: pool // 2]:
        image, ids, labels, origin = s2t
        s2t = _paste(image, ids, labels, [(scene, [number], 3)], origin=origin)
    fake = Scene(target.image, *pseudo, target.semantic, target.ego, target.group)
    t2s = _paste(source.image, source.ids, source.labels, [(fake, range(1, len(pseudo[1]) + 1), 2)])
    arrays = {f"pseudo_ids_{i}": pseudo[0], f"pseudo_labels_{i}": pseudo[1]}
    for name, view in (("s2t", s2t), ("t2s", t2s)):
        for part, value in zip(("", "_ids", "_labels", "_origin"), view, strict=True):
            arrays[f"{name}{part}_{i}"] = value
    return arrays


def _chosen(scene: Scene, numbers: list[int]) -> tuple[Any, Any]:
    ids = np.zeros_like(scene.ids)
    for new, old in enumerate(numbers, start=1):
        ids[scene.ids == old] = new
    return ids, scene.labels[[n - 1 for n in numbers]]


def _paste(image: Any, ids: Any, labels: Any, layers: Any, origin: Any = None) -> _Mixed:
    image, ids, labels = image.copy(), ids.copy(), list(labels)
    origin = np.zeros(ids.shape, dtype=np.uint8) if origin is None else origin.copy()
    for scene, numbers, kind in layers:
        for number in numbers:
            mask = scene.ids == number
            image[mask] = scene.image[mask]
            labels.append(scene.labels[number - 1])
            ids[mask] = len(labels)
            origin[mask] = kind
    return image, ids, np.asarray(labels, dtype=np.int64), origin


def _patch(scene: Scene, number: int) -> Any:
    mask = scene.ids == number
    rows, columns = np.nonzero(mask)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    alpha = mask[box].astype(np.uint8)[..., None] * 255
    return np.concatenate([scene.image[box], alpha], axis=-1)


def make_results(step: int, *, ap: float = 0.31) -> dict[str, Any]:
    def protocol(value: float) -> dict[str, Any]:
        classes: dict[str, Any] = {n: {"AP": value, "AP50": value * 1.6} for n in THING_NAMES}
        classes["train"] = None
        return {"AP": value, "AP50": value * 1.6, "per_class": classes}

    return {
        "step": step,
        "config_hash": "0123456789ab",
        "dataset": "cityscapes",
        "split": "val",
        "images": 4,
        "images_there": 8,
        "image_names": "0" * 16,
        "results": {
            who: {"cityscapes": protocol(v), "coco": protocol(v * 1.05)}
            for who, v in (("student", ap), ("teacher", ap + 0.02))
        },
    }


def write_predictions(
    run: Path, step: int, network: str, tree: Path, *, seed: int = 0, limit: int | None = None
) -> None:
    """Write what a network might have found: the annotation, some missed, moved or renamed."""
    rng = np.random.default_rng(seed)
    dataset = Cityscapes(tree, "val")
    folder = run / "evaluation" / "predictions" / f"{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"{network}.jsonl.gz", "wt", encoding="utf-8") as file:
        for index in range(len(dataset) if limit is None else limit):
            truth = dataset.read_labels(index)
            found = []
            for k, label in enumerate(truth.labels, start=1):
                if rng.random() < 0.2:
                    continue
                mask = np.roll(truth.ids == k, int(rng.integers(-3, 4)), axis=1)
                named = int(label) if rng.random() < 0.85 else int(rng.integers(8))
                score = float(rng.beta(5, 1.5))
                found.append({"label": named, "score": score, "rle": rle_encode(mask)})
            line = {
                "sample_id": dataset.basename(index),
                "size": list(truth.ids.shape),
                "detections": found,
            }
            file.write(json.dumps(line) + "\n")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def write_checkpoint(run: Path, step: int, *, stage: int = 2) -> None:
    write_json(
        run / "checkpoints" / f"{step:08d}" / "manifest.json", {"step": step, "stage": stage}
    )
    (run / "checkpoints" / "latest").write_text(f"{step:08d}")


def append_metrics(run: Path, lines: list[dict[str, Any]]) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def write_run(
    root: Path,
    name: str = "demo",
    *,
    steps: int = 120,
    snapshots: tuple[int, ...] = (),
    evaluated: bool = False,
    tree: Path | None = None,
    **status: Any,
) -> Path:
    """Write a whole run folder; by default one that this very process signs as running.

    `tree`, a Cityscapes tree, adds predictions on its val split.
    """
    run = root / name
    (run / "control").mkdir(parents=True)
    config = make_config(name)
    if tree is not None:
        config["data"]["val"]["root"] = str(tree)
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_json(run / "status.json", make_status(step=steps, **status))
    append_metrics(run, make_metrics(steps, stage1_steps=steps // 4))
    (run / "log.txt").write_text("".join(f"07:00:{i:02d} step {i}\n" for i in range(30)))
    for place, step in enumerate(snapshots):
        write_snapshot(run, step, index=place)
    write_checkpoint(run, max(steps // 2, 1))
    if tree is not None:
        for seed, network in enumerate(("student", "teacher")):
            write_predictions(run, steps, network, tree, seed=seed)
    if evaluated or tree is not None:
        write_json(run / "evaluation" / f"{steps:08d}.json", make_results(steps))
    return run


GROUPS = ("person-rider-motorcycle-bicycle", "car-truck-bus-train")


def write_grouped_run(
    root: Path,
    name: str = "demo",
    *,
    modules: tuple[dict[str, Any] | None, ...] = ({}, {}),
    tree: Path | None = None,
    merged: bool = False,
    **status: Any,
) -> Path:
    """Write a run of two category groups.

    Args:
        root: folder of the runs.
        name: of the run.
        modules: what `write_run` is told of each module; None for one that has not begun.
        tree: a Cityscapes tree, adds predictions of every module on its val split.
        merged: whether the run holds the predictions of both groups together.
        **status: of the run itself.
    """
    run = root / name
    (run / "control").mkdir(parents=True)
    _write_config(run, make_config(name, groups="two"), tree)
    write_json(run / "status.json", make_status(**{"step": 60, "steps": 240, **status}))
    (run / "log.txt").write_text("07:00:00 both groups\n")
    for group, options in zip(GROUPS, modules, strict=True):
        module = run / "modules" / group
        if options is None:
            module.mkdir(parents=True)
        else:
            write_run(run / "modules", group, tree=tree, **options)
        classes = group.split("-")
        _write_config(module, make_config(group, groups="one", classes=classes), tree)
    if merged and tree is not None:
        write_predictions(run, 120, "student", tree)
        write_json(run / "evaluation" / "00000120.json", make_results(120))
    return run


def _write_config(run: Path, config: dict[str, Any], tree: Path | None) -> None:
    if tree is not None:
        config["data"]["val"]["root"] = str(tree)
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
