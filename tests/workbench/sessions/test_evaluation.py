"""Evaluation inside FiftyOne gives the numbers of `uda4inst evaluate`, and says what errs how."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import inspection
import numpy as np
import pytest
from random_detections import draw, write_predictions

inspection.require_database()

from uda4inst.classes import THING_NAMES
from uda4inst.data.config import DatasetRef
from uda4inst.data.readers import DATASETS, Cityscapes
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.image_list import ImageList
from uda4inst.formats.predictions import ImagePredictions
from workbench.sessions import evaluation
from workbench.sessions.convert import to_predictions
from workbench.sessions.data_session import open_data_session
from workbench.sessions.library import fo
from workbench.sessions.outcomes import ERROR_KINDS
from workbench.sessions.request import DataRequest, Side, request_tree

pytestmark = pytest.mark.inspection

METHODS = {"cityscapes": evaluation.CITYSCAPES, "coco": evaluation.COCO}


def make_hard(tree: Cityscapes) -> None:
    """Turn objects into groups, caravans with a number, void and specks, where there are some."""
    rng = np.random.default_rng(5)
    for index in range(len(tree)):
        path = tree.instance_ids_path(index)
        raw = np.array(tree.read_instance_ids(index), dtype=np.uint16)
        numbered = [value for value in np.unique(raw).tolist() if value >= 24000]
        for value in numbered:
            kind = rng.integers(0, 6)
            if kind == 0:
                raw[raw == value] = value // 1000
            elif kind == 1:
                raw[raw == value] = 29000 + value % 1000
            elif kind == 2:
                raw[raw == value] = 4
            elif kind == 3:
                rows, columns = np.nonzero(raw == value)
                raw[rows[40:], columns[40:]] = 7
        cv2.imwrite(str(path), raw)
        for label_ids in path.parent.glob("*_labelIds.png"):
            label_ids.unlink()


@pytest.fixture(scope="module", params=["cityscapes", "urbansyn", "filtered"])
def side(request: pytest.FixtureRequest, toy: Path, tmp_path_factory: Any) -> Side:
    """A split whose raw annotation is read, one whose is made, and one that ignores objects."""
    values: dict[str, Any] = {"format": "urbansyn", "root": str(toy / "urbansyn")}
    if request.param == "cityscapes":
        root = tmp_path_factory.mktemp("hard") / "cityscapes"
        shutil.copytree(toy / "cityscapes", root)
        make_hard(Cityscapes(root, "train"))
        values = {"format": "cityscapes", "root": str(root), "split": "train"}
    elif request.param == "filtered":
        values["min_area"] = 150
    domain = DATASETS[values["format"]].usual_domain
    return Side(domain, DatasetRef.model_validate(values))


@pytest.fixture(scope="module")
def tree(side: Side) -> ImageTree:
    """What the side is read by."""
    kind = DATASETS[side.ref.format]
    return kind(Path(side.ref.root), side.ref.split, options=side.ref.options())


@pytest.fixture(scope="module")
def images(tree: ImageTree) -> list[ImagePredictions]:
    """Detections of all images but the second, about which nothing is said."""
    rng = np.random.default_rng(7)
    drawn = [draw(tree, index, rng) for index in range(len(tree))]
    return [drawn[0], ImagePredictions(drawn[2].sample_id, drawn[2].size, ()), *drawn[3:]]


@pytest.fixture(scope="module")
def dataset(side: Side, images: list[ImagePredictions]) -> fo.Dataset:
    """The session of the split, with the detections."""
    title = f"judged {side.ref.format} {side.ref.min_area}"
    made = open_data_session(DataRequest(title, (side,), target_labels=True)).dataset
    fields = {image.sample_id: to_predictions(image) for image in images}
    made.set_values("predictions", fields, key_field="image_name")
    return made


@pytest.mark.parametrize("protocol", METHODS)
def test_evaluate__equals_the_projects_numbers_to_the_last_digit(
    dataset: fo.Dataset,
    tree: ImageTree,
    images: list[ImagePredictions],
    protocol: str,
    tmp_path: Path,
) -> None:
    file = write_predictions(tmp_path / "predictions.jsonl.gz", images)
    expected = evaluate_predictions(file, tree, protocols=[protocol])[protocol]
    found = dataset.evaluate_detections("predictions", method=METHODS[protocol])
    assert found.scores["AP"] == expected["AP"]
    assert found.scores["AP50"] == expected["AP50"]
    assert found.scores["per_class"] == expected["per_class"]
    assert found.mAP() == expected["AP"]
    assert 0 < expected["AP"] < 1


@pytest.mark.parametrize("protocol", METHODS)
def test_evaluate__a_view_is_judged_by_its_images_alone(
    dataset: fo.Dataset,
    tree: ImageTree,
    images: list[ImagePredictions],
    protocol: str,
    tmp_path: Path,
) -> None:
    file = write_predictions(tmp_path / "predictions.jsonl.gz", images)
    names = tuple(sorted(tree.basename(index) for index in (0, 3, 5)))
    expected = evaluate_predictions(file, tree, protocols=[protocol], only=ImageList(names))
    view = dataset.match(fo.ViewField("image_name").is_in(names))
    found = view.evaluate_detections("predictions", method=METHODS[protocol])
    assert found.scores["per_class"] == expected[protocol]["per_class"]


@pytest.fixture(scope="module", params=METHODS)
def judged(dataset: fo.Dataset, request: pytest.FixtureRequest) -> tuple[fo.Dataset, str]:
    """The session with a stored evaluation, and its key."""
    key = f"by_{request.param}"
    dataset.evaluate_detections("predictions", eval_key=key, method=METHODS[request.param])
    return dataset, key


def test_evaluate__every_object_has_its_fate(judged: tuple[fo.Dataset, str]) -> None:
    dataset, key = judged
    for sample in dataset.iter_samples():
        found = [] if sample.predictions is None else sample.predictions.detections
        by_id = {row.id: row for row in (*found, *sample.ground_truth.detections)}
        fates = Counter(row[key] for row in found)
        assert [fates[fate] for fate in ("tp", "fp")] == [sample[f"{key}_tp"], sample[f"{key}_fp"]]
        assert fates["dropped"] == (sample[f"{key}_dropped"] or 0)
        true = Counter(row[key] for row in sample.ground_truth.detections)
        assert [true["tp"], true["fn"]] == [sample[f"{key}_tp"], sample[f"{key}_fn"]]
        for row in by_id.values():
            assert (row[f"{key}_error"] is not None) == (row[key] in ("fp", "fn"))
            assert row[f"{key}_error"] in (None, *ERROR_KINDS)
            if row[key] == "tp":
                partner = by_id[row[f"{key}_id"]]
                assert partner[f"{key}_id"] == row.id
                assert partner.label == row.label
                assert partner[f"{key}_iou"] == row[f"{key}_iou"] >= 0.5


def test_evaluate__results_are_found_again_in_another_process(
    judged: tuple[fo.Dataset, str],
) -> None:
    dataset, key = judged
    results = dataset.load_evaluation_results(key)
    code = (
        "import fiftyone as fo, json\n"
        f"dataset = fo.load_dataset({dataset.name!r})\n"
        f"results = dataset.load_evaluation_results({key!r})\n"
        "print(json.dumps([results.mAP(), results.scores, type(results).__name__]))\n"
    )
    environment = {**os.environ, "FIFTYONE_PRIVATE_DATABASE_PORT": str(database_port())}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [results.mAP(), results.scores, "ProtocolResults"]


def database_port() -> int:
    """Return where the database of this process listens, as FiftyOne tells its children."""
    return fo.core.odm.database._connection_kwargs["port"]


def test_panel__shows_the_projects_numbers(judged: tuple[fo.Dataset, str]) -> None:
    dataset, key = judged
    results, info = dataset.load_evaluation_results(key), dataset.get_evaluation_info(key)
    panel = importlib.import_module("plugins.panels.model_evaluation").EvaluationPanel()
    assert panel.get_map(results) == results.scores["AP"]
    assert panel.get_tp_fp_fn(info, results) == tuple(
        dataset.sum(f"{key}_{kind}") for kind in ("tp", "fp", "fn")
    )
    shown = {m["label"]: m["value"] for m in panel.get_custom_metrics(results).values()}
    per_class = {n: own["AP"] for n, own in results.scores["per_class"].items() if own}
    expected = {"AP50": results.scores["AP50"]} | {f"AP {n}": v for n, v in per_class.items()}
    assert shown == expected | {"images judged": len(dataset)}
    assert set(panel.get_per_class_metrics(info, results)) - {"(none)"} <= set(THING_NAMES)


def test_delete__leaves_no_field_behind(judged: tuple[fo.Dataset, str]) -> None:
    dataset, _ = judged
    before = dataset.get_field_schema(flat=True).keys()
    method = evaluation.COCO
    dataset.evaluate_detections("predictions", eval_key="passing", iou=0.75, method=method)
    dataset.rename_evaluation("passing", "renamed")
    assert dataset.has_field("predictions.detections.renamed_error")
    dataset.delete_evaluation("renamed")
    assert dataset.get_field_schema(flat=True).keys() == before


def test_evaluate__bad_input_is_one_message(dataset: fo.Dataset) -> None:
    method = evaluation.CITYSCAPES
    with pytest.raises(UserError, match=r"iou must be one of 0\.50, .*, got 0\.3"):
        dataset.evaluate_detections("predictions", method=method, iou=0.3)
    with pytest.raises(UserError, match=r"only must name classes .*, got 'cars'.*car"):
        dataset.evaluate_detections("predictions", method=method, only=["cars"])
    with pytest.raises(UserError, match="detections must have a confidence, got"):
        dataset.evaluate_detections("ground_truth", method=method)
    stranger = fo.Dataset()
    stranger.add_sample_field(
        "predictions", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
    )
    with pytest.raises(UserError, match="must be a session of this project, got one without"):
        stranger.evaluate_detections("predictions", gt_field="predictions", method=method)


def test_evaluate__without_ground_truth_says_so(toy: Path) -> None:
    made = open_data_session(request_tree("cityscapes", toy / "cityscapes")).dataset
    made.set_values("predictions", [fo.Detections() for _ in range(len(made))])
    with pytest.raises(UserError, match="images must have ground truth to be judged, got none"):
        made.evaluate_detections("predictions", method=evaluation.COCO)
