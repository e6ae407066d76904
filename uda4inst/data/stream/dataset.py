"""Training items: a source image and a target image, read and augmented for one draw.

Target labels are read in mode "labelled" alone (the oracle); in the others the target tree is
opened without them. Source images without any object stay in: they teach what is background. (The
authors drop source images that have no object of their category module.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from uda4inst.classes import IGNORE_TRAIN_ID, NUM_THINGS
from uda4inst.data.config import DataConfig, DatasetRef, TargetRef
from uda4inst.data.ego_vehicle import valid_region
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.readers import DATASETS
from uda4inst.data.records import InstanceArrays, check_same_size, without
from uda4inst.data.stream.choice import choose_images, refuse_foreign_choices
from uda4inst.data.stream.items import (
    ItemInstances,
    ItemSemantic,
    LabelledItem,
    RawItem,
    TargetItem,
)
from uda4inst.data.stream.sampling import Stream, shuffled_index, stream_generator
from uda4inst.data.stream.source_crops import CropRules
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.ops.color import LabStatistics, align_to_statistics, lab_statistics
from uda4inst.ops.geometric import GeometricPolicy, Transform
from uda4inst.ops.photometric import Distortion
from uda4inst.ops.unit_floats import unit_floats
from uda4inst.structures import Domain, Labels, Size

Mode = Literal["source", "pair", "labelled"]


def has_labels(ref: DatasetRef, labels: Labels) -> bool:
    """Whether data sets of a format have such labels."""
    kind = DATASETS[ref.format]
    return kind.has_labels and (labels == "semantic" or kind.has_instances)


def open_dataset(ref: DatasetRef, *, domain: Domain, labels: Labels | None) -> ImageTree:
    """Open the data set a configuration names.

    Args:
        ref: format, root, split.
        domain: which side of the adaptation it is.
        labels: which of its labels will be read; None never looks at label files.

    Raises:
        UserError: the tree is missing or incomplete, or has no such labels.
    """
    kind = DATASETS[ref.format]
    if labels == "instances" and kind.has_labels and not kind.has_instances:
        raise UserError(
            f"data set must have instances here, got {kind.name}, which has none ({ref.root}). "
            "Choose another format, or a network of semantic segmentation (model.preset)."
        )
    return kind(
        Path(ref.root),
        ref.split,
        require_labels=labels is not None,
        domain=domain,
        options=ref.options(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The data sets that training items come from, opened once; None where the mode has none.

    Args:
        source: with labels.
        target: with labels where they are learned from; also what offline alignment looks at.
    """

    source: ImageTree | None
    target: ImageTree | None

    @property
    def opened(self) -> tuple[ImageTree, ...]:
        """Those there are."""
        return tuple(tree for tree in (self.source, self.target) if tree is not None)


def open_trees(config: DataConfig, *, mode: Mode, labels: Labels) -> Trees:
    """Open the data sets that a mode shows; no image is looked at.

    Args:
        config: which trees.
        mode: see `PairedDataset`.
        labels: which labels will be read.

    Raises:
        UserError: a tree is missing or incomplete, or has no such labels.
    """
    source = target = None
    if mode != "labelled":
        source = open_dataset(config.source, domain="source", labels=labels)
    if mode != "source" or config.align_offline:
        wanted = labels if mode == "labelled" else None
        target = open_dataset(config.target, domain="target", labels=wanted)
    return Trees(source, target)


@dataclass(frozen=True, slots=True, eq=False)
class TargetCrop:
    """An unlabelled training crop and how it was cut.

    Args:
        index: of its image in the target's tree.
        transform: that the image went through; labels that go through it lie on the crop.
        item: the crop.
    """

    index: int
    transform: Transform
    item: TargetItem


