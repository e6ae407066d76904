"""Validation splits that hold enough objects of every class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_trees import digest

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import Cityscapes
from uda4inst.errors import UserError
from uda4inst.evaluation.cityscapes_ap import MIN_REGION_PIXELS
from uda4inst.toystreets import enough, scene_layout
from uda4inst.toystreets.enough import (
    JUDGED_PIXELS,
    Added,
    Candidate,
    Tally,
    judged_objects,
    rounds,
)
from uda4inst.toystreets.write import write_toystreets

SIZE = (48, 96)
Render = Callable[..., Any]


def counts(**judged: int) -> tuple[int, ...]:
    """Judged objects by class, 0 unless named."""
    return tuple(judged.get(name, 0) for name in THING_NAMES)


def classes(*names: str) -> frozenset[int]:
    return frozenset(THING_NAMES.index(name) for name in names)


def full_tally(wanted: int, **lacking: int) -> Tally:
    """A tally in which only the named classes have fewer objects than wanted."""
    have = {name: wanted for name in THING_NAMES} | lacking
    return Tally(wanted, SIZE, judged=list(counts(**have)))


def write(out: Path, render: Render, *, val_objects: int, workers: int = 0) -> dict[str, Any]:
    """Write a small tree; return its manifest."""
    write_toystreets(
        out, size=SIZE, train=2, val=3, val_objects=val_objects, seed=5, workers=workers,
        render=render,
    )  # fmt: skip
    return json.loads((out / "toystreets.json").read_text())


@pytest.fixture(scope="module")
def made(fake_render: Render, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tree whose val split has 8 judged objects of each class at least."""
    out = tmp_path_factory.mktemp("enough") / "tree"
    return out, write(out, fake_render, val_objects=8)


def test_judged_objects__are_those_of_cityscapes_ap() -> None:
    assert JUDGED_PIXELS == MIN_REGION_PIXELS


def test_judged_objects__leaves_out_small_ones_and_groups() -> None:
    ids = np.zeros((20, 40), dtype=np.int32)
    ids[:10, :10] = 1  # 100 pixels
    ids[:9, 10:21] = 2  # 99
    ids[10:, :] = -1
    scene: Any = SimpleNamespace(ids=ids, labels=np.array([5, 5]))
    assert judged_objects(scene) == counts(train=1)


def test_tally__takes_a_scene_for_the_classes_that_lack() -> None:
    tally = full_tally(3, train=1, bus=2)
    candidate = Candidate(7, classes("train", "bus", "person"))
    assert tally.offer(candidate, counts(train=1, person=4))
    assert tally.added == [Added(7, (THING_NAMES.index("train"),))]
    assert tally.judged == list(
        counts(**dict.fromkeys(THING_NAMES, 3) | {"train": 2, "bus": 2, "person": 7})
    )


def test_tally__leaves_a_scene_whose_object_is_not_judged() -> None:
    tally = full_tally(3, train=1)
    assert not tally.offer(Candidate(7, classes("train", "bus")), counts(bus=1))
    assert tally.added == []


def test_tally__says_what_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enough, "_MAX_MISSES", 3)
    tally = full_tally(3, bicycle=1, train=0)
    for index, judged in enumerate((counts(), counts(), counts(bicycle=1), counts(), counts())):
        tally.offer(Candidate(index, classes("bicycle")), judged)
    message = (
        "val_objects must be a number of objects that scenes of 48x96 show, got 3: 2 of class "
        "bicycle were found, then 3 scenes in a row had none of 100 pixels. "
        "Choose a larger size or fewer objects."
    )
    with pytest.raises(UserError, match=message):
        tally.offer(Candidate(5, classes("bicycle")), counts())


@pytest.mark.parametrize("scenes", [1, 3, 50])
def test_rounds__do_not_change_what_is_taken(scenes: int) -> None:
    tally = full_tally(3, bus=1, train=2)
    for found in rounds(tally, lambda index: frozenset({index % 8}), start=2, scenes=scenes):
        for one in found:
            tally.offer(one, tuple(int(label in one.classes) for label in range(8)))
    assert [scene.index for scene in tally.added] == [4, 5, 12]


