"""Runs of one network per category group: modules apart, results together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file

from uda4inst.classes import CATEGORY_GROUPINGS, THING_NAMES, thing_index
from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.resampling import read_resampled
from uda4inst.formats.predictions import ScoredMask, merge_detections, read_predictions
from uda4inst.run_folder.layout import RunDir
from uda4inst.training import forks, launch, trackers
from uda4inst.training.choosing import choose_checkpoint
from uda4inst.training.config import load_config
from uda4inst.training.groups import category_groups
from uda4inst.training.groups.merging import merge_evaluations
from uda4inst.training.groups.modules import modules_of
from uda4inst.training.journal import RunFailedError
from uda4inst.training.loop import Outcome, Progress
from uda4inst.training.validation import require_validation

PRESET = "toystreets_smoke"
PEOPLE, VEHICLES = CATEGORY_GROUPINGS["two"]
pytestmark = pytest.mark.usefixtures("tiny_is_mini")
ShortRun = Callable[..., list[str]]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, short_run: ShortRun, mini_for_module: None
) -> RunDir:
    """A finished run of two groups, 3 + 3 steps each."""
    root = tmp_path_factory.mktemp("runs")
    config = load_config(PRESET, short(short_run, root, "whole"))
    assert category_groups.train(config) == Outcome("finished", 12)
    return RunDir(root / "whole")


@pytest.fixture(scope="module")
def mini_for_module() -> Any:
    from mini_network import TINY_MINI

    from uda4inst.models.mask2former.presets import MODEL_PRESETS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        yield


def short(short_run: ShortRun, root: Path, name: str, *more: str) -> list[str]:
    return short_run(
        root,
        name,
        "method.groups=two",
        "training.stage1_steps=3",
        "training.stage2_steps=3",
        "training.checkpoint_every=2",
        "training.snapshot_every=1",
        *more,
    )


def test_train__asks_for_trackers_before_anything_is_written(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    config = load_config(PRESET, short(short_run, tmp_path, "new", "training.trackers=[wandb]"))
    with pytest.raises(UserError, match="got wandb, which is not"):
        category_groups.train(config)
    assert not (tmp_path / "new").exists()


def status(run: RunDir) -> dict[str, Any]:
    return json.loads(run.status.read_text())


def results(run: RunDir, step: int) -> dict[str, Any]:
    return json.loads(run.evaluation_of(step).read_text())


@pytest.mark.e2e
def test_train__every_group_is_a_run_of_its_own(whole: RunDir) -> None:
    modules = modules_of(whole)
    assert [m.name for m in modules] == ["-".join(PEOPLE), "-".join(VEHICLES)]
    for module, group in zip(modules, (PEOPLE, VEHICLES), strict=True):
        config = load_config(module.config)
        assert config.method.classes == group
        assert (status(module)["state"], status(module)["step"]) == ("finished", 6)
    assert (status(whole)["state"], status(whole)["step"]) == ("finished", 12)
    assert status(whole)["steps"] == 12


@pytest.mark.e2e
def test_train__a_module_sees_its_own_classes_alone(whole: RunDir) -> None:
    shown: set[int] = set()
    for module, group in zip(modules_of(whole), (PEOPLE, VEHICLES), strict=True):
        labels = {thing_index(name) for name in group}
        for folder in sorted(module.snapshots.iterdir()):
            found = labels_in(folder)
            assert found <= labels
            shown |= found
    assert shown >= {thing_index("person"), thing_index("car")}


def labels_in(folder: Path) -> set[int]:
    """Every label of every map of a snapshot, and of the detections that could become labels."""
    with np.load(folder / "arrays.npz") as arrays:
        maps = [arrays[name] for name in arrays.files if "_labels_" in name]
    facts = json.loads((folder / "snapshot.json").read_text())
    detected = [d["label"] for item in facts["items"] for d in item["detections"]]
    return {int(label) for labels in (*maps, detected) for label in labels}


@pytest.mark.e2e
def test_train__results_are_merged_at_every_shared_step(whole: RunDir) -> None:
    for step, networks in ((3, ["student"]), (6, ["student", "teacher"])):
        record = results(whole, step)
        assert list(record["results"]) == networks
        assert set(record["modules"]) == {"-".join(PEOPLE), "-".join(VEHICLES)}
        for network in networks:
            merged = record["results"][network]
            parts = [results(m, step)["results"][network] for m in modules_of(whole)]
            for protocol in ("cityscapes", "coco"):
                for name in THING_NAMES:
                    own = parts[0] if name in PEOPLE else parts[1]
                    assert merged[protocol]["per_class"][name] == own[protocol]["per_class"][name]


@pytest.mark.e2e
def test_train__merged_predictions_are_those_of_the_modules(whole: RunDir) -> None:
    def read(run: RunDir) -> dict[str, tuple[ScoredMask, ...]]:
        path = run.evaluation / "predictions" / "00000006" / "teacher.jsonl.gz"
        return {image.sample_id: image.detections for image in read_predictions(path)}

    def by_resample(run: RunDir) -> NDArray[np.float32]:
        folder = run.evaluation / "predictions" / "00000006"
        return read_resampled(folder / "teacher_resampled.npz").by_class

    people = [thing_index(name) for name in PEOPLE]
    own = by_resample(modules_of(whole)[0])
    np.testing.assert_array_equal(by_resample(whole)[:, people], own[:, people])
    merged = read(whole)
    parts = [read(m) for m in modules_of(whole)]
    for name, detections in merged.items():
        assert len(detections) == sum(len(part[name]) for part in parts)
        scores = [d.score for d in detections]
        assert scores == sorted(scores, reverse=True)
        assert {d.label for d in parts[0][name]} <= {thing_index(n) for n in PEOPLE}


@pytest.mark.e2e
def test_resume__a_finished_run_does_nothing_again(whole: RunDir) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.path.rglob("*.json") if "status" not in p.name}
    before = {p: t for p, t in before.items() if p.name != "command.json"}
    assert category_groups.resume(whole) == Outcome("finished", 12)
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.e2e
@pytest.mark.parametrize("stop_at", [2, 8])
def test_resume__ends_as_an_unbroken_run(
    whole: RunDir, tmp_path: Path, short_run: ShortRun, stop_at: int
) -> None:
    run = RunDir(tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.step == stop_at:
            (run.control / "stop").touch()

    config = load_config(PRESET, short(short_run, tmp_path, "whole"))
    outcome = category_groups.train(config, watch=stop)
    assert (outcome.state, outcome.step) == ("stopped", stop_at)
    assert (status(run)["state"], status(run)["step"]) == ("stopped", stop_at)
    assert category_groups.resume(run) == Outcome("finished", 12)
    for step in (3, 6):
        assert results(run, step)["results"] == results(whole, step)["results"]
    for mine, theirs in zip(modules_of(run), modules_of(whole), strict=True):
        for file in ("student.safetensors", "teacher.safetensors"):
            one, other = (load_file(m.checkpoints / "00000006" / file) for m in (mine, theirs))
            assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.e2e
def test_resume__a_group_stopped_in_its_last_evaluation_is_judged(
    whole: RunDir, tmp_path: Path, short_run: ShortRun
) -> None:
    run = RunDir(tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.step == 6 and "Evaluating" in progress.message:
            (run.control / "stop").touch()

    config = load_config(PRESET, short(short_run, tmp_path, "whole"))
    outcome = category_groups.train(config, watch=stop)
    assert (outcome.state, outcome.step) == ("stopped", 6)
    assert category_groups.resume(run) == Outcome("finished", 12)
    assert results(run, 6)["results"] == results(whole, 6)["results"]


@pytest.mark.e2e
def test_resume__refuses_a_step_for_all_groups(whole: RunDir) -> None:
    with pytest.raises(UserError, match=r"--from must be given for one category group"):
        category_groups.resume(whole, step=3)


@pytest.mark.e2e
def test_fork__of_two_groups_ends_as_the_run_it_comes_from(whole: RunDir, tmp_path: Path) -> None:
    new, step = forks.fork(whole, "fork", root=tmp_path, step=3)
    assert step == 3
    assert category_groups.resume(new) == Outcome("finished", 12)
    assert results(new, 6)["results"] == results(whole, 6)["results"]


def test_train__nothing_is_left_of_a_run_that_cannot_start(
    tmp_path: Path, short_run: ShortRun
) -> None:
    more = f"model.weights={tmp_path}/none.safetensors"
    with pytest.raises(UserError, match=r"none\.safetensors"):
        category_groups.train(load_config(PRESET, short(short_run, tmp_path, "bad", more)))
    assert not (tmp_path / "bad").exists()


@pytest.mark.e2e
def test_train__stage_2_starts_from_the_same_group(
    whole: RunDir, tmp_path: Path, short_run: ShortRun
) -> None:
    start = f"training.stage2_from={whole.path}"
    config = load_config(PRESET, short(short_run, tmp_path, "next", start))
    category_groups.train(config)
    for module in modules_of(RunDir(tmp_path / "next")):
        start_of_module = load_config(module.config).training.stage2_from
        assert start_of_module == str(whole.modules / module.name)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("method.groups=table4_4", r"same category groups, got .* and not person-rider\."),
        ("method.groups=one", r"stage2_from must be a run of one network"),
    ],
)
def test_train__refuses_a_start_of_other_groups(
    whole: RunDir, tmp_path: Path, short_run: ShortRun, change: str, message: str
) -> None:
    start = f"training.stage2_from={whole.path}"
    config = load_config(PRESET, short(short_run, tmp_path, "next", start, change))
    with pytest.raises(UserError, match=message):
        category_groups.train(config)
    assert not (tmp_path / "next").exists()


@pytest.mark.e2e
def test_train__refuses_a_checkpoint_of_another_group(
    whole: RunDir, tmp_path: Path, short_run: ShortRun
) -> None:
    module = modules_of(whole)[0]
    start = f"training.stage2_from={module.checkpoints / '00000006'}"
    config = load_config(PRESET, short(short_run, tmp_path, "one", start, "method.groups=one"))
    with pytest.raises(UserError, match=r"same classes \(all 8\), got one of person, rider"):
        launch.train(config)


@pytest.mark.e2e
def test_train__rare_classes_are_proposed_from_the_source(
    tmp_path: Path, short_run: ShortRun, toy: Path
) -> None:
    from uda4inst.data.readers import UrbanSyn

    more = ("method.pool.rare_classes=[]", "training.stage1_steps=1", "training.stage2_steps=1")
    category_groups.train(load_config(PRESET, short(short_run, tmp_path, "rare", *more)))
    source = UrbanSyn(toy / "urbansyn")
    labels = np.concatenate([source.read_labels(i).labels for i in range(len(source))])
    counts = np.bincount(labels, minlength=8)
    expected = []
    for group in (PEOPLE, VEHICLES):
        present = [n for n in group if counts[thing_index(n)]]
        expected.append(min(present, key=lambda n: (counts[thing_index(n)], THING_NAMES.index(n))))
    written = yaml.safe_load((tmp_path / "rare" / "config.yaml").read_text())
    assert written["method"]["pool"]["rare_classes"] == expected


@pytest.mark.e2e
def test_merge_evaluations__a_module_judged_anew_is_merged_anew(
    whole: RunDir, tmp_path: Path, short_run: ShortRun
) -> None:
    config = load_config(whole.config)
    modules = modules_of(whole)
    dataset = require_validation(config)
    assert merge_evaluations(whole, modules, config, dataset) == []
    whole.evaluation_of(6).unlink()
    (record,) = merge_evaluations(whole, modules, config, dataset)
    assert record["step"] == 6


@pytest.mark.e2e
def test_evaluate__all_groups_together(whole: RunDir) -> None:
    before = results(whole, 6)["results"]
    assert category_groups.evaluate(whole)["results"] == before


def test_merge_detections__best_first_ties_in_order() -> None:
    def one(label: int, score: float) -> ScoredMask:
        return ScoredMask(label, score, np.ones((2, 2), dtype=bool))

    first, second = [one(0, 0.9), one(1, 0.5)], [one(2, 0.7), one(3, 0.5)]
    merged = merge_detections([first, second])
    assert [d.label for d in merged] == [0, 2, 1, 3]
    assert merge_detections([]) == ()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("[[person, rider]]", r"truck, bus, train, motorcycle, bicycle in none"),
        (
            "[[person, rider, car], [car, truck, bus, train, motorcycle, bicycle]]",
            r"got car in more than one",
        ),
        ("three", r"must be one of one, table4_2, .*got 'three'"),
        ("[[person, rdier]]", r"got 'rdier'\. Did you mean rider"),
        ("[person, rider]", r"must hold lists of class names, got 'person'"),
    ],
)
def test_groups__one_clear_message(groups: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(PRESET, [f"method.groups={groups}"])
    assert len(str(caught.value).splitlines()) == 1


def test_groupings__are_those_of_the_schema_and_complete() -> None:
    from typing import get_args

    from uda4inst.classes import GroupingName

    assert set(get_args(GroupingName)) == set(CATEGORY_GROUPINGS)
    for groups in CATEGORY_GROUPINGS.values():
        assert sorted(n for g in groups for n in g) == sorted(THING_NAMES)


@pytest.mark.e2e
def test_train__at_once_equals_one_after_another(
    whole: RunDir, tmp_path: Path, short_run: ShortRun
) -> None:
    # Real child processes know nothing of the mini network: the tiny one, both ways.
    names = {"turn": 1, "at_once": 2}
    for name, count in names.items():
        config = load_config(
            PRESET, short(short_run, tmp_path, name, f"training.modules_at_once={count}")
        )
        with pytest.MonkeyPatch.context() as patch:
            from uda4inst.models.mask2former import presets

            patch.setitem(presets.MODEL_PRESETS, "tiny", real_tiny())
            assert category_groups.train(config).state == "finished"
    turn, at_once = (results(RunDir(tmp_path / name), 6) for name in names)
    assert turn["results"] == at_once["results"]


def real_tiny() -> Any:
    from uda4inst.models.mask2former.presets import _PRESETS

    return next(preset for preset in _PRESETS if preset.name == "tiny")


@pytest.mark.e2e
def test_train__a_group_killed_at_once_ends_the_run(tmp_path: Path, short_run: ShortRun) -> None:
    import os
    import signal

    more = ("training.modules_at_once=2", "training.stage1_steps=400")
    config = load_config(PRESET, short(short_run, tmp_path, "killed", *more))
    run, killed = RunDir(tmp_path / "killed"), []

    def kill(progress: Progress) -> None:
        modules = modules_of(run)
        # Whoever is stopped while it still loads has nothing to keep, and says nothing.
        if not killed and all(m.status.exists() and status(m)["step"] >= 2 for m in modules):
            killed.append(status(modules[0])["pid"])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        from uda4inst.models.mask2former import presets

        patch.setitem(presets.MODEL_PRESETS, "tiny", real_tiny())
        with pytest.raises(RunFailedError, match=r"category group person-.*exit code -9"):
            category_groups.train(config, watch=kill)
    assert status(run)["state"] == "failed"
    other = modules_of(run)[1]
    assert status(other)["state"] == "stopped"
    assert any(other.checkpoints.iterdir())


@pytest.mark.e2e
def test_choose__modules_and_all_of_them(whole: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a label was opened")

    for reading in ("_read", "_read_instances", "_read_semantic"):
        monkeypatch.setattr(Cityscapes, reading, refuse)
    written = choose_checkpoint(whole, images=3, thresholds=(0.07, 0.9))
    modules = modules_of(whole)
    assert list(written) == [*modules, whole]
    for folder, record in written.items():
        assert json.loads(folder.choice.read_text()) == record
        assert record["images"] == 3
    parts = [written[module]["checkpoints"] for module in modules]
    together = written[whole]["checkpoints"]
    assert [one["step"] for one in together] == [one["step"] for one in parts[0]]
    assert together[-1]["step"] == 6
    assert together[-1]["diagnostic"]["AP"].keys() == {"student", "teacher"}
    low, high = together[-1]["thresholds"]
    ends = [part[-1]["thresholds"][0] for part in parts]
    assert low["pseudo_labels"] == pytest.approx(sum(end["pseudo_labels"] for end in ends))
    assert low["pseudo_labels"] > 0
    for measure in ("agreement", "stability"):
        by_class = ends[0][measure]["per_class"] | ends[1][measure]["per_class"]
        assert low[measure]["per_class"] == by_class
    for end, group in zip(ends, (PEOPLE, VEHICLES), strict=True):
        assert set(end["pseudo_labels_per_class"]) <= set(group)
    # Untrained networks are sure of nothing: silence is no agreement.
    assert (high["pseudo_labels"], high["agreement"]["quality"]) == (0, None)
