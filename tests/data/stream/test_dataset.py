"""Training items: determined by (seed, draw), labels and pictures moved alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from uda4inst.data.config import DataConfig
from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.data.stream.dataset import (
    Mode,
    PairedDataset,
    open_dataset,
)
from uda4inst.data.stream.items import (
    ItemInstances,
    ItemSemantic,
    LabelledItem,
    RawItem,
    TargetItem,
)
from uda4inst.errors import UserError
from uda4inst.ops.color import align_to_statistics, lab_statistics
from uda4inst.structures import Labels
from uda4inst.toystreets.write import ToyStreetsTree

Make = Callable[..., DataConfig]


def equal(first: RawItem, second: RawItem) -> bool:
    """Whether two items are the same bit for bit."""
    return all(
        same(getattr(first, part), getattr(second, part))
        for part in ("source", "target", "labelled")
    )


def same(first: object, second: object) -> bool:
    """Whether two parts of items are the same bit for bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, (LabelledItem, TargetItem, ItemInstances, ItemSemantic)):
        return type(second) is type(first) and all(
            same(getattr(first, name), getattr(second, name)) for name in type(first).__slots__
        )
    return first == second


def instances_of(item: LabelledItem | None) -> ItemInstances:
    """Return the instances of an item, which must be there."""
    assert item is not None
    assert isinstance(item.labels, ItemInstances)
    return item.labels


def semantic_of(item: LabelledItem | None) -> torch.Tensor:
    """Return the semantic map of an item, which must be there."""
    assert item is not None
    assert isinstance(item.labels, ItemSemantic)
    return item.labels.ids


@pytest.mark.parametrize("labels", ["instances", "semantic"])
@pytest.mark.parametrize("mode", ["source", "pair", "labelled"])
def test_paired_dataset__items_follow_from_seed_and_draw(
    tree: ToyStreetsTree, make_config: Make, mode: Mode, labels: Labels
) -> None:
    first, second = (
        PairedDataset(make_config(tree), mode=mode, seed=3, labels=labels) for _ in range(2)
    )
    for draw in (0, 5, 17):
        assert equal(first[draw], second[draw])
    assert not equal(
        first[0], PairedDataset(make_config(tree), mode=mode, seed=4, labels=labels)[0]
    )


def test_paired_dataset__modes_share_the_source(tree: ToyStreetsTree, make_config: Make) -> None:
    alone = PairedDataset(make_config(tree), mode="source", seed=3, labels="instances")[8]
    paired = PairedDataset(make_config(tree), mode="pair", seed=3, labels="instances")[8]
    assert same(alone.source, paired.source)
    assert (alone.target, paired.labelled) == (None, None)


