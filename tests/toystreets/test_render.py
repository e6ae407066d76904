from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from uda4inst.classes import THING_CLASSES
from uda4inst.toystreets import PARTS, Scene, render_scene, scene_layout, styles
from uda4inst.toystreets.render import MIN_AREA
from uda4inst.toystreets.world import RIDER, TWO_WHEELERS, ToyDomain

DOMAINS: tuple[ToyDomain, ...] = ("render", "camera", "neutral")
SIZE = (128, 256)
CROWD = 97  # first camera scene of seed 0, split "train", that has a crowd
TRAIN_IDS = np.array([thing.train_id for thing in THING_CLASSES])


def scene(
    domain: ToyDomain,
    index: int,
    *,
    seed: int = 0,
    split: str = "train",
    size: tuple[int, int] = SIZE,
    parts: frozenset[str] | None = None,
) -> Scene:
    return render_scene(seed=seed, domain=domain, split=split, index=index, size=size, parts=parts)


def same(one: Scene, other: Scene) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("image", "ids", "labels", "semantic", "ego", "group")
    )


@pytest.fixture(scope="module")
def many() -> dict[ToyDomain, list[Scene]]:
    return {domain: [scene(domain, index) for index in range(16)] for domain in DOMAINS}


@pytest.mark.parametrize("domain", DOMAINS)
def test_render_scene__gives_same_bytes_in_any_order(
    domain: ToyDomain, many: dict[ToyDomain, list[Scene]]
) -> None:
    assert all(same(scene(domain, index), many[domain][index]) for index in (7, 0, 15))


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"split": "val"}, {"index": 4}, {"domain": "camera"}],
    ids=["seed", "split", "index", "domain"],
)
def test_render_scene__differs_with_each_coordinate(other: dict[str, object]) -> None:
    key = {"seed": 0, "domain": "render", "split": "train", "index": 3, "size": (64, 128)}
    assert not same(render_scene(**key), render_scene(**(key | other)))  # type: ignore[arg-type]


