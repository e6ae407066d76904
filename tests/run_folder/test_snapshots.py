from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from uda4inst.classes import THING_NAMES
from uda4inst.detections import Detections
from uda4inst.errors import UserError
from uda4inst.formats.rle import rle_decode
from uda4inst.methods.base import Views
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_format import (
    DetectionFacts,
    ItemFacts,
    Part,
    PoolFacts,
    SnapshotFacts,
    View,
    array_name,
    patch_name,
)
from uda4inst.run_folder.snapshot_reader import read_snapshot, snapshot_changed
from uda4inst.run_folder.snapshots import write_snapshot
from uda4inst.structures import (
    Domain,
    InstanceMap,
    Sample,
    SemanticMap,
    TargetSample,
)
from uda4inst.uda.mixing import Mixed
from uda4inst.uda.rare_class_pool import PoolEntry


def instances(rows: list[list[int]], labels: list[int]) -> InstanceMap:
    return InstanceMap(torch.tensor(rows, dtype=torch.int32), torch.tensor(labels))


def image(value: float, size: tuple[int, int] = (2, 3)) -> torch.Tensor:
    return torch.full((3, *size), value)


def full_views() -> Views:
    masks = torch.zeros(3, 2, 3, dtype=torch.bool)
    masks[0, 0], masks[1, 1], masks[2, :, 0] = True, True, True
    detections = Detections(
        labels=torch.tensor([2, 0, 5]),
        class_scores=torch.tensor([0.99, 0.6, 0.04]),
        mask_scores=torch.tensor([0.98, 0.5, 0.9]),
        size=(2, 3),
        masks=masks,
    )
    valid = torch.ones(2, 3, dtype=torch.bool)
    valid[1, 2] = False
    pseudo = instances([[1, 1, 1], [0, 0, 0]], [2, -1, -1])
    source = Sample(
        image(0.5),
        "s0",
        "source",
        instances=instances([[0, 0, 7], [-1, 0, 7]], [1, 1, 1, 1, 1, 1, 6]),
    )
    mixed = Mixed(
        image(0.25),
        instances([[1, 1, 2], [0, 0, 2]], [2, 6]),
        torch.tensor([[2, 2, 1], [0, 0, 1]], dtype=torch.uint8),
    )
    entry = PoolEntry(
        image=image(1.0, (1, 2)),
        mask=torch.tensor([[True, False]]),
        label=6,
        offset=(0, 1),
        crop_size=(2, 3),
        sample_id="s9",
        step=4,
        times_drawn=2,
    )
    return Views(
        source=(source,) * 3,
        target=(TargetSample(image(0.0), valid, "t0"),) * 3,
        detections=(detections,) * 3,
        pseudo_labels=(pseudo,) * 3,
        mixed={"s2t": (mixed,) * 3, "t2s": (mixed,) * 3},
        pool=(entry,),
        thresholds=torch.full((8,), 0.9),
        facts={"score_threshold": 0.9, "rare_classes": ["train", "motorcycle"]},
    )


def read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    facts = json.loads((folder / "snapshot.json").read_text())
    with np.load(folder / "arrays.npz") as arrays:
        return facts, dict(arrays)


def write(
    tmp_path: Path, views: Views, step: int = 12, stage: int = 2, method: str = "uda4inst"
) -> Path:
    return write_snapshot(tmp_path, views, step=step, stage=stage, method=method, kept=2)


def test_write_snapshot__facts(tmp_path: Path) -> None:
    facts, _ = read(write(tmp_path, full_views()))
    assert (facts["step"], facts["stage"], facts["method"]) == (12, 2, "uda4inst")
    assert facts["score_threshold"] == 0.9
    assert facts["rare_classes"] == ["train", "motorcycle"]
    assert [(i["source_id"], i["target_id"]) for i in facts["items"]] == [("s0", "t0")] * 2
    assert facts["pool"] == [
        {"label": 6, "sample_id": "s9", "step": 4, "times_drawn": 2, "patch": "pool_0"}
    ]