def test_paired_dataset__the_oracle_sees_the_same_target_pictures(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    target = PairedDataset(make_config(tree), mode="pair", seed=3, labels="instances")[8].target
    labelled = PairedDataset(make_config(tree), mode="labelled", seed=3, labels="instances")[
        8
    ].labelled
    assert target is not None
    assert labelled is not None
    assert torch.equal(target.image, labelled.image)
    assert target.sample_id == labelled.sample_id


def test_paired_dataset__an_epoch_shows_every_image_once(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    items = [
        PairedDataset(make_config(tree), mode="pair", seed=0, labels="instances")[d]
        for d in range(6, 12)
    ]
    assert {i.source.sample_id for i in items if i.source} == {f"rgb_{n:04d}" for n in range(1, 7)}
    assert len({i.target.sample_id for i in items if i.target}) == 6


def test_paired_dataset__modulo_pairs_are_fixed(tree: ToyStreetsTree, make_config: Make) -> None:
    dataset = PairedDataset(
        make_config(tree, pairing="modulo"), mode="pair", seed=0, labels="instances"
    )
    for draw in range(12):
        item = dataset[draw]
        assert item.source is not None
        assert item.target is not None
        number = int(item.source.sample_id.removeprefix("rgb_")) - 1
        assert item.target.sample_id == f"toyville_{number:06d}_000019"


def test_paired_dataset__augmentation_off_gives_the_image_itself(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, crop=(48, 96), short_sides=(48,), flip=False, photometric=False)
    item = PairedDataset(config, mode="source", seed=0, labels="instances")[0].source
    assert item is not None
    read = UrbanSyn(tree.source_root)
    index = int(item.sample_id.removeprefix("rgb_")) - 1
    labels = read.read_labels(index)
    np.testing.assert_array_equal(item.image.numpy().transpose(1, 2, 0), read.read_image(index))
    np.testing.assert_array_equal(instances_of(item).ids.numpy(), labels.ids)
    np.testing.assert_array_equal(instances_of(item).labels.numpy(), labels.labels)
    semantic = PairedDataset(config, mode="source", seed=0, labels="semantic")[0].source
    assert semantic is not None
    assert torch.equal(semantic.image, item.image)
    np.testing.assert_array_equal(semantic_of(semantic).numpy(), labels.semantic)


def test_paired_dataset__labels_are_what_is_in_the_crop(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, short_sides=(60, 90))
    dataset = PairedDataset(config, mode="labelled", seed=0, labels="instances")
    classes = PairedDataset(config, mode="labelled", seed=0, labels="semantic")
    whole = {
        record.sample_id: Cityscapes(tree.target_root, "train").read_labels(index)
        for index, record in enumerate(Cityscapes(tree.target_root, "train").records)
    }
    cropped_away = 0
    for draw in range(24):
        item = dataset[draw].labelled
        assert item is not None
        found, semantic = instances_of(item), semantic_of(classes[draw].labelled)
        present = torch.unique(found.ids)
        assert present[present > 0].tolist() == list(range(1, len(found.labels) + 1))
        # The class of every instance's pixels is the semantic map's.
        for k, label in enumerate(found.labels.tolist(), start=1):
            assert torch.unique(semantic[found.ids == k]).tolist() == [11 + label]
        cropped_away += len(whole[item.sample_id].labels) - len(found.labels)
    assert cropped_away > 0


def test_paired_dataset__padding_is_ignored_and_invalid(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, crop=(64, 128), short_sides=(48,), flip=False)
    item = PairedDataset(config, mode="pair", seed=0, labels="instances")[0]
    assert item.source is not None
    assert item.target is not None
    assert (instances_of(item.source).ids[48:] == -1).all()
    semantic = PairedDataset(config, mode="pair", seed=0, labels="semantic")[0].source
    assert (semantic_of(semantic)[:, 96:] == 255).all()
    assert not item.target.valid[48:].any()


def test_paired_dataset__valid_region_moves_with_the_picture(
    tree: ToyStreetsTree, make_config: Make, fake_render: Callable[..., object]
) -> None:
    # The fake camera pictures show their valid region nowhere, so the oracle's labels tell: the
    # ego vehicle is void and has no objects.
    pair = PairedDataset(make_config(tree), mode="pair", seed=1, labels="instances")
    labelled = PairedDataset(make_config(tree), mode="labelled", seed=1, labels="semantic")
    hidden = 0
    for draw in range(12):
        target, truth = pair[draw].target, labelled[draw].labelled
        assert target is not None
        assert truth is not None
        ego = ~target.valid
        assert (semantic_of(truth)[ego] == 255).all()
        hidden += int(ego.sum())
    assert hidden > 0


def test_paired_dataset__ego_vehicle_of_another_size_is_told_at_once(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    images = sorted((tree.source_root / "ss").iterdir())
    config = make_config(tree)
    other = config.target.model_copy(update={"ego_vehicle": str(images[0].with_name("gone.png"))})
    with pytest.raises(UserError, match="no such file"):
        PairedDataset(
            config.model_copy(update={"target": other}), mode="pair", seed=0, labels="instances"
        )


def test_paired_dataset__draws_rare_classes_more_often(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, rare_class_temperature=0.01, crop=(48, 96), short_sides=(48,))
    source = UrbanSyn(tree.source_root)
    counts = np.stack(
        [np.bincount(source.read_labels(i).labels, minlength=8) for i in range(len(source))]
    )
    totals = counts.sum(axis=0)
    rarest = int(np.where(totals, totals, totals.max() + 1).argmin())
    items = PairedDataset(config, mode="pair", seed=3, labels="instances")
    names = [record.sample_id for record in source.records]
    shown = [names.index(items[draw].source.sample_id) for draw in range(12)]  # type: ignore[union-attr]
    likely = np.isin(shown, np.flatnonzero(counts[:, totals == totals[rarest]].sum(axis=1)))
    assert likely.all()


def test_paired_dataset__offline_alignment_takes_one_target_for_each_source(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    changes = {"flip": False, "photometric": False, "crop": (48, 96), "short_sides": (48,)}
    config = make_config(tree, align_offline=True, **changes)
    items = PairedDataset(config, mode="source", seed=3, labels="instances")
    plain = PairedDataset(make_config(tree, **changes), mode="source", seed=3, labels="instances")
    target = Cityscapes(tree.target_root, "train")
    references = [lab_statistics(as_float(target.read_image(i))) for i in range(len(target))]
    aligned: dict[str, torch.Tensor] = {}
    for draw in range(12):  # two epochs
        item, raw = items[draw].source, plain[draw].source
        assert item is not None
        assert raw is not None
        assert torch.equal(instances_of(item).ids, instances_of(raw).ids)
        expected = [
            align_to_statistics(raw.image.float() / 255, reference) for reference in references
        ]
        distances = [(item.image.float() / 255 - image).abs().max() for image in expected]
        assert min(distances) <= 0.5 / 255 + 1e-6
        known = aligned.setdefault(item.sample_id, item.image)
        assert torch.equal(known, item.image)


def as_float(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255


def test_open_dataset__filters_of_the_configuration(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    source = make_config(tree).source.model_copy(update={"min_area": 60})
    filtered = open_dataset(source, domain="source", labels="instances")
    whole = UrbanSyn(tree.source_root)
    dropped = 0
    for index in range(len(whole)):
        labels, all_labels = filtered.read_labels(index), whole.read_labels(index)
        areas = all_labels.areas()
        assert labels.labels.tolist() == all_labels.labels[areas >= 60].tolist()
        small = np.isin(all_labels.ids, np.flatnonzero(areas < 60) + 1)
        assert (labels.ids[small] == -1).all()
        assert ((labels.ids > 0) == ((all_labels.ids > 0) & ~small)).all()
        dropped += int((areas < 60).sum())
    assert dropped > 0


@pytest.mark.parametrize(
    ("mode", "labels", "unread"),
    [
        ("source", "semantic", "urbansyn/panoptic/*.png"),
        ("labelled", "semantic", "cityscapes/gtFine/train/toyville/*_instanceIds.png"),
        ("labelled", "instances", "cityscapes/gtFine/train/toyville/*_labelIds.png"),
    ],
)
def test_paired_dataset__labels_that_are_not_wanted_are_not_opened(
    own_tree: ToyStreetsTree, make_config: Make, mode: Mode, labels: Labels, unread: str
) -> None:
    config = make_config(own_tree)
    items = PairedDataset(config, mode=mode, seed=0, labels=labels)
    before = items[0]
    files = list(own_tree.source_root.parent.glob(unread))
    assert len(files) == 6
    for path in files:
        path.write_bytes(b"poison")
    assert equal(items[0], before)


def test_paired_dataset__one_group_is_refused_for_semantic_maps(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    with pytest.raises(UserError, match=r"choose by instance must be empty.*got method.classes"):
        PairedDataset(make_config(tree), mode="source", seed=0, labels="semantic", classes=(0, 1))


def test_paired_dataset__object_filters_are_refused_for_semantic_maps(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree)
    source = config.source.model_copy(update={"min_area": 60})
    with pytest.raises(UserError, match="min_area"):
        PairedDataset(
            config.model_copy(update={"source": source}), mode="pair", seed=0, labels="semantic"
        )