@pytest.mark.slow  # imports everything anew
def test_render_scene__gives_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from uda4inst.toystreets import render_scene;"
        "s = render_scene(seed=0, domain='camera', split='train', index=5, size=(128, 256));"
        "print(hashlib.sha256(s.image.tobytes() + s.ids.tobytes()).hexdigest())"
    )
    here = scene("camera", 5)
    expected = hashlib.sha256(here.image.tobytes() + here.ids.tobytes()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert there.stdout.strip() == expected


@pytest.mark.parametrize("domain", DOMAINS)
def test_render_scene__ids_labels_and_semantics_agree(
    domain: ToyDomain, many: dict[ToyDomain, list[Scene]]
) -> None:
    for one in many[domain]:
        count = len(one.labels)
        areas = np.bincount(one.ids[one.ids > 0], minlength=count + 1)[1:]
        assert one.ids.max(initial=0) <= count
        assert (areas >= MIN_AREA).all()
        things = one.ids > 0
        assert (one.semantic[things] == TRAIN_IDS[one.labels[one.ids[things] - 1]]).all()
        groups = one.ids == -1
        assert (one.semantic[groups] == TRAIN_IDS[one.group[groups] - 1]).all()
        assert (one.group[~groups] == 0).all()
        stuff = one.ids == 0
        assert set(np.unique(one.semantic[stuff])) <= {*range(11), 255}


@pytest.mark.parametrize("domain", DOMAINS)
def test_render_scene__has_contract_types(
    domain: ToyDomain, many: dict[ToyDomain, list[Scene]]
) -> None:
    one = many[domain][0]
    assert (one.image.dtype, one.image.shape) == (np.uint8, (*SIZE, 3))
    assert (one.ids.dtype, one.ids.shape) == (np.int32, SIZE)
    assert (one.labels.dtype, one.labels.ndim) == (np.int64, 1)
    assert (one.semantic.dtype, one.semantic.shape) == (np.uint8, SIZE)
    assert (one.ego.dtype, one.ego.shape) == (np.bool_, SIZE)
    assert (one.group.dtype, one.group.shape) == (np.uint8, SIZE)
    assert one.image.flags.c_contiguous


@pytest.mark.parametrize("domain", DOMAINS)
def test_render_scene__shows_a_handful_of_instances(
    domain: ToyDomain, many: dict[ToyDomain, list[Scene]]
) -> None:
    counts = [len(one.labels) for one in many[domain]]
    assert 3 <= np.mean(counts) <= 8
    assert max(counts) <= 16


def test_render_scene__shows_all_stuff_classes(many: dict[ToyDomain, list[Scene]]) -> None:
    seen = {int(v) for one in many["camera"] + many["render"] for v in np.unique(one.semantic)}
    assert set(range(11)) <= seen


@pytest.mark.parametrize("size", [(32, 64), (97, 131), (256, 512), (1024, 2048)], ids=str)
def test_render_scene__shows_the_same_layout_at_any_size(size: tuple[int, int]) -> None:
    one = scene("camera", 3, size=size)
    assert one.image.shape == (*size, 3)
    assert one.ego.shape == one.ids.shape == one.semantic.shape == size
    assert one.ego.any()


def test_render_scene__semantics_hardly_depend_on_size() -> None:
    small, large = scene("render", 3), scene("render", 3, size=(256, 512))
    assert (large.semantic[::2, ::2] == small.semantic).mean() > 0.95


def test_render_scene__ego_is_fixed_ignored_and_only_on_camera(
    many: dict[ToyDomain, list[Scene]],
) -> None:
    ego = many["camera"][0].ego
    assert all((one.ego == ego).all() for one in many["camera"])
    assert all((one.semantic[ego] == 255).all() for one in many["camera"])
    assert all((one.ids[ego] == 0).all() for one in many["camera"])
    assert not any(one.ego.any() for one in many["render"] + many["neutral"])
    rows = np.flatnonzero(ego.any(axis=1))
    assert 0.06 <= len(rows) / SIZE[0] <= 0.09
    assert rows[-1] == SIZE[0] - 1


@pytest.mark.parametrize("part", PARTS)
def test_parts__each_changes_the_picture_alone(part: str) -> None:
    plain = scene("camera", CROWD, parts=frozenset())
    with_part = scene("camera", CROWD, parts=frozenset({part}))
    assert (plain.image != with_part.image).any()


@pytest.mark.parametrize(
    "part",
    sorted(set(PARTS) - {styles.RIG, styles.EGO, styles.GROUPS, styles.ROUNDING, styles.CLUTTER}),
)
def test_parts__of_appearance_leave_the_labels(part: str) -> None:
    plain = scene("camera", 4, parts=frozenset())
    with_part = scene("camera", 4, parts=frozenset({part}))
    assert (plain.ids == with_part.ids).all()
    assert (plain.semantic == with_part.semantic).all()


def test_parts__default_to_all_on_camera_and_none_on_render() -> None:
    assert same(scene("camera", 2), scene("camera", 2, parts=frozenset(PARTS)))
    assert same(scene("render", 2), scene("render", 2, parts=frozenset()))


def test_parts__groups_are_rare_crowds_of_persons() -> None:
    crowds = [
        index
        for index in range(600)
        if scene_layout(seed=0, domain="camera", split="train", index=index).crowd
    ]
    assert 3 <= len(crowds) <= 25
    assert crowds[0] == CROWD
    one = scene("camera", CROWD)
    assert set(np.unique(one.group)) == {0, 1}
    assert ((one.ids == -1) == (one.group > 0)).all()


def test_scene_layout__lists_the_instances_of_the_picture() -> None:
    layout = scene_layout(seed=0, domain="render", split="train", index=1)
    shown = scene("render", 1).labels
    assert set(shown.tolist()) <= set(layout.labels)
    two_wheelers = sum(label in TWO_WHEELERS for label in layout.labels)
    assert layout.labels.count(RIDER) == two_wheelers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": "photo"}, "domain must be one of render, camera, neutral, got 'photo'"),
        ({"parts": frozenset({"fog"})}, r"parts must be among rig, .* got \['fog'\]"),
        ({"seed": -1}, "seed and index must be 0 or more, got -1 and 0"),
        ({"size": (16, 256)}, r"size must be at least \(32, 32\), got \(16, 256\)"),
    ],
    ids=["domain", "parts", "seed", "size"],
)
def test_render_scene__names_bad_arguments(change: dict[str, object], message: str) -> None:
    key = {"seed": 0, "domain": "camera", "split": "train", "index": 0, "size": SIZE}
    with pytest.raises(ValueError, match=message):
        render_scene(**(key | change))  # type: ignore[arg-type]