def test_write_snapshot__detections_above_the_lowest_score_best_first(tmp_path: Path) -> None:
    facts, _ = read(write(tmp_path, full_views()))
    first, second = facts["items"][0]["detections"]
    assert facts["items"][0]["kept"] == [True, False]
    assert (first["label"], second["label"]) == (2, 0)
    assert first["score"] == pytest.approx(0.99 * 0.98)
    assert (second["class_score"], second["mask_score"]) == pytest.approx((0.6, 0.5))
    assert rle_decode(second["rle"]).tolist() == [[False] * 3, [True] * 3]
    assert (first["valid_share"], second["valid_share"]) == pytest.approx((1.0, 2 / 3))


def test_write_snapshot__what_became_of_a_score(tmp_path: Path) -> None:
    thresholds = torch.full((8,), math.inf)
    thresholds[[2, 6]] = torch.tensor([0.9, 0.75])
    told = {"unsure_threshold": 0.4, "min_visible_share": 0.3}
    views = replace(full_views(), thresholds=thresholds, facts=told)
    facts, arrays = read(write(tmp_path, views))
    assert facts["class_thresholds"] == pytest.approx({"car": 0.9, "motorcycle": 0.75})
    assert (facts["unsure_threshold"], facts["min_visible_share"]) == (0.4, 0.3)
    assert np.array_equal(arrays["valid_1"], views.target[1].valid.numpy())


def test_write_snapshot__a_method_that_names_no_threshold_shows_its_highest(tmp_path: Path) -> None:
    thresholds = torch.full((8,), math.inf)
    thresholds[[2, 6]] = torch.tensor([0.8, 0.75])
    facts, _ = read(write(tmp_path, replace(full_views(), thresholds=thresholds, facts={})))
    assert facts["score_threshold"] == pytest.approx(0.8)


