"""Class maps on data sets whose classes are the eight, against maps applied by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_trees import SIZE

from uda4inst.classes import BACKGROUND_LABEL_ID, THING_NAMES
from uda4inst.data.readers.cityscapes import Cityscapes
from uda4inst.data.readers.gta5 import GTA5
from uda4inst.data.readers.urbansyn import UrbanSyn
from uda4inst.data.reports.statistics import collect_statistics
from uda4inst.data.tree import DatasetOptions, ImageTree, ObjectFilter
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap
from uda4inst.toystreets.write import ToyStreetsTree

PERSON, RIDER, CAR, TRAIN = (THING_NAMES.index(n) for n in ("person", "rider", "car", "train"))
MERGED = {name: name for name in THING_NAMES} | {"rider": "person", "train": None}


def class_map(names: dict[str, str | None]) -> ClassMap:
    return ClassMap(tuple(sorted(names.items())), "map.yaml")


def opened(kind: type[ImageTree], root: Path, **changes: object) -> tuple[ImageTree, ImageTree]:
    """Return a tree as it is, and with riders as persons and trains as background."""
    options = DatasetOptions(class_map=class_map(MERGED), **changes)  # type: ignore[arg-type]
    return kind(root, options=DatasetOptions(**changes)), kind(root, options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [UrbanSyn, Cityscapes])
def test_read_labels__classes_are_those_of_the_map(
    tree: ToyStreetsTree, kind: type[ImageTree]
) -> None:
    root = tree.source_root if kind is UrbanSyn else tree.target_root
    plain, mapped = opened(kind, root)
    trains = riders = 0
    for index in range(len(plain)):
        before, after = plain.read_labels(index), mapped.read_labels(index)
        is_kept = before.labels != TRAIN
        trains, riders = trains + sum(~is_kept), riders + sum(before.labels == RIDER)
        expected = np.where(before.labels == RIDER, PERSON, before.labels)[is_kept]
        assert after.labels.tolist() == expected.tolist()
        lost = np.isin(before.ids, np.flatnonzero(~is_kept) + 1)
        assert (after.ids[lost] == 0).all()
        np.testing.assert_array_equal(after.ids > 0, (before.ids > 0) & ~lost)
        np.testing.assert_array_equal(after.ids == -1, before.ids == -1)
        semantic = before.semantic.copy()
        semantic[semantic == 11 + RIDER] = 11 + PERSON
        semantic[semantic == 11 + TRAIN] = 255
        np.testing.assert_array_equal(after.semantic, semantic)
        np.testing.assert_array_equal(mapped.read_semantic(index), semantic)
        np.testing.assert_array_equal(mapped.read_instances(index).labels, after.labels)
    assert trains > 0
    assert riders > 0


def test_read_objects__facts_stay_with_their_objects(tree: ToyStreetsTree) -> None:
    plain, mapped = opened(UrbanSyn, tree.source_root)
    for index in range(len(plain)):
        (before, facts), (after, kept) = plain.read_objects(index), mapped.read_objects(index)
        is_kept = before.labels != TRAIN
        assert len(after.labels) == is_kept.sum()
        np.testing.assert_array_equal(kept.occlusion, facts.occlusion[is_kept])


def test_read_labels__what_a_filter_leaves_out_stays_ignored(tree: ToyStreetsTree) -> None:
    plain, mapped = opened(UrbanSyn, tree.source_root, objects=ObjectFilter(min_area=90))
    for index in range(len(plain)):
        before, after = plain.read_labels(index), mapped.read_labels(index)
        np.testing.assert_array_equal(after.ids == -1, before.ids == -1)


def test_read_instance_ids__are_judged_by_the_mapped_classes(tree: ToyStreetsTree) -> None:
    _, mapped = opened(Cityscapes, tree.target_root)
    raw = np.concatenate([mapped.read_instance_ids(i).ravel() for i in range(len(mapped))])
    assert raw.size == len(mapped) * SIZE[0] * SIZE[1]
    assert not np.isin(raw // 1000, [25, 31]).any()  # rider, train
    assert np.isin(raw // 1000, [24]).any()


def test_read_instance_ids__a_class_mapped_to_nothing_is_background_not_void(
    tree: ToyStreetsTree,
) -> None:
    for kind, root in ((Cityscapes, tree.target_root), (UrbanSyn, tree.source_root)):
        plain, mapped = opened(kind, root)
        before = np.stack([plain.read_instance_ids(i) for i in range(len(plain))])
        after = np.stack([mapped.read_instance_ids(i) for i in range(len(mapped))])
        was_train = (before // 1000 == 31) | (before == 31)
        assert was_train.any()
        assert (after[was_train] == BACKGROUND_LABEL_ID).all()
        assert (after[~was_train] != BACKGROUND_LABEL_ID).all()


def test_statistics__class_that_is_mapped_away_cannot_occur(tree: ToyStreetsTree) -> None:
    plain, mapped = opened(UrbanSyn, tree.source_root)
    counts = [[c.instances for c in collect_statistics(t, workers=0).classes]
              for t in (plain, mapped)]  # fmt: skip
    assert counts[1][PERSON] == counts[0][PERSON] + counts[0][RIDER]
    assert (counts[1][RIDER], counts[1][TRAIN], counts[1][CAR]) == (0, 0, counts[0][CAR])
    assert mapped.possible_things == (0, 2, 3, 4, 6, 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"dog": None}, "unknown 'dog'", id="unknown"),
        pytest.param({"car": ...}, "no word of 'car'", id="unnamed"),
    ],
)
def test_open__map_must_name_every_class_and_no_other(
    tree: ToyStreetsTree, changes: dict[str, object], words: str
) -> None:
    names = {k: v for k, v in (MERGED | changes).items() if v is not ...}
    options = DatasetOptions(class_map=class_map(names))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"every class of UrbanSyn.*map\.yaml") as caught:
        UrbanSyn(tree.source_root, options=options)
    assert words in str(caught.value)
    assert len(UrbanSyn(tree.source_root, require_labels=False, options=options)) == 6


def test_open__format_without_objects_has_nothing_to_map(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every class of GTA5"):
        GTA5(tmp_path, options=DatasetOptions(class_map=class_map(MERGED)))
