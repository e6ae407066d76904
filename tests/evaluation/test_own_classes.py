"""Data and scores of a class beside the eight, against the same files in which it is a car."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_classes import CAR, OWN, THINGS, open_own, write_own_data

from uda4inst.classes import THING_NAMES
from uda4inst.data.class_counts import class_counts
from uda4inst.data.readers import Cityscapes, CocoFolder
from uda4inst.data.reports.export import export_cityscapes, export_coco
from uda4inst.data.reports.statistics import collect_statistics
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.error_maps import index_errors
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    read_predictions,
    to_line,
    writing_text,
)

OWN_LABEL = len(THING_NAMES)


@pytest.fixture(scope="module")
def data(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own_data(toy, tmp_path_factory.mktemp("own") / "data")


@pytest.fixture(scope="module")
def as_cars(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    out = tmp_path_factory.mktemp("cars") / "val"
    return CocoFolder(export_coco(Cityscapes(toy / "cityscapes", "val"), out, workers=0), "val")


def write(path: Path, tree: ImageTree, *, car: int) -> Path:
    """Write predictions that are right, shifted or of another class, by the tree's objects."""
    with writing_text(path, compressed=True) as out:
        for index in range(len(tree)):
            record = tree.read_labels(index)
            rows: list[ScoredMask] = []
            for number, label in enumerate(record.labels.tolist(), start=1):
                mask = record.ids == number
                shifted = np.roll(mask, number % 5, axis=1)
                said = CAR if number % 4 == 3 else label
                rows.append(ScoredMask(car if said == CAR else said, 0.9 - 0.01 * number, shifted))
            size = tree.size_of(index)
            out(to_line(ImagePredictions(tree.basename(index), size, tuple(rows))))
    return path


def test_reading__cars_are_the_own_class_and_nothing_else_changes(
    data: Path, as_cars: CocoFolder
) -> None:
    own = open_own(data)
    assert own.thing_classes == THINGS
    assert own.possible_things == tuple(range(9))
    assert sum(as_cars.read_labels(i).labels.tolist().count(CAR) for i in range(len(own))) > 0
    for index in range(len(own)):
        before, after = as_cars.read_instance_ids(index), own.read_instance_ids(index)
        cars = before // 1000 == 26
        np.testing.assert_array_equal(after[cars], before[cars] + 8000)
        np.testing.assert_array_equal(after[~cars & (before != 26)], before[~cars & (before != 26)])
    counts, plain = class_counts(own), class_counts(as_cars)
    np.testing.assert_array_equal(counts[:, OWN_LABEL], plain[:, CAR])
    assert (counts[:, CAR] == 0).all()
    found = {c.name: c.instances for c in collect_statistics(own, workers=0).classes}
    assert found[OWN] == plain[:, CAR].sum()
    assert collect_statistics(own, workers=0).rare_classes()["own"] == OWN


def test_evaluate__own_class_has_the_score_that_cars_had(
    data: Path, as_cars: CocoFolder, tmp_path: Path
) -> None:
    own = open_own(data)
    one = evaluate_predictions(write(tmp_path / "a.jsonl.gz", as_cars, car=CAR), as_cars)
    other = evaluate_predictions(write(tmp_path / "b.jsonl.gz", as_cars, car=OWN_LABEL), own)
    for protocol in ("cityscapes", "coco"):
        expected, found = one[protocol]["per_class"], other[protocol]["per_class"]
        assert list(found) == [*THING_NAMES, OWN]
        assert 0 < expected["car"]["AP"] < 1
        assert found[OWN] == expected["car"]
        assert found["car"] is None
        assert {n: found[n] for n in THING_NAMES if n != "car"} == {
            n: expected[n] for n in THING_NAMES if n != "car"
        }
        assert other[protocol]["AP"] == pytest.approx(one[protocol]["AP"], abs=1e-12)


def test_evaluate__says_how_many_detections_are_of_classes_not_there(
    as_cars: CocoFolder, data: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl.gz", as_cars, car=OWN_LABEL)
    labels = [d.label for image in read_predictions(path) for d in image.detections]
    said = evaluate_predictions(path, as_cars)
    assert said["detections_of_classes_not_there"] == labels.count(OWN_LABEL) > 0
    assert said["coco"]["per_class"]["car"]["AP"] == 0
    assert "detections_of_classes_not_there" not in evaluate_predictions(path, open_own(data))


def test_error_maps__own_class_errs_as_cars_did(
    data: Path, as_cars: CocoFolder, tmp_path: Path
) -> None:
    own = open_own(data)
    found = []
    for tree, label, things in ((as_cars, CAR, 8), (own, OWN_LABEL, 9)):
        path = write(tmp_path / f"{label}.jsonl.gz", as_cars, car=label)
        places = {tree.basename(i): i for i in range(len(tree))}
        index = index_errors(
            read_predictions(path),
            lambda name, tree=tree, places=places: tree.read_instance_ids(places[name]),
            score_threshold=0.5,
            things=things,
        )
        found.append((index.errors(label), index.errors(0), index.errors()))
    assert found[0] == found[1]
    assert any(error.wrong_pixels and error.right_pixels for error in found[0][0])


def test_coco_results__ids_go_on_behind_the_eight(data: Path, tmp_path: Path) -> None:
    own = open_own(data)
    truth = json.loads((data / "val/annotations/instances_val.json").read_text())
    wanted = {i["id"]: i["file_name"] for i in truth["images"]}
    entries = [
        {"image_id": wanted[a["image_id"]], "category_id": 9, "score": 0.9}
        | {"segmentation": a["segmentation"]}
        for a in truth["annotations"]
        if a["category_id"] == CAR + 1 and not a["iscrowd"]
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(entries))
    assert evaluate_predictions(path, own)["coco"]["per_class"][OWN]["AP"] == 1
    path.write_text(json.dumps([entries[0] | {"category_id": 10}]))
    with pytest.raises(UserError, match=r"8 bicycle, 9 tow truck, got 10"):
        evaluate_predictions(path, own)


def test_export__coco_keeps_the_class_and_cityscapes_cannot(data: Path, tmp_path: Path) -> None:
    own = open_own(data)
    again = CocoFolder(export_coco(own, tmp_path / "again", workers=0), "val", options=own.options)
    for index in range(len(own)):
        np.testing.assert_array_equal(again.read_instance_ids(index), own.read_instance_ids(index))
    with pytest.raises(UserError, match="got tow truck beside them"):
        export_cityscapes(own, tmp_path / "cityscapes", split="val", workers=0)


def test_thing_pixels__has_no_number_for_it(data: Path, tmp_path: Path) -> None:
    own = open_own(data)
    path = write(tmp_path / "a.jsonl.gz", own, car=OWN_LABEL)
    with pytest.raises(UserError, match=r"classes beside the eight \(tow truck\)"):
        evaluate_predictions(path, own, protocols=("thing_pixels",))


def test_class_map__of_a_format_with_the_eight_takes_none(data: Path, toy: Path) -> None:
    class_map = open_own(data).options.class_map
    assert class_map is not None
    names = tuple((name, name) for name in sorted(THING_NAMES))
    options = replace(open_own(data).options, class_map=replace(class_map, names=names))
    with pytest.raises(UserError, match="got classes of its own, tow truck"):
        Cityscapes(toy / "cityscapes", "val", options=options)