def test_write_snapshot__arrays(tmp_path: Path) -> None:
    _, arrays = read(write(tmp_path, full_views()))
    per_item = {"source", "target", "valid", "s2t", "t2s", "s2t_origin", "t2s_origin"}
    per_item |= {f"{v}_{k}" for v in ("source", "pseudo", "s2t", "t2s") for k in ("ids", "labels")}
    assert set(arrays) == {f"{name}_{i}" for name in per_item for i in (0, 1)} | {"pool_0"}
    assert arrays["source_0"].dtype == np.uint8
    assert arrays["source_0"].shape == (2, 3, 3)
    assert (arrays["source_0"] == 128).all()
    # Empty slots and vanished instances are gone.
    assert arrays["source_ids_0"].tolist() == [[0, 0, 1], [-1, 0, 1]]
    assert arrays["source_labels_0"].tolist() == [6]
    assert arrays["pseudo_ids_0"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert arrays["pseudo_labels_0"].tolist() == [2]
    assert arrays["s2t_origin_0"].tolist() == [[2, 2, 1], [0, 0, 1]]
    assert arrays["s2t_ids_0"].dtype == np.int32
    assert arrays["pool_0"].tolist() == [[[255, 255, 255, 255], [255, 255, 255, 0]]]


def test_write_snapshot__views_that_are_off_are_absent(tmp_path: Path) -> None:
    views = full_views()
    stage1 = Views(source=views.source, target=views.target)
    facts, arrays = read(write(tmp_path, stage1, stage=1, method="source_only"))
    assert facts["method"] == "source_only"
    assert facts["items"][0]["detections"] == []
    assert set(arrays) == {
        f"{name}_{i}"
        for name in ("source", "source_ids", "source_labels", "target", "valid")
        for i in (0, 1)
    }
    assert facts["class_thresholds"] == {}


def test_write_snapshot__oracle_shows_its_target_images(tmp_path: Path) -> None:
    labelled = Views(labelled=full_views().source[:1])
    facts, arrays = read(write(tmp_path, labelled, stage=1, method="oracle"))
    assert facts["method"] == "oracle"
    assert facts["items"][0]["source_id"] is None
    assert facts["items"][0]["target_id"] == "s0"
    assert set(arrays) == {"target_0"}


def test_write_snapshot__keeps_the_newest(tmp_path: Path) -> None:
    for step in (0, 5, 10):
        write(tmp_path, full_views(), step=step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000005", "00000010"]


def semantic_sample(name: str, domain: Domain) -> Sample:
    ids = torch.tensor([[0, 13, 255], [0, 0, 10]], dtype=torch.uint8)
    return Sample(image(0.5), name, domain, semantic=SemanticMap(ids))


@pytest.mark.parametrize("side", ["source", "target"])
def test_write_snapshot__semantic_maps_come_back(tmp_path: Path, side: Domain) -> None:
    sample = semantic_sample("a", side)
    views = Views(source=(sample,)) if side == "source" else Views(labelled=(sample,))
    _, arrays = read(write(tmp_path / "snapshots", views))
    assert arrays[f"{side}_semantic_0"].tolist() == [[0, 13, 255], [0, 0, 10]]
    snapshot = read_snapshot(RunDir(tmp_path), 12)
    item = snapshot.items[0]
    mine, other = item.source_semantic, item.target_semantic
    if side == "target":
        mine, other = other, mine
    assert mine is not None
    assert other is None
    assert mine.train_ids.tolist() == [[0, 13, 255], [0, 0, 10]]
    assert mine.image.shape == (2, 3, 3)
    assert item.source is None
    assert snapshot.score_threshold == 1


def test_read_snapshot__refuses_a_semantic_map_of_another_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "snapshots", Views(source=(semantic_sample("a", "source"),)))
    _, arrays = read(folder)
    arrays["source_semantic_0"] = arrays["source_semantic_0"][:1]
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    with pytest.raises(UserError, match=r"source_semantic_0 must have size \(2, 3\), got \(1, 3\)"):
        read_snapshot(RunDir(tmp_path), 12)


def test_read_snapshot__what_was_written(tmp_path: Path) -> None:
    run, views = RunDir(tmp_path), full_views()
    assert snapshot_changed(run, 12) is None
    told = {**views.facts, "unsure_threshold": 0.4}
    write(run.snapshots, replace(views, thresholds=torch.full((8,), 0.75), facts=told))
    assert snapshot_changed(run, 12) is not None
    found = read_snapshot(run, 12)
    assert (found.step, found.stage, found.method) == (12, 2, "uda4inst")
    assert (found.score_threshold, found.unsure_threshold) == (0.9, 0.4)
    assert found.class_thresholds == pytest.approx(dict.fromkeys(THING_NAMES, 0.75))
    assert found.rare_classes == ("train", "motorcycle")
    item = found.items[1]
    assert (item.source_id, item.target_id, item.kept) == ("s0", "t0", (True, False))
    assert rle_decode(item.candidates[1].rle).tolist() == [[False] * 3, [True] * 3]
    assert item.candidates[1].valid_share == pytest.approx(2 / 3)
    assert item.valid is not None
    assert np.array_equal(item.valid, views.target[1].valid.numpy())
    assert item.source is not None
    assert item.pseudo_labels is not None
    assert item.s2t is not None
    assert (item.source.ids.tolist(), item.source.labels.tolist()) == ([[0, 0, 1], [-1, 0, 1]], [6])
    assert np.array_equal(item.pseudo_labels.image, np.zeros((2, 3, 3)))
    assert item.s2t.origin is not None
    assert item.s2t.origin.tolist() == [[2, 2, 1], [0, 0, 1]]
    (entry,) = found.pool
    assert (entry.label, entry.sample_id, entry.step, entry.times_drawn) == (6, "s9", 4, 2)
    assert entry.patch.shape == (1, 2, 4)


def test_read_snapshot__every_name_is_the_formats(tmp_path: Path) -> None:
    facts, arrays = read(write(tmp_path, full_views()))
    told = {
        "unsure_threshold",
        "min_visible_share",
        "classes",
        "own_classes",
        "pixel_threshold",
    }  # methods add them, see `Views.facts`
    assert set(facts) | told == set(SnapshotFacts.__annotations__)
    assert set(facts["items"][0]) == set(ItemFacts.__annotations__)
    assert set(facts["items"][0]["detections"][0]) == set(DetectionFacts.__annotations__)
    assert set(facts["pool"][0]) == set(PoolFacts.__annotations__)
    views, parts = (*get_args(View), "s2t", "t2s"), (None, *get_args(Part))
    known = {array_name(view, i, part) for view in views for part in parts for i in (0, 1)}
    assert set(arrays) <= known | {patch_name(0)}
