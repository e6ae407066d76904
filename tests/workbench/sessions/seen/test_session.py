"""What training saw of a run, in FiftyOne: whole, added to, mended, and what training used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import inspection
import numpy as np
import pytest

inspection.require_database()

from seen_run import Trained
from typer.testing import CliRunner

from uda4inst.errors import UserError
from uda4inst.formats.image_list import read_image_list
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.structures import InstanceMap
from workbench.sessions import building, convert, events
from workbench.sessions.building import DataSession
from workbench.sessions.commands import inspect_app, options
from workbench.sessions.image_lists import export_view
from workbench.sessions.library import fo
from workbench.sessions.seen import samples, session
from workbench.sessions.seen.images import KEPT
from workbench.sessions.seen.request import SeenRequest
from workbench.sessions.seen.session import open_seen_session
from workbench.sessions.seen.snapshot import images_of

pytestmark = pytest.mark.inspection

Contents = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def whole(trained: Trained) -> DataSession:
    """The session of the whole run, left as it is."""
    return open_seen_session(SeenRequest(trained.run))


@pytest.fixture
def moved(trained: Trained, tmp_path: Path) -> RunDir:
    """The same run in a place of its own, which a test may change."""
    return RunDir(Path(shutil.copytree(trained.run.path, tmp_path / "моя 街 run")))


def forget(run: RunDir, *steps: int) -> None:
    for step in steps:
        shutil.rmtree(run.snapshot_of(step))


def contents(dataset: fo.Dataset) -> Contents:
    """Return what a data set says, without ids and places on the disk."""
    rows: Contents = {}
    for sample in dataset:
        labels = [
            (d.label, d.confidence, d.bounding_box, d.get_attribute_value("origin", None))
            for field in ("instances", "pseudo_labels", "detections")
            for d in (sample[field].detections if sample[field] else ())
        ]
        facts = (sample.step, sample.held_at, sample.drawn_at, sample.times_drawn)
        rows[sample.place] = (sample.domain, sample.image_name, *facts, labels)
    return rows


def as_instances(sample: fo.Sample, field: str) -> InstanceMap:
    size = (sample.metadata.height, sample.metadata.width)
    return convert.from_objects(sample[field], sample.ignored, size)


def test_open__mixed_images_come_back_as_training_had_them(
    trained: Trained, whole: DataSession
) -> None:
    view = whole.dataset.match(fo.ViewField("domain").is_in(["S2T", "T2S"]))
    assert len(view) == 3 * 2 * 2
    for sample in view:
        place = sample["item"] - 1
        mixed = trained.views[sample.step].mixed[sample.domain.lower()][place]
        assert mixed is not None
        found, expected = as_instances(sample, "instances"), mixed.instances.compact()
        assert np.array_equal(found.ids, expected.ids)
        assert found.labels.tolist() == expected.labels.tolist()
        origins = sample.origins.get_mask()
        assert np.array_equal(origins, mixed.origin)


def test_open__fates_scores_and_masks_are_those_of_training(
    trained: Trained, whole: DataSession
) -> None:
    for sample in whole.dataset.match({"domain": "target", "stage": 2}):
        snapshot = read_snapshot(trained.run, sample.step)
        item = snapshot.items[sample["item"] - 1]
        rows = sample.detections.detections
        assert [row.status == KEPT for row in rows] == list(item.kept)
        assert [row.confidence for row in rows] == [one.score for one in item.candidates]
        labels = trained.views[sample.step].pseudo_labels[sample["item"] - 1]
        assert sample.detection_counts.kept == int((labels.labels >= 0).sum())
        found, expected = as_instances(sample, "pseudo_labels"), labels.compact()
        assert np.array_equal(found.ids, expected.ids)


def test_open__masks_are_equal_to_the_pixel(trained: Trained, whole: DataSession) -> None:
    (image, *_) = (
        one
        for one in images_of(read_snapshot(trained.run, 6), min_valid_share=0.2)
        if one.name == "target 1"
    )
    sample = whole.dataset.one(fo.ViewField("place") == "step 6, target 1")
    size = (sample.metadata.height, sample.metadata.width)
    rows = zip(sample.detections.detections, image.objects["detections"], strict=True)
    for row, one in rows:
        assert np.array_equal(convert.cut_mask_of(row, size).whole(size), one.mask.whole(size))
        assert (row.status, row.mask_score) == (one.facts["status"], one.facts["mask_score"])


def test_open__numbers_of_the_step_are_the_logged_ones(
    trained: Trained, whole: DataSession
) -> None:
    lines = [json.loads(line) for line in trained.run.metrics.read_text().splitlines()]
    line = next(line for line in lines if line["step"] == 4)
    view = whole.dataset.match(fo.ViewField("metrics.loss") == line["loss"])
    assert set(view.values("step")) == {4}
    first = view.first()
    assert first.metrics.losses_s2t_mask == line["losses"]["s2t/mask"]
    assert first.metrics.pseudo_labels_car == line["pseudo_labels"]["car"]


def test_open__a_pool_entry_stands_once_with_its_history(
    trained: Trained, whole: DataSession
) -> None:
    expected: dict[str, list[int]] = {}
    times: dict[str, int] = {}
    for step in sorted(trained.views):
        for image in images_of(read_snapshot(trained.run, step)):
            if image.domain == "pool":
                expected.setdefault(image.name, []).append(step)
                times[image.name] = int(str(image.facts["times_drawn"]))
    pool = whole.dataset.match({"domain": "pool"})
    assert dict(zip(*pool.values(["place", "held_at"]), strict=True)) == expected
    assert dict(zip(*pool.values(["place", "times_drawn"]), strict=True)) == times
    assert any(len(steps) > 1 for steps in expected.values())


def test_views__show_what_they_are_called(whole: DataSession) -> None:
    dataset = whole.dataset
    assert dataset.load_saved_view("S2T").distinct("domain") == ["S2T"]
    for status in ("kept", "ignored", "dropped"):
        view = dataset.load_saved_view(f"{status} pseudo-labels")
        assert view.distinct("detections.detections.status") == [status]
        shown = view.count("detections.detections")
        assert shown == dataset.sum(f"detection_counts.{status}") > 0
    pasted = dataset.load_saved_view("objects pasted from the source")
    assert pasted.distinct("instances.detections.origin") == ["source"]
    step = dataset.load_saved_view("step 4")
    assert {*step.match(fo.ViewField("domain") != "pool").values("step")} == {4}
    assert all(4 in held for held in step.match({"domain": "pool"}).values("held_at"))
    assert len(step.match({"domain": "pool"})) > 0


def test_open__again_writes_nothing(
    trained: Trained, whole: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.dataset.values(["id", "last_modified_at"])
    info = whole.dataset.last_modified_at
    for name in ("_write", "_begin", "in_order"):
        monkeypatch.setattr(session, name, lambda *_, **__: pytest.fail("written again"))
    again = open_seen_session(SeenRequest(trained.run))
    assert again.summary == {**whole.summary, "built": False, "added": 0}
    assert again.dataset.values(["id", "last_modified_at"]) == before
    assert again.dataset.last_modified_at == info


def test_open__a_run_that_went_on_gets_its_new_snapshots_alone(
    trained: Trained, moved: RunDir, whole: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(moved, 4, 6)
    dataset = open_seen_session(SeenRequest(moved)).dataset
    dataset.match({"place": "step 2, source 1"}).tag_samples("kept")
    dataset.save_view("my own", dataset.limit(1))
    early = dataset.match((fo.ViewField("domain") != "pool") & (fo.ViewField("step") < 4))
    before = early.values(["id", "last_modified_at"])
    for step in (4, 6):
        shutil.copytree(trained.run.snapshot_of(step), moved.snapshot_of(step))
    read: list[int] = []
    original = session.SeenReading.__call__

    def noted(self: Any, number: int) -> Any:
        read.append(self.places[number].step)
        return original(self, number)

    monkeypatch.setattr(session.SeenReading, "__call__", noted)
    later = open_seen_session(SeenRequest(moved))
    assert read == [4, 6]
    assert later.summary["added"] == 2
    assert early.values(["id", "last_modified_at"]) == before
    assert contents(later.dataset) == contents(whole.dataset)
    assert later.dataset.match_tags("kept").values("place") == ["step 2, source 1"]
    assert set(later.dataset.list_saved_views()) == {*whole.summary["views"], "my own"}


def test_open__follows_what_becomes_of_snapshots_on_the_disk(
    moved: RunDir, whole: DataSession
) -> None:
    dataset = open_seen_session(SeenRequest(moved)).dataset
    dataset.match({"place": "step 4, S2T 2"}).tag_samples("odd")

    # One that was written anew takes the place of the former.
    facts = json.loads((moved.snapshot_of(4) / "snapshot.json").read_text())
    facts["items"][1]["target_id"] = "another"
    (moved.snapshot_of(4) / "snapshot.json").write_text(json.dumps(facts))
    assert open_seen_session(SeenRequest(moved)).summary["added"] == 1
    assert len(dataset) == len(whole.dataset)
    changed = dataset.match({"image_name": "another"}).values("place")
    assert sorted(changed) == ["step 4, S2T 2", "step 4, target 2"]
    assert dataset.match_tags("odd").values("place") == ["step 4, S2T 2"]

    # Those that made room for newer ones stay.
    before = contents(dataset)
    forget(moved, 0, 2)
    open_seen_session(SeenRequest(moved))
    assert contents(dataset) == before

    # What a resumed run cut off goes.
    forget(moved, 6)
    open_seen_session(SeenRequest(moved))
    assert sorted({*dataset.values("step")} - {None}) == [0, 2, 3, 4]
    assert {step for held in dataset.values("held_at") for step in held or ()} <= {3, 4}
    assert [f"step {step}" in dataset.list_saved_views() for step in (4, 6)] == [True, False]
    media = building.media_folder(dataset.name)
    assert sorted(int(path.name) for path in media.glob("*/0*")) == [0, 2, 3, 4]


def test_open__half_of_one_is_mended(
    moved: RunDir, whole: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[fo.Sample] = []
    original = samples.to_sample

    def killed(*arguments: Any) -> fo.Sample:
        if len(made) == 15:
            raise KeyboardInterrupt
        made.append(original(*arguments))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(samples, "to_sample", killed)
        with pytest.raises(KeyboardInterrupt):
            open_seen_session(SeenRequest(moved))
    assert contents(open_seen_session(SeenRequest(moved)).dataset) == contents(whole.dataset)


def test_open__killed_between_images_and_their_registration_adds_nothing_twice(
    moved: RunDir, whole: DataSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(dataset: fo.Dataset, snapshot: Any, tags: Any) -> None:
        original(dataset, snapshot, tags)
        if snapshot.place.step == 4:
            raise KeyboardInterrupt

    original = session._add
    with monkeypatch.context() as patch:
        patch.setattr(session, "_add", killed)
        with pytest.raises(KeyboardInterrupt):
            open_seen_session(SeenRequest(moved))
    assert contents(open_seen_session(SeenRequest(moved)).dataset) == contents(whole.dataset)


def test_open__fresh_builds_again_and_tags_stay(moved: RunDir) -> None:
    dataset = open_seen_session(SeenRequest(moved, step=2)).dataset
    dataset.match({"place": "step 2, target 1"}).tag_samples("look at this")
    before = dataset.values("id")
    again = open_seen_session(SeenRequest(moved, step=2), fresh=True)
    assert again.summary["added"] == 1
    assert set(again.dataset.values("id")).isdisjoint(before)
    assert again.dataset.match_tags("look at this").values("place") == ["step 2, target 1"]


def test_open__another_run_in_the_folder_is_another_session(moved: RunDir) -> None:
    open_seen_session(SeenRequest(moved, step=2))
    command = json.loads(moved.command.read_text())
    moved.command.write_text(json.dumps({**command, "time": "2031-01-01T00:00:00+0000"}))
    forget(moved, 0, 2, 3, 4)  # of a former run, they would only have made room
    assert open_seen_session(SeenRequest(moved)).summary["snapshots"] == ["step 6"]


def test_open__a_data_set_of_the_name_that_is_not_ours_is_refused(moved: RunDir) -> None:
    other = fo.Dataset(SeenRequest(moved).name())
    other.add_sample(fo.Sample("somebodys.png"))
    with pytest.raises(UserError, match="must be one of this project"):
        open_seen_session(SeenRequest(moved), fresh=True)
    assert len(other) == 1


def test_open__one_builder_at_a_time(moved: RunDir) -> None:
    request = SeenRequest(moved)
    with (
        building.sole_builder(request.name()),
        pytest.raises(UserError, match="must be built by one process"),
    ):
        open_seen_session(request)


def test_open__one_step_then_the_rest(moved: RunDir, whole: DataSession) -> None:
    one = open_seen_session(SeenRequest(moved, step=4)).summary
    assert one["snapshots"] == ["step 4"]
    rest = open_seen_session(SeenRequest(moved))
    assert rest.summary["added"] == 4
    assert contents(rest.dataset) == contents(whole.dataset)
    assert open_seen_session(SeenRequest(moved, step=4)).summary["added"] == 0


def test_open__limit_spreads_over_the_snapshots(trained: Trained, whole: DataSession) -> None:
    limited = open_seen_session(SeenRequest(trained.run, limit=3))
    assert limited.summary["snapshots"] == ["step 0", "step 3", "step 6"]
    assert limited.dataset.name != whole.dataset.name


def test_open__every_category_group_has_its_own(runs_root: Path, factories: Any) -> None:
    options = {"snapshots": (10,)}, {"snapshots": (10,)}
    run = RunDir(factories.write_grouped_run(runs_root, modules=options))
    opened = open_seen_session(SeenRequest(run))
    people, vehicles = (group.replace("-", ", ") for group in factories.GROUPS)
    assert sorted(opened.dataset.distinct("group")) == sorted([people, vehicles])
    one = opened.dataset.load_saved_view(f"group {people}")
    assert one.distinct("group") == [people]
    assert len(one) == len(opened.dataset) / 2  # both show the same here
    pictures = opened.dataset.values("filepath")
    assert len(set(pictures)) == len(pictures)
    assert len(opened.dataset.load_saved_view("step 10")) == len(opened.dataset)


def test_open__target_labels_have_a_data_set_of_their_own(
    trained: Trained, whole: DataSession
) -> None:
    opened = open_seen_session(SeenRequest(trained.run, target_labels=True, step=4))
    dataset = opened.dataset
    assert dataset.name != whole.dataset.name
    assert "diagnostics" in dataset.description
    assert dataset.match({"domain": "target"}).distinct("labels") == ["diagnostics"]
    assert dataset.match({"domain": "S2T"}).distinct("labels") == ["none"]
    assert dataset.count("ground_truth.detections") > 0
    assert whole.dataset.count("ground_truth.detections") == 0
    assert whole.dataset.distinct("labels") == ["none"]
    wrong = dataset.load_saved_view("pseudo-labels wrong at a high score")
    assert wrong.distinct("pseudo_labels.detections.verdict") == ["wrong"]


def test_inspect_run__prints_a_summary_of_every_run(trained: Trained, whole: DataSession) -> None:
    arguments = ["run", str(trained.run.path), "--show", "training", "--headless"]
    result = CliRunner().invoke(inspect_app, arguments)
    assert json.loads(result.stdout) == {**whole.summary, "built": False, "added": 0}
    both = CliRunner().invoke(inspect_app, [*arguments, str(trained.run.path), "--step", "4"])
    assert [summary["added"] for summary in json.loads(both.stdout)] == [0, 0]


def test_export__lists_the_images_that_crops_are_of(whole: DataSession, tmp_path: Path) -> None:
    view = whole.dataset.match({"place": {"$in": ["step 4, S2T 1", "step 4, T2S 2"]}})
    names = dict(zip(*view.values(["domain", "image_name"]), strict=True))
    for domain, kind in (("target", "S2T"), ("source", "T2S")):
        export_view(view, tmp_path / domain, domain=domain)
        assert read_image_list(tmp_path / domain).names == (names[kind],)


def test_inspect_run__a_program_is_led_to_the_whole_and_to_the_step(
    whole: DataSession, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def serving(dataset: fo.Dataset, port: int | None) -> Iterator[int]:
        del dataset, port
        yield 5999

    monkeypatch.setattr(events, "serving", serving)
    monkeypatch.setattr(events, "wait_for_end", lambda: None)
    monkeypatch.setattr(options, "end_with_input", lambda: None)
    step = whole.summary["snapshots"][-1].removeprefix("step ")
    words = ["run", str(trained.run.path), "--show", "training", "--step", step, "--events"]
    said = CliRunner().invoke(inspect_app, words).stdout.splitlines()
    told = json.loads(said[-1])
    assert told["images"] == whole.summary["images"]
    assert told["address"].endswith(f"/{told['data_set']}?view=all-images")
    views = {view["name"]: view["address"] for view in told["views"]}
    assert views[f"step {step}"].endswith(f"?view=step-{step}")
    assert views["source"].endswith("?view=source")
