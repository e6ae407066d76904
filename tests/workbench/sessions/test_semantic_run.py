"""Runs of semantic segmentation in FiftyOne: their maps, and the scores of `uda4inst evaluate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import inspection
import numpy as np
import pytest

inspection.require_database()

from random_detections import draw
from semantic_run import STEP, write_semantic_run

from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.semantic import SemanticScores
from uda4inst.formats.coco import write_results
from uda4inst.formats.label_maps import LabelMaps, writing_label_maps
from uda4inst.run_folder.layout import RunDir
from uda4inst.tasks.semantic import Semantic
from uda4inst.training.config import Config
from workbench.sessions import run_session
from workbench.sessions.building import DataSession
from workbench.sessions.convert import from_segmentation
from workbench.sessions.foreign import open_foreign_session
from workbench.sessions.predicted import Predicted, find_predicted
from workbench.sessions.request import request_tree
from workbench.sessions.run_session import open_run_session

pytestmark = pytest.mark.inspection

KEY = f"iou_semantic_student_{STEP}"
FIELD = f"run_semantic_student_{STEP}"


@pytest.fixture(scope="module")
def tree(toy: Path) -> Cityscapes:
    return Cityscapes(toy / "cityscapes", "val")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, factories: Any, tree: Cityscapes) -> RunDir:
    root = tmp_path_factory.mktemp("runs")
    config = factories.make_config("semantic")
    config["data"] |= {
        "source": {"format": "urbansyn", "root": str(tree.root.with_name("urbansyn"))},
        "target": {"format": "cityscapes", "root": str(tree.root)},
    }
    return RunDir(write_semantic_run(root, "semantic", config, tree.root))


@pytest.fixture(scope="module")
def opened(run: RunDir) -> DataSession:
    return open_run_session(find_predicted([run]))


def copied(run: RunDir, to: Path) -> Predicted:
    """Return what a copy of a run predicts, for other maps to take its place."""
    return Predicted(RunDir(Path(shutil.copytree(run.path, to))), STEP, "student")


def test_open__scores_are_those_of_evaluate(run: RunDir, opened: DataSession) -> None:
    judged = json.loads(run.evaluation_of(STEP).read_text())["results"]["student"]["pixels"]
    scores = opened.summary["predicted"][FIELD]["scores"]
    assert {name: scores[name] for name in judged} == judged
    assert 0 < scores["mIoU"] < 1


def test_find_predicted__refuses_what_cannot_be_shown(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Semantic(predictions_kind=None)
    monkeypatch.setattr(Config, "task", property(lambda _: other))
    with pytest.raises(UserError, match=r"must predict detections or semantic maps.*got semantic"):
        find_predicted([run])


def test_open__holds_every_map(run: RunDir, opened: DataSession) -> None:
    maps = LabelMaps(find_predicted([run])[0].path)
    assert len(opened.dataset) == len(maps.names) > 0
    for sample in opened.dataset:
        assert np.array_equal(from_segmentation(sample[FIELD]).ids, maps.read(sample.image_name))


def test_open__every_image_has_its_own_scores(
    run: RunDir, opened: DataSession, tree: Cityscapes
) -> None:
    maps = LabelMaps(find_predicted([run])[0].path)
    for index in range(len(tree)):
        name = tree.basename(index)
        truth, predicted = tree.read_semantic(index), maps.read(name)
        own = SemanticScores()
        own.add(truth, predicted)
        sample = opened.dataset.one({"image_name": name})
        assert sample[f"{KEY}_mIoU"] == own.miou()
        assert sample[f"{KEY}_accuracy"] == own.accuracy()
        assert sample[KEY]["traffic_light"] == own.iou()["traffic light"]
        wrong = (truth != 255) & (truth != predicted)
        assert np.array_equal(sample[f"{FIELD}_wrong"].get_mask() > 0, wrong)


def test_views__worst_first(opened: DataSession) -> None:
    view = opened.dataset.load_saved_view(f"{KEY}: images by error")
    values = view.values(f"{KEY}_mIoU")
    assert values == sorted(values)
    cars = opened.dataset.load_saved_view(f"{KEY}: errors of car").values(f"{KEY}.car")
    assert cars == sorted(cars)
    assert cars
    assert f"{KEY}: errors of sky" not in opened.dataset.list_saved_views()  # none is wrong


def test_open__again_writes_nothing(
    run: RunDir, opened: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_session, "add_semantic", lambda *_: pytest.fail("written again"))
    before = opened.dataset.values("last_modified_at")
    again = open_run_session(find_predicted([run]))
    assert again.summary["predicted"] == opened.summary["predicted"]
    assert again.dataset.values("last_modified_at") == before


def test_open__other_maps_take_the_place_of_the_former_and_two_runs_are_compared(
    run: RunDir, opened: DataSession, tree: Cityscapes, tmp_path: Path
) -> None:
    one = copied(run, tmp_path / "better")
    open_run_session([one])
    with writing_label_maps(one.path) as write:
        for index in range(len(tree)):
            write(tree.basename(index), tree.read_semantic(index))
    both = open_run_session([*find_predicted([run]), one])
    assert both.summary["predicted"][one.field]["scores"]["mIoU"] == 1
    names = both.dataset.list_saved_views()
    above = f"better student {STEP} above semantic student {STEP}"
    assert above in names
    assert f"semantic student {STEP} above better student {STEP}" not in names
    gains = both.dataset.load_saved_view(above)
    assert len(gains) == sum(value < 1 for value in opened.dataset.values(f"{KEY}_mIoU"))


def test_open__of_fewer_images_both_are_judged_on_those(
    run: RunDir, opened: DataSession, tree: Cityscapes, tmp_path: Path
) -> None:
    one = copied(run, tmp_path / "fewer")
    open_run_session([one])
    maps = LabelMaps(one.path)
    kept = {name: maps.read(name) for name in sorted(maps.names)[:1]}
    with writing_label_maps(one.path) as write:
        for name, ids in kept.items():
            write(name, ids)
    (whole,) = find_predicted([run])
    both = open_run_session([whole, one])
    assert sorted(both.dataset.exists(one.field).values("image_name")) == sorted(kept)
    common = both.summary["common"]
    assert common[whole.field] == common[one.field]
    assert common[one.field] == both.summary["predicted"][one.field]["scores"]
    assert common[one.field]["images"] == 1
    assert "no ranking" in both.summary["not_comparable"]


def test_open__objects_are_shown_again_to_those_who_ask_for_objects(
    opened: DataSession, tree: Cityscapes, tmp_path: Path
) -> None:
    write_results(tmp_path / "drawn.json", [draw(tree, 0, np.random.default_rng(0))])
    request = request_tree("cityscapes", tree.root, split="val")
    assert opened.dataset.app_config.active_fields.paths[0] == "semantic"
    objects = open_foreign_session([tmp_path / "drawn.json"], request)
    assert objects.dataset.name == opened.dataset.name
    assert objects.dataset.app_config.active_fields is None


def test_open__maps_of_other_images_are_refused(run: RunDir, tmp_path: Path) -> None:
    one = copied(run, tmp_path / "strange")
    with writing_label_maps(one.path) as write:
        write("nowhere", np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(UserError, match="must be of the session's labelled images"):
        open_run_session([one])
