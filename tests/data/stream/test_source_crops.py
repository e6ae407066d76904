"""Source crops that must show something: by the rules, by draw alone, and off unless asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from uda4inst.data.config import DataConfig
from uda4inst.data.readers import UrbanSyn
from uda4inst.data.stream.choice import choose_images
from uda4inst.data.stream.dataset import PairedDataset
from uda4inst.data.stream.items import ItemSemantic
from uda4inst.data.stream.source_crops import CropRules
from uda4inst.errors import UserError
from uda4inst.ops.geometric import GeometricPolicy, Transform
from uda4inst.structures import Labels
from uda4inst.toystreets.write import ToyStreetsTree

Make = Callable[..., DataConfig]

POLICY = GeometricPolicy(crop=(4, 4), short_sides=(8, 12), long_side_max=100, flip=True)
CAR = 13


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDA4INST_CACHE", str(tmp_path / "cache"))


def generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1))


def scene() -> NDArray[np.uint8]:
    """Road with a car in a corner, sidewalk on the right, and an ignored strip."""
    semantic = np.zeros((8, 16), dtype=np.uint8)
    semantic[:, 12:] = 1
    semantic[:, 8:10] = 255
    semantic[5:, :3] = CAR
    return semantic


def cut(transform: Transform, semantic: NDArray[np.uint8]) -> list[int]:
    return transform.map(semantic, fill=255).ravel().tolist()


def largest_share(pixels: list[int]) -> float:
    labelled = [pixel for pixel in pixels if pixel != 255]
    if not labelled:
        return 2.0  # nothing to learn: worse than one class alone
    return max(labelled.count(c) for c in labelled) / len(labelled)


def slow_draw(
    rules: CropRules,
    semantic: NDArray[np.uint8],
    wanted: int | None,
    first: np.random.Generator,
    again: np.random.Generator,
) -> Transform:
    """The rules as their papers' code has them: crops anew within draws anew."""
    drawn = POLICY.draw((8, 16), first)
    for attempt in range(11):
        if attempt > 0:
            drawn = POLICY.draw((8, 16), again)
        if rules.max_class_share is not None:
            for _ in range(10):
                if largest_share(cut(drawn, semantic)) <= rules.max_class_share:
                    break
                drawn = POLICY.draw_place(drawn, again)
        if wanted is None or cut(drawn, semantic).count(wanted) > rules.class_pixels:
            break
    return drawn


@pytest.mark.parametrize("wanted", [None, CAR], ids=["plain", "for a class"])
@pytest.mark.parametrize("share", [None, 0.75], ids=["anywhere", "no class alone"])
def test_crop_rules__draw_as_a_slow_reference(wanted: int | None, share: float | None) -> None:
    rules = CropRules(POLICY, max_class_share=share, class_pixels=4)
    for seed in range(60):
        first, again = generators(seed)
        fast = rules.draw(scene(), wanted=wanted, generator=first, again=again)
        assert fast == slow_draw(rules, scene(), wanted, *generators(seed))


def test_crop_rules__more_crops_show_what_they_should() -> None:
    rules = CropRules(POLICY, max_class_share=0.75, class_pixels=2)
    plain, ruled = [], []
    for seed in range(100):
        first, again = generators(seed)
        ruled.append(cut(rules.draw(scene(), wanted=CAR, generator=first, again=again), scene()))
        plain.append(cut(POLICY.draw((8, 16), generators(seed)[0]), scene()))
    shows = [sum(crop.count(CAR) > 2 for crop in crops) for crops in (plain, ruled)]
    assert shows[0] < 40 < 90 < shows[1]
    assert sum(largest_share(crop) > 0.75 for crop in ruled) < 10


def test_crop_rules__a_rule_nothing_keeps_takes_the_last_and_stops() -> None:
    one_class = np.zeros((8, 16), dtype=np.uint8)
    rules = CropRules(POLICY, max_class_share=0.5, class_pixels=4)
    first, again = generators(0)
    drawn = rules.draw(one_class, wanted=CAR, generator=first, again=again)
    expected_first, expected_again = generators(0)
    transform = POLICY.draw((8, 16), expected_first)
    for attempt in range(11):
        if attempt:
            transform = POLICY.draw((8, 16), expected_again)
        for _ in range(10):
            transform = POLICY.draw_place(transform, expected_again)
    assert drawn == transform


def test_crop_rules__later_numbers_do_not_depend_on_them() -> None:
    left = []
    for share in (None, 0.5):
        first, again = generators(3)
        rules = CropRules(POLICY, max_class_share=share, class_pixels=1)
        rules.draw(scene(), wanted=CAR, generator=first, again=again)
        left.append(first.random())
    assert left[0] == left[1]


def pixels_of(dataset: PairedDataset, draw: int) -> NDArray[np.int64]:
    """Pixels of every class in the source crop of a draw."""
    item = dataset[draw].source
    assert item is not None
    assert isinstance(item.labels, ItemSemantic)
    return np.bincount(item.labels.ids.numpy().ravel(), minlength=256)[:19]