def test_write_toystreets__val_has_as_many_objects_as_asked_for(made: tuple[Path, Any]) -> None:
    out, manifest = made
    dataset = Cityscapes(out / "cityscapes", "val")
    found = np.zeros(8, dtype=np.int64)
    for index in range(len(dataset)):
        labels = dataset.read_labels(index)
        found += judged_objects(labels)  # type: ignore[arg-type]
    assert found.min() >= 8
    assert dict(zip(THING_NAMES, found.tolist(), strict=True)) == manifest["judged"]


def test_write_toystreets__adds_a_scene_only_for_a_class_that_lacks(
    made: tuple[Path, Any], fake_render: Render
) -> None:
    _, manifest = made
    have = np.zeros(8, dtype=np.int64)
    reasons = {scene["index"]: scene["for"] for scene in manifest["added"]}
    assert list(reasons) == sorted(reasons)
    for index in range(max(reasons) + 1):
        scene = fake_render(seed=5, domain="camera", split="val", index=index, size=SIZE)
        layout = scene_layout(seed=5, domain="camera", split="val", index=index)
        judged = np.array(judged_objects(scene))
        lacking = (have < 8) & (judged > 0) & np.isin(range(8), layout.labels)
        if index >= 3:
            names = [name for name, lacks in zip(THING_NAMES, lacking, strict=True) if lacks]
            assert reasons.get(index, []) == names
        if index < 3 or index in reasons:
            have += judged
    assert dict(zip(THING_NAMES, have.tolist(), strict=True)) == manifest["judged"]


def test_write_toystreets__added_scenes_leave_the_others(
    made: tuple[Path, Any], fake_render: Render, tmp_path: Path
) -> None:
    plain = write(tmp_path / "plain", fake_render, val_objects=0)
    assert "val_objects" not in plain
    assert "judged" not in plain
    files, found = digest(tmp_path / "plain"), digest(made[0])
    del files["toystreets.json"]
    assert files.items() <= found.items()
    added = {name for name in found if name not in files and "leftImg8bit" in name}
    assert added == {
        f"cityscapes/leftImg8bit/val/toyburg/toyburg_{scene['index']:06d}_000019_leftImg8bit.png"
        for scene in made[1]["added"]
    }


def test_write_toystreets__added_scenes_do_not_depend_on_workers(
    made: tuple[Path, Any], fake_render: Render, tmp_path: Path
) -> None:
    write(tmp_path / "t", fake_render, val_objects=8, workers=3)
    assert digest(tmp_path / "t") == digest(made[0])


def test_write_toystreets__second_call_with_objects_does_nothing(
    made: tuple[Path, Any], fake_render: Render
) -> None:
    before = {path: path.stat().st_mtime_ns for path in made[0].rglob("*")}
    again = write_toystreets(
        made[0], size=SIZE, train=2, val=3, val_objects=8, seed=5, render=fake_render
    )
    assert again.judged == made[1]["judged"]
    assert {path: path.stat().st_mtime_ns for path in made[0].rglob("*")} == before


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(0, "val_objects 8 instead of None"), (9, "val_objects 8 instead of 9")],
)
def test_write_toystreets__refuses_a_tree_with_other_objects(
    made: tuple[Path, Any], fake_render: Render, wanted: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write(made[0], fake_render, val_objects=wanted)


def test_write_toystreets__objects_out_of_reach_leave_nothing(
    fake_render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_cars(**key: Any) -> Any:
        scene = fake_render(**key)
        return SimpleNamespace(
            **vars(scene) | {"labels": np.where(scene.labels == 2, 0, scene.labels)}
        )

    monkeypatch.setattr(enough, "_MAX_MISSES", 4)
    with pytest.raises(UserError, match="0 of class car were found, then 4 scenes in a row"):
        write(tmp_path / "t", without_cars, val_objects=1)
    assert list(tmp_path.iterdir()) == []


def test_write_toystreets__refuses_a_negative_number_of_objects(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val_objects must lie in \[0, 10000\] .* got -1"):
        write_toystreets(tmp_path / "t", val_objects=-1)
