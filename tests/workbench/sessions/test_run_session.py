"""Runs in FiftyOne: their predictions, judged as `uda4inst evaluate` judges, side by side."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inspection
import numpy as np
import pytest
import yaml
from mini_network import TINY_MINI
from random_detections import draw

inspection.require_database()

from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.image_list import read_image_list
from uda4inst.formats.predictions import read_predictions, to_line, writing_text
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.evaluations import predictions_file
from uda4inst.run_folder.layout import RunDir
from uda4inst.toystreets.write import write_toystreets
from uda4inst.training.config import load_config
from uda4inst.training.launch import train
from uda4inst.training.places import move_run
from workbench.sessions import building, data_session, run_session
from workbench.sessions.building import PREDICTED
from workbench.sessions.convert import from_predictions
from workbench.sessions.named_runs import find_named
from workbench.sessions.predicted import Predicted, find_predicted, request_of
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.run_session import open_run_session

pytestmark = pytest.mark.inspection

ShortRun = Callable[..., list[str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, short_run: ShortRun) -> tuple[RunDir, RunDir]:
    """Return two trained runs; detections near the truth stand for what they would find."""
    root = tmp_path_factory.mktemp("runs")
    data = root / "streets"
    write_toystreets(data, size=(128, 256), train=4, val=6, seed=0, workers=0)
    steps = ("training.stage1_steps=2", "training.stage2_steps=2", "evaluation.stage1=false")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        train(load_config("toystreets_smoke", short_run(root, "first", *steps, data=data)))
    shutil.copytree(root / "first", root / "other one")
    found = RunDir(root / "first"), RunDir(root / "other one")
    tree = Cityscapes(data / "cityscapes", "val")
    for seed, run in enumerate(found):
        record = json.loads(run.evaluation_of(4).read_text())
        for number, network in enumerate(("student", "teacher")):
            rng = np.random.default_rng((seed, number))
            path = run.predictions_of(4) / f"{network}.jsonl.gz"
            with writing_text(path, compressed=True) as write:
                for index in range(len(tree)):
                    write(to_line(draw(tree, index, rng)))
            record["results"][network] = evaluate_predictions(path, tree)
        run.evaluation_of(4).write_text(json.dumps(record))
    return found


def test_open__ap_is_what_the_run_was_judged_at(runs: tuple[RunDir, RunDir]) -> None:
    predicted = find_predicted([runs[0]])
    assert [one.network for one in predicted] == ["teacher", "student"]
    session = open_run_session(predicted)
    judged = json.loads(runs[0].evaluation_of(4).read_text())["results"]
    for one in predicted:
        scores: dict[str, Any] = session.summary["predicted"][one.field]["scores"]
        expected = judged[one.network]["cityscapes"]
        assert scores["AP"] == expected["AP"] > 0
        assert scores["AP50"] == expected["AP50"]
        assert scores["per_class"] == expected["per_class"]


def test_open__holds_every_detection(runs: tuple[RunDir, RunDir]) -> None:
    (one,) = find_predicted([runs[0]], network="student")
    dataset = open_run_session([one]).dataset
    stored = {image.sample_id: image for image in read_predictions(one.path)}
    assert len(stored) == len(dataset) > 0
    for sample in dataset:
        image = stored[sample.image_name]
        again = from_predictions(sample.image_name, sample[one.field], image.size)
        assert [(d.label, d.score) for d in again.detections] == [
            (d.label, d.score) for d in image.detections
        ]
        for mine, theirs in zip(again.detections, image.detections, strict=True):
            assert (mine.pixels() == theirs.pixels()).all()


def test_open__one_adds_predictions_at_a_time(runs: tuple[RunDir, RunDir]) -> None:
    predicted = find_predicted([runs[0]])
    session = open_run_session(predicted)
    with (
        building.sole_builder(session.dataset.name),
        pytest.raises(UserError, match="must be built by one process"),
    ):
        run_session.hold(session, predicted)
    assert run_session.hold(session, predicted).summary == {**session.summary}


def test_open__says_what_is_added_and_judged(runs: tuple[RunDir, RunDir]) -> None:
    said: list[tuple[str, int, int]] = []
    (one,) = find_predicted([runs[0]], network="student")
    open_run_session([one], fresh=True, progress=lambda *words: said.append(words))
    names = ["Adding images", f"Adding {one.title}", f"Judging {one.title}"]
    assert list(dict.fromkeys(doing for doing, _, _ in said)) == names
    assert {total for _, _, total in said} == {6}
    judged = [done for doing, done, _ in said if doing == names[2]]
    assert judged[-1] == 6
    assert judged == sorted(judged)


def test_open__a_network_of_one_group_is_judged_on_its_classes(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    learned = ("person", "rider", "motorcycle", "bicycle")
    module = RunDir(tmp_path / "both" / "modules" / "-".join(learned))
    shutil.copytree(runs[0].path, module.path)
    config = yaml.safe_load(module.config.read_text())
    config["method"]["classes"] = list(learned)
    module.config.write_text(yaml.safe_dump(config))
    (one,) = find_predicted([module], network="student")
    session = open_run_session([one])
    (found,) = session.summary["predicted"].values()
    assert found["title"] == f"both {module.name} student 4"
    record = json.loads(module.evaluation_of(4).read_text())["results"]["student"]["cityscapes"]
    own = {name: ap for name, ap in record["per_class"].items() if name in learned and ap}
    assert found["scores"]["AP"] == np.mean([ap["AP"] for ap in own.values()]) != record["AP"]
    fates = {
        (thing.label, thing[one.key])
        for field in ("ground_truth", one.field)
        for things in session.dataset.values(f"{field}.detections")
        for thing in things or ()
    }
    assert {label for label, fate in fates if fate in ("tp", "fp", "fn")} == set(learned)
    assert {label for label, fate in fates if fate == "dropped"} >= {"car", "bus"}
    views = [name for name in session.summary["views"] if name.startswith(f"{one.key}: misses of")]
    assert views
    assert {name.split()[-1] for name in views} <= set(learned)


def test_open__again_writes_nothing(
    runs: tuple[RunDir, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = find_predicted([runs[0]])
    before = open_run_session(predicted).summary

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(run_session, "_add", forbidden)
    monkeypatch.setattr(data_session, "_fill", forbidden)
    again = open_run_session(predicted).summary
    assert again["predicted"] == before["predicted"]


def test_open__a_second_run_reads_no_picture_and_stands_beside(
    runs: tuple[RunDir, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_run_session(find_predicted([runs[0]]))
    monkeypatch.setattr(
        data_session, "_fill", lambda *_, **__: pytest.fail("pictures are read again")
    )
    both = find_predicted(runs, network="student")
    session = open_run_session(both)
    fields = [one.field for one in both]
    assert fields == ["run_first_student_4", "run_other_one_student_4"]
    assert list(session.summary["predicted"]) == fields
    assert set(fields) <= set(session.dataset.get_field_schema())
    first, second = (session.summary["predicted"][name]["scores"] for name in fields)
    assert first["per_class"] != second["per_class"]


def test_views__false_positives_that_would_have_become_pseudo_labels(
    runs: tuple[RunDir, RunDir],
) -> None:
    (one,) = find_predicted([runs[0]], network="teacher")
    dataset = open_run_session([one]).dataset
    assert one.score_threshold == 0.07
    view = dataset.load_saved_view(f"{one.key}: pseudo-labels wrong at a high score")
    expected = {
        found.id
        for rows in dataset.values(f"{one.field}.detections")
        for found in rows or ()
        if found[one.key] == "fp" and found.confidence > 0.07
    }
    assert {i for ids in view.values(f"{one.field}.detections.id") for i in ids} == expected
    assert expected


def test_views__show_no_predictions_of_others(runs: tuple[RunDir, RunDir]) -> None:
    predicted = [one for run in runs for one in find_predicted([run], network="student")]
    dataset = open_run_session(predicted).dataset
    every = set(dataset.info[PREDICTED])
    assert len(every) > 1
    shown = {
        name: every & set(dataset.load_saved_view(name).get_field_schema())
        for name in dataset.list_saved_views()
    }
    for one in predicted:
        own = {name: there for name, there in shown.items() if name.startswith(f"{one.key}: ")}
        assert {name for name, there in own.items() if not there} == {
            name for name in own if "misses of" in name
        }
        assert {field for there in own.values() for field in there} == {one.field}
    assert not any(there for name, there in shown.items() if name.startswith("found by"))
    colors = {field["path"]: field for field in dataset.app_config.color_scheme.fields}
    assert all(
        colors[one.field]["valueColors"] == colors[GROUND_TRUTH]["valueColors"] for one in predicted
    )


def test_views__what_one_finds_and_the_other_misses(runs: tuple[RunDir, RunDir]) -> None:
    student, teacher = sorted(find_predicted([runs[0]]), key=lambda one: one.network)
    dataset = open_run_session([student, teacher]).dataset
    names = dataset.list_saved_views()
    for a, b in ((student, teacher), (teacher, student)):
        name = f"found by {a.title}, missed by {b.title}"
        objects = [
            thing
            for things in dataset.values("ground_truth.detections")
            for thing in things or ()
            if thing[a.key] == "tp" and thing[b.key] == "fn"
        ]
        assert (name in names) == bool(objects)
        if objects:
            view = dataset.load_saved_view(name)
            assert view.count("ground_truth.detections") == len(objects)


def test_open__other_predictions_take_the_place_of_the_former(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    moved = tmp_path / "changing"
    shutil.copytree(runs[0].path, moved)
    one = Predicted(RunDir(moved), 4, "student")
    before = open_run_session([one]).summary["predicted"][one.field]["scores"]
    shutil.copy(one.path.with_name("teacher.jsonl.gz"), one.path)
    session = open_run_session([one])
    after = session.summary["predicted"][one.field]["scores"]
    assert before != after
    expected = json.loads(runs[0].evaluation_of(4).read_text())["results"]["teacher"]
    assert after["AP"] == expected["cityscapes"]["AP"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 7}, r"got none of predictions at step 7 .*evaluated: .*4"),
        ({"network": "nobody"}, "got none of nobody at step 4"),
    ],
)
def test_find_predicted__nothing_stored(
    runs: tuple[RunDir, RunDir], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_predicted([runs[0]], **options)


def test_request__runs_judged_on_other_images_are_refused(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(runs[0].path, elsewhere)
    config = elsewhere / "config.yaml"
    config.write_text(config.read_text().replace("split: val", "split: train"))
    with pytest.raises(UserError, match="must be judged on the same images"):
        open_run_session(find_predicted([runs[0], RunDir(elsewhere)], network="student"))


def test_request__a_run_that_came_from_elsewhere_is_judged_on_the_same_images(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    moved = RunDir(tmp_path / "moved")
    shutil.copytree(runs[0].path, moved.path)
    link = tmp_path / "images"
    link.symlink_to(load_config(moved.config).data.val.root)
    move_run(moved, [f"data.val.root={link}"])
    found = find_predicted([runs[0], moved], network="student")
    assert request_of(found).sides == request_of(found[:1]).sides


def test_request__two_runs_of_one_name(runs: tuple[RunDir, RunDir], tmp_path: Path) -> None:
    again = tmp_path / "first"
    shutil.copytree(runs[0].path, again)
    with pytest.raises(UserError, match="must have different names"):
        open_run_session(find_predicted([runs[0], RunDir(again)], network="student"))


def test_find_named__step_and_network_of_its_own(runs: tuple[RunDir, RunDir]) -> None:
    root = runs[0].path.parent
    (one,) = find_named("first@4:student", root=root, network="teacher")
    assert (one.step, one.network) == (4, "student")
    both = find_named("first@4", root=root)
    assert [one.network for one in both] == ["teacher", "student"]
    assert find_named(str(runs[1].path), root=root, step=4, network="student")[0].run == runs[1]
    shutil.copytree(runs[0].path, root / "first@4:student")
    assert len(find_named("first@4:student", root=root)) == 2
    with pytest.raises(UserError, match=r"got none of student at step 7"):
        find_named("first@7:student", root=root)


def test_open__images_of_a_list_are_shown_and_judged_alone(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    tree = Cityscapes(Path(load_config(runs[0].config).data.val.root), "val")
    listed = tmp_path / "few.txt"
    listed.write_text(f"{tree.basename(1)}\n{tree.basename(4)}\n")
    (one,) = find_predicted([runs[0]], network="student")
    session = open_run_session([one], images=listed)
    assert session.summary["images"] == 2
    expected = evaluate_predictions(one.path, tree, only=read_image_list(listed))
    scores = session.summary["predicted"][one.field]["scores"]
    assert scores["AP"] == expected["cityscapes"]["AP"]


def test_open__scores_say_their_images_and_when_they_are_no_ranking(
    runs: tuple[RunDir, RunDir], tmp_path: Path
) -> None:
    few = tmp_path / "few"
    shutil.copytree(runs[0].path, few)
    path = predictions_file(RunDir(few), 4, "student")
    with gzip.open(path, "rt") as file:
        lines = file.readlines()
    with gzip.open(path, "wt") as file:
        file.writelines(lines[:2])
    one, other = find_predicted([runs[0], RunDir(few)], step=4, network="student")
    alone = open_run_session([one]).summary
    shown = alone["predicted"][one.field]
    said = shown["scores"]["images"], shown["scores"]["protocol"]
    assert (shown["network"], shown["step"], shown["images_there"]) == ("student", 4, len(lines))
    assert said == (len(lines), "cityscapes")
    assert "not_comparable" not in alone
    both = open_run_session([one, other]).summary
    assert both["predicted"][other.field]["scores"]["images"] == 2
    assert "no ranking" in both["not_comparable"]
    # Over the images of both, the same file and its beginning are worth the same.
    common = both["common"]
    assert common[one.field] == common[other.field]
    assert common[one.field]["AP"] == both["predicted"][other.field]["scores"]["AP"]
    assert common[one.field]["images"] == 2
    assert common[one.field]["AP"] != shown["scores"]["AP"]
    session = open_run_session([one, other])
    assert session.summary["common"] == common
    assert len(session.dataset.load_saved_view("images judged of all")) == 2
    assert "common" not in open_run_session([one]).summary
    assert "images judged of all" not in session.dataset.list_saved_views()
    assert "common" not in open_run_session([one], fresh=True).dataset.info