class PairedDataset(Dataset[RawItem]):
    """The endless stream of training items; item d is a function of (seed, d) alone.

    Args:
        config: trees and augmentation.
        mode: "source" (labelled source images), "pair" (the same with unlabelled target images) or
            "labelled" (target images with their labels, for the oracle).
        seed: the run's seed.
        labels: which labels items carry; others are neither decoded nor moved.
        classes: thing indices to learn; instances of others become background. None for all.
        trees: of `open_trees` with the same mode and labels; None opens them.

    Raises:
        UserError: a tree is missing or incomplete, or shows none of the classes; a choice by
            instances is asked for without them; reading an item: a file is damaged.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        mode: Mode,
        seed: int,
        labels: Labels,
        classes: Sequence[int] | None = None,
        trees: Trees | None = None,
    ) -> None:
        self._labels: Labels = labels
        learned_ref = config.target if mode == "labelled" else config.source
        self._pairing = config.pairing
        self._photometric = config.photometric
        self._seed = seed
        self._policy = GeometricPolicy(
            crop=config.crop,
            short_sides=config.short_sides,
            long_side_max=config.long_side_max,
            flip=config.flip,
        )
        sides = config.source_short_sides
        self._source_policy = (
            self._policy if sides is None else replace(self._policy, short_sides=sides)
        )
        self._target_ref: TargetRef = config.target
        self._valid: dict[Size, Bool[np.ndarray, "H W"]] = {}
        some = None if classes is None or len(classes) >= NUM_THINGS else classes
        refuse_foreign_choices(config, learned_ref, some, labels)
        trees = trees or open_trees(config, mode=mode, labels=labels)
        self._source = trees.source
        self._target = None if mode == "source" else trees.target
        self._mode = mode
        learned = self._source if mode in ("source", "pair") else self._target
        assert learned is not None
        every = len(learned.thing_classes)
        self._classes = None if classes is None or len(classes) == every else classes
        self._choice = choose_images(
            learned,
            config,
            labels=labels,
            classes=self._classes,
            is_source=learned is self._source,
            seed=seed,
        )
        self._crop_rules = self._rules(config)
        self._reference: ImageTree | None = None
        self._reference_statistics: dict[int, LabStatistics] = {}
        if config.align_offline and self._source is not None:
            self._reference = trees.target
        if self._target is not None:  # a mask that does not fit is told now, not in a worker
            self._valid_region(self._target.size_of(0))

    def __getitem__(self, draw: int) -> RawItem:
        """Return the item of one draw, read and augmented.

        Raises:
            UserError: a file is missing, damaged, or does not fit its image.
        """
        source = None if self._source is None else self._source_item(self._source, draw)
        if self._target is None:
            return RawItem(source=source)
        if self._mode == "labelled":
            generator = stream_generator(Stream.TARGET_AUGMENTATION, seed=self._seed, number=draw)
            position = self._target_index(draw, len(self._choice.shown))
            index = int(self._choice.shown[position])
            return RawItem(labelled=self._labelled_item(self._target, index, generator))
        return RawItem(source=source, target=self.target_crop(draw).item)

    def target_crop(self, draw: int) -> TargetCrop:
        """Return the target crop of a draw in mode "pair", and how it was cut.

        Raises:
            UserError: a file is missing or damaged.
        """
        assert self._target is not None
        generator = stream_generator(Stream.TARGET_AUGMENTATION, seed=self._seed, number=draw)
        index = self._target_index(draw, len(self._target))
        return self._target_crop(self._target, index, generator)

    def _source_item(self, dataset: ImageTree, draw: int) -> LabelledItem:
        """Read and augment the source image of a draw."""
        generator = stream_generator(Stream.SOURCE_AUGMENTATION, seed=self._seed, number=draw)
        index = self._source_index(draw)
        align = self._reference is not None
        return self._labelled_item(dataset, index, generator, draw=draw, align=align)

    def _rules(self, config: DataConfig) -> CropRules | None:
        """Return what source crops must show; None where anything will do."""
        by_class = self._choice.by_class is not None
        if self._labels != "semantic" or not (by_class or config.max_class_share is not None):
            return None
        return CropRules(
            self._source_policy,
            max_class_share=config.max_class_share,
            class_pixels=config.rare_class_pixels / 2,
        )

    def _source_index(self, draw: int) -> int:
        """Return the source image of a draw."""
        shown, by_class = self._choice.shown, self._choice.by_class
        if by_class is not None:
            return int(shown[by_class(draw)])
        position = shuffled_index(
            draw, count=len(shown), stream=Stream.SOURCE_ORDER, seed=self._seed
        )
        return int(shown[position])

    def _target_index(self, draw: int, count: int) -> int:
        """Return the target image of a draw: its own, or the source image's partner."""
        if self._pairing == "modulo" and self._source is not None:
            return self._source_index(draw) % count
        return shuffled_index(draw, count=count, stream=Stream.TARGET_ORDER, seed=self._seed)

    def _labelled_item(
        self,
        dataset: ImageTree,
        index: int,
        generator: np.random.Generator,
        *,
        draw: int | None = None,
        align: bool = False,
    ) -> LabelledItem:
        """Read and augment an image with its labels; a source image's draw chooses its crop."""
        record = dataset.records[index]
        image = dataset.read_image(index)
        read = self._read_labels(dataset, index, _size(image))
        rules = None if draw is None else self._crop_rules
        if rules is None or draw is None or isinstance(read, InstanceArrays):
            policy = self._source_policy if dataset is self._source else self._policy
            transform = policy.draw(_size(image), generator)
        else:
            again = stream_generator(Stream.CROP_AGAIN, seed=self._seed, number=draw)
            by_class = self._choice.by_class
            wanted = None if by_class is None else by_class.choose(draw)[0]
            transform = rules.draw(read, wanted=wanted, generator=generator, again=again)
        if align:
            image = self._aligned(image, index)
        return LabelledItem(
            image=self._augment(image, transform, generator),
            sample_id=record.sample_id,
            labels=_moved_labels(read, transform),
        )

    def _read_labels(
        self, dataset: ImageTree, index: int, size: Size
    ) -> InstanceArrays | UInt8[np.ndarray, "H W"]:
        """Read the labels that are asked for, of an image of this size."""
        record = dataset.records[index]
        if self._labels == "semantic":
            semantic = dataset.read_semantic(index)
            check_same_size(record, size, semantic.shape)
            return semantic
        instances = dataset.read_instances(index)
        check_same_size(record, size, instances.ids.shape)
        if self._classes is None:
            return instances
        return without(instances, ~np.isin(instances.labels, self._classes), fill=0)

    def _aligned(self, image: UInt8[np.ndarray, "H W 3"], index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return a source image with the LAB statistics of the target image drawn for it."""
        assert self._reference is not None
        generator = stream_generator(Stream.COLOR_REFERENCE, seed=self._seed, number=index)
        chosen = int(generator.integers(len(self._reference)))
        if chosen not in self._reference_statistics:
            reference = _as_float(self._reference.read_image(chosen))
            self._reference_statistics[chosen] = lab_statistics(reference)
        aligned = align_to_statistics(_as_float(image), self._reference_statistics[chosen])
        return aligned.mul_(255).round_().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def _target_crop(
        self, dataset: ImageTree, index: int, generator: np.random.Generator
    ) -> TargetCrop:
        """Read and augment an image alone."""
        image = dataset.read_image(index)
        transform = self._policy.draw(_size(image), generator)
        valid = transform.map(self._valid_region(_size(image)), fill=False)
        item = TargetItem(
            image=self._augment(image, transform, generator),
            valid=torch.from_numpy(valid),
            sample_id=dataset.records[index].sample_id,
        )
        return TargetCrop(index, transform, item)

    def _augment(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        transform: Transform,
        generator: np.random.Generator,
    ) -> UInt8[Tensor, "3 h w"]:
        """Return the picture moved and distorted, channels first."""
        moved = transform.image(image)
        if self._photometric:
            moved = Distortion.draw(generator).apply(moved)
        return torch.from_numpy(np.ascontiguousarray(moved.transpose(2, 0, 1)))

    def _valid_region(self, size: Size) -> Bool[np.ndarray, "H W"]:
        """Return the target's valid region at an image size, read once."""
        if size not in self._valid:
            self._valid[size] = valid_region(self._target_ref, size)
        return self._valid[size]


def _moved_labels(
    read: InstanceArrays | UInt8[np.ndarray, "H W"], transform: Transform
) -> ItemInstances | ItemSemantic:
    """Return labels moved with their picture."""
    if isinstance(read, InstanceArrays):
        ids, kept = _move_instances(read, transform)
        return ItemInstances(torch.from_numpy(ids), torch.from_numpy(kept))
    moved = transform.map(read, fill=IGNORE_TRAIN_ID)
    return ItemSemantic(torch.from_numpy(np.ascontiguousarray(moved)))


def _move_instances(
    labels: InstanceArrays, transform: Transform
) -> tuple[Int32[np.ndarray, "h w"], Int64[np.ndarray, " N"]]:
    """Return the moved id map and labels, renumbered without the instances that left the crop."""
    runs = RunLengths.of(transform.ids(labels.ids))
    is_instance = runs.present > 0
    numbers = np.where(is_instance, is_instance.cumsum(), runs.present)
    return runs.paint(numbers.astype(np.int32)), labels.labels[runs.present[is_instance] - 1]


def _as_float(image: UInt8[np.ndarray, "H W 3"]) -> Float32[Tensor, "3 H W"]:
    """Return an image as floats in [0, 1], channels first."""
    return unit_floats(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))


def _size(image: UInt8[np.ndarray, "H W 3"]) -> Size:
    """Return (height, width)."""
    return image.shape[0], image.shape[1]
