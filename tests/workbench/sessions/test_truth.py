"""The annotation of a session's images is the one `uda4inst evaluate` reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import inspection
import numpy as np
import pytest

inspection.require_database()

from uda4inst.classes import THING_NAMES
from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import DATASETS, Cityscapes, UrbanSyn
from uda4inst.data.reports.export import export_coco
from uda4inst.errors import UserError
from uda4inst.formats.class_map import MapEntry, write_class_map
from workbench.sessions.convert import cut_mask_of
from workbench.sessions.data_session import open_data_session
from workbench.sessions.evaluation import _true_object
from workbench.sessions.library import fo
from workbench.sessions.request import DataRequest, Side
from workbench.sessions.truth import TrueObject, Truths

pytestmark = pytest.mark.inspection

CARAVAN = 29001  # with a number: no void


@pytest.fixture
def caravans(toy: Path, tmp_path: Path) -> Side:
    """A validation split with a caravan in each image."""
    shutil.copytree(toy / "cityscapes", tmp_path / "cityscapes")
    tree = Cityscapes(tmp_path / "cityscapes", "val")
    for index in range(len(tree)):
        raw = tree.read_instance_ids(index).astype(np.uint16)
        raw[:20, :20] = CARAVAN
        cv2.imwrite(str(tree.instance_ids_path(index)), raw)
    for label_ids in tree.root.rglob("*_labelIds.png"):  # else they would say what is there
        label_ids.unlink()
    values = {"format": "cityscapes", "root": str(tree.root), "split": "val"}
    return Side("target", DatasetRef.model_validate(values))


def objects_of(sample: fo.Sample, truths: Truths) -> list[TrueObject]:
    size = truths.size_of(sample.id)
    return [_true_object(row, cut_mask_of(row, size)) for row in sample.ground_truth.detections]


@pytest.mark.parametrize("filters", [{}, {"min_area": 150}, {"max_occlusion": 0.3}], ids=str)
def test_truth__is_made_of_what_is_stored(toy: Path, filters: dict[str, Any]) -> None:
    values = {"format": "urbansyn", "root": str(toy / "urbansyn"), **filters}
    ref = DatasetRef.model_validate(values)
    dataset = open_data_session(DataRequest(f"truth {filters}", (Side("source", ref),))).dataset
    tree = DATASETS["urbansyn"](toy / "urbansyn", options=ref.options())
    truths = Truths(dataset)
    for index, sample in enumerate(dataset.iter_samples()):
        found = truths.instance_ids(sample.id, objects_of(sample, truths))
        assert np.array_equal(found, tree.read_instance_ids(index))


def test_truth__of_cityscapes_is_read_again(caravans: Side) -> None:
    dataset = open_data_session(DataRequest("caravans", (caravans,))).dataset
    truths = Truths(dataset)
    sample = dataset.first()
    objects = objects_of(sample, truths)
    assert truths.instance_ids(sample.id, objects)[0, 0] == CARAVAN
    truths._places = {}
    assert truths.instance_ids(sample.id, objects)[0, 0] == 0  # void: what is stored cannot tell


def test_truth__a_tree_that_went_away_is_one_message(caravans: Side) -> None:
    dataset = open_data_session(DataRequest("caravans gone", (caravans,))).dataset
    truths = Truths(dataset)
    sample = dataset.first()
    shutil.rmtree(caravans.ref.root)
    with pytest.raises(UserError, match=r"cityscapes"):
        truths.instance_ids(sample.id, objects_of(sample, truths))


@pytest.mark.parametrize("trains", ["train", None], ids=["no map", "trains are nothing"])
def test_truth__background_that_looks_like_void_is_read_again(
    toy: Path, tmp_path: Path, trains: str | None
) -> None:
    entries = [MapEntry(name, trains if name == "train" else name) for name in THING_NAMES]
    write_class_map(tmp_path / "map.yaml", entries)
    class_map = None if trains else str(tmp_path / "map.yaml")
    source = UrbanSyn(toy / "urbansyn")
    export_coco(source, tmp_path / "coco")
    for values in (
        {"format": "coco", "root": str(tmp_path / "coco"), "class_map": class_map},
        {"format": "urbansyn", "root": str(toy / "urbansyn"), "class_map": class_map},
    ):
        ref = DatasetRef.model_validate(values)
        side = Side("source", ref)
        dataset = open_data_session(DataRequest(f"read again {values}", (side,))).dataset
        tree = DATASETS[ref.format](Path(ref.root), options=ref.options())
        truths = Truths(dataset)
        for index, sample in enumerate(dataset.iter_samples()):
            found = truths.instance_ids(sample.id, objects_of(sample, truths))
            assert np.array_equal(found, tree.read_instance_ids(index))