def rarest(dataset: UrbanSyn) -> int:
    maps = [dataset.read_semantic(i) for i in range(len(dataset))]
    totals = np.bincount(np.stack(maps).ravel(), minlength=256)[:19]
    return int(np.where(totals, totals, totals.max() + 1).argmin())


def test_paired_dataset__semantic_crops_show_rare_classes(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    rare = rarest(UrbanSyn(tree.source_root))
    changes = {"rare_class_temperature": 0.01, "rare_class_pixels": 8}
    plain = PairedDataset(make_config(tree), mode="source", seed=3, labels="semantic")
    drawn = PairedDataset(make_config(tree, **changes), mode="source", seed=3, labels="semantic")
    shown = [[pixels_of(items, d)[rare] > 4 for d in range(24)] for items in (plain, drawn)]
    assert sum(shown[0]) < sum(shown[1])
    again = PairedDataset(make_config(tree, **changes), mode="pair", seed=3, labels="semantic")
    assert [pixels_of(again, d).tolist() for d in (7, 2)] == [
        pixels_of(drawn, d).tolist() for d in (7, 2)
    ]


def test_paired_dataset__crops_of_one_class_are_cut_elsewhere(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    few = {"crop": (32, 32), "short_sides": (60,)}
    over = {}
    for share in (None, 0.6):
        config = make_config(tree, max_class_share=share, **few)
        items = PairedDataset(config, mode="source", seed=3, labels="semantic")
        counts = np.stack([pixels_of(items, d) for d in range(24)])
        over[share] = int((counts.max(axis=1) > 0.6 * counts.sum(axis=1)).sum())
    assert over[0.6] < over[None]


def test_paired_dataset__rules_leave_targets_and_the_oracle_alone(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    changes = {"rare_class_temperature": 0.01, "rare_class_pixels": 8, "max_class_share": 0.5}
    for mode, part in (("pair", "target"), ("labelled", "labelled")):
        plain, ruled = (
            PairedDataset(make_config(tree, **given), mode=mode, seed=3, labels="semantic")  # type: ignore[arg-type]
            for given in ({}, changes)
        )
        for draw in range(6):
            one, other = getattr(plain[draw], part), getattr(ruled[draw], part)
            assert one.sample_id == other.sample_id
            assert torch.equal(one.image, other.image)


def test_paired_dataset__a_class_no_image_shows_enough_of_is_told(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, rare_class_temperature=0.01)
    source = UrbanSyn(tree.source_root)
    counts = np.stack(
        [np.bincount(source.read_semantic(i).ravel(), minlength=256)[:19] for i in range(6)]
    )
    highest = counts.max(axis=0)
    lowest = int(highest[highest > 0].min())
    with pytest.raises(UserError, match=rf"data.rare_class_pixels below {lowest}, or leave"):
        PairedDataset(config, mode="source", seed=0, labels="semantic")
    enough = config.model_copy(update={"rare_class_pixels": lowest - 1})
    PairedDataset(enough, mode="source", seed=0, labels="semantic")
    with pytest.raises(UserError, match=f"at most {lowest}"):
        PairedDataset(
            config.model_copy(update={"rare_class_pixels": lowest}),
            mode="source",
            seed=0,
            labels="semantic",
        )


def test_paired_dataset__the_pixel_rule_does_nothing_to_instances(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    chosen = [
        choose_images(
            UrbanSyn(tree.source_root),
            make_config(tree, rare_class_temperature=0.1, rare_class_pixels=pixels),
            labels="instances",
            classes=None,
            is_source=True,
            seed=4,
        )
        for pixels in (3000, 1)
    ]
    drawn = [[c.by_class.choose(d) for d in range(50)] for c in chosen if c.by_class is not None]
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]


def test_paired_dataset__a_share_is_refused_for_instances(
    tree: ToyStreetsTree, make_config: Make
) -> None:
    config = make_config(tree, max_class_share=0.75)
    with pytest.raises(UserError, match=r"data.max_class_share must be empty where instances"):
        PairedDataset(config, mode="source", seed=0, labels="instances")


@pytest.mark.parametrize("labels", ["semantic"])
def test_paired_dataset__a_source_without_labels_is_told(
    tree: ToyStreetsTree, make_config: Make, labels: Labels
) -> None:
    source = {"format": "images", "root": str(tree.source_root / "rgb"), "split": "train"}
    config = make_config(tree, source=source, rare_class_temperature=0.01)
    with pytest.raises(UserError, match="data set must have labels here, got"):
        PairedDataset(config, mode="source", seed=0, labels=labels)


def test_paired_dataset__a_source_whose_labels_are_all_ignored_is_told(
    own_tree: ToyStreetsTree, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: UrbanSyn, index: int) -> NDArray[np.uint8]:
        return np.full((48, 96), 255, dtype=np.uint8)

    monkeypatch.setattr(UrbanSyn, "read_semantic", nothing)
    config = make_config(own_tree, rare_class_temperature=0.01)
    with pytest.raises(UserError, match="must have labelled pixels, got none in 6"):
        PairedDataset(config, mode="source", seed=0, labels="semantic")
