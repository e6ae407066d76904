"""Training items: a source image and a target image, read and augmented for one draw.

Target labels are read in mode "labelled" alone (the oracle); in the others the target tree is
opened without them. Source images without any object stay in: they teach what is background. (The
authors drop source images that have no object of their category module.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from uda4inst.classes import IGNORE_TRAIN_ID, NUM_THINGS, THING_NAMES
from uda4inst.data.class_counts import class_counts
from uda4inst.data.config import DataConfig, DatasetRef, TargetRef
from uda4inst.data.ego_vehicle import valid_region
from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.data.readers import DATASETS
from uda4inst.data.records import InstanceArrays, check_same_size
from uda4inst.data.stream.items import (
    ItemInstances,
    ItemSemantic,
    LabelledItem,
    RawItem,
    TargetItem,
)
from uda4inst.data.stream.sampling import (
    RareClassSampler,
    Stream,
    shuffled_index,
    stream_generator,
)
from uda4inst.data.tree import ImageTree, without
from uda4inst.errors import UserError
from uda4inst.ops.color import LabStatistics, align_to_statistics, lab_statistics
from uda4inst.ops.geometric import GeometricPolicy, Transform
from uda4inst.ops.photometric import Distortion
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
        self._classes = None if classes is None or len(classes) == NUM_THINGS else classes
        self._labels: Labels = labels
        if labels == "semantic":
            learned_ref = config.target if mode == "labelled" else config.source
            _refuse_choices_by_instance(config, learned_ref, self._classes)
        self._pairing = config.pairing
        self._photometric = config.photometric
        self._seed = seed
        self._policy = GeometricPolicy(
            crop=config.crop,
            short_sides=config.short_sides,
            long_side_max=config.long_side_max,
            flip=config.flip,
        )
        self._target_ref: TargetRef = config.target
        self._valid: dict[Size, Bool[np.ndarray, "H W"]] = {}
        trees = trees or open_trees(config, mode=mode, labels=labels)
        self._source = trees.source
        self._target = None if mode == "source" else trees.target
        self._mode = mode
        learned = self._source if mode in ("source", "pair") else self._target
        assert learned is not None
        self._learned, self._rare_sampler = self._choose_images(learned, config)
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
            position = self._target_index(draw, len(self._learned))
            index = int(self._learned[position])
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
        return self._labelled_item(dataset, index, generator, align=self._reference is not None)

    def _choose_images(
        self, dataset: ImageTree, config: DataConfig
    ) -> tuple[Int64[np.ndarray, " M"], RareClassSampler | None]:
        """Return which labelled images are shown, and what draws them by class if that is wanted.

        The sampler counts within the images shown.
        """
        everything = np.arange(len(dataset))
        if self._labels == "semantic":
            return everything, None
        temperature = config.rare_class_temperature if dataset is self._source else None
        if temperature is None and not config.skip_empty:
            return everything, None
        counts = class_counts(dataset)
        if self._classes is not None:
            counts = counts[:, list(self._classes)]
        shown = everything[counts.any(axis=1)] if config.skip_empty else everything
        if not counts.any():
            wanted = ", ".join(THING_NAMES[i] for i in self._classes or range(NUM_THINGS))
            raise UserError(
                f"images to learn from must show an object ({wanted}), got none in {len(counts)} "
                f"({dataset.root}). Check it with `uda4inst data stats`, or loosen its filters."
            )
        if temperature is None:
            return shown, None
        return shown, RareClassSampler(counts[shown], temperature=temperature, seed=self._seed)

    def _source_index(self, draw: int) -> int:
        """Return the source image of a draw."""
        if self._rare_sampler is not None:
            return int(self._learned[self._rare_sampler(draw)])
        position = shuffled_index(
            draw, count=len(self._learned), stream=Stream.SOURCE_ORDER, seed=self._seed
        )
        return int(self._learned[position])

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
        align: bool = False,
    ) -> LabelledItem:
        """Read and augment an image with its labels."""
        record = dataset.records[index]
        image = dataset.read_image(index)
        transform = self._policy.draw(_size(image), generator)
        labels = self._moved_labels(dataset, index, transform, _size(image))
        if align:
            image = self._aligned(image, index)
        return LabelledItem(
            image=self._augment(image, transform, generator),
            sample_id=record.sample_id,
            labels=labels,
        )

    def _moved_labels(
        self, dataset: ImageTree, index: int, transform: Transform, size: Size
    ) -> ItemInstances | ItemSemantic:
        """Read the labels that are asked for, and move them with their picture."""
        record = dataset.records[index]
        if self._labels == "semantic":
            semantic = dataset.read_semantic(index)
            check_same_size(record, size, semantic.shape)
            moved = transform.map(semantic, fill=IGNORE_TRAIN_ID)
            return ItemSemantic(torch.from_numpy(np.ascontiguousarray(moved)))
        instances = dataset.read_instances(index)
        check_same_size(record, size, instances.ids.shape)
        if self._classes is not None:
            others = ~np.isin(instances.labels, self._classes)
            instances = without(instances, others, fill=0)
        ids, kept = _move_instances(instances, transform)
        return ItemInstances(torch.from_numpy(ids), torch.from_numpy(kept))

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


def _refuse_choices_by_instance(
    config: DataConfig, learned: DatasetRef, classes: Sequence[int] | None
) -> None:
    """Raise where a setting that needs instances is made for training on semantic maps.

    `data.skip_empty` is no such choice: every image has classes to learn.
    """
    offenders = [
        name
        for name, given in (
            ("method.classes", classes is not None),
            ("data.rare_class_temperature", config.rare_class_temperature is not None),
            ("max_occlusion, max_truncation or min_area", learned.object_filter.is_active),
        )
        if given
    ]
    if offenders:
        raise UserError(
            "settings that choose by instance must be empty where semantic maps are learned, got "
            f"{' and '.join(offenders)} ({learned.root}). Leave them out."
        )


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
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)


def _size(image: UInt8[np.ndarray, "H W 3"]) -> Size:
    """Return (height, width)."""
    return image.shape[0], image.shape[1]
