"""Batches for training: bytes leave the workers, floats are made on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import cv2
import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uda4inst.data.config import DataConfig
from uda4inst.data.stream.dataset import (
    Mode,
    PairedDataset,
    Trees,
)
from uda4inst.data.stream.items import (
    ItemInstances,
    ItemSemantic,
    LabelledItem,
    RawItem,
    TargetItem,
)
from uda4inst.data.stream.sampling import StepSampler
from uda4inst.errors import UserError
from uda4inst.ops.unit_floats import unit_floats
from uda4inst.structures import (
    Domain,
    DomainBatch,
    InstanceMap,
    Labels,
    Sample,
    SemanticMap,
    TargetSample,
    moved,
)

_PREFETCH: Final = 2  # batches each worker makes ahead
_Part = TypeVar("_Part", "RawLabelled", "RawTarget", "RawInstances")


@dataclass(frozen=True, slots=True, eq=False)
class RawInstances:
    """The instances of a batch.

    Args:
        ids: id maps, as in `InstanceMap`.
        labels: thing indices of all instances, image after image.
        counts: instances of every image.
    """

    ids: Int32[Tensor, "B H W"]
    labels: Int64[Tensor, " N"]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RawLabelled:
    """Labelled images of a batch with the labels that were asked for, as bytes.

    Args:
        images: RGB.
        sample_ids: the data set's own names.
        instances: of every image, or
        semantic: trainIds, 255 ignore.
    """

    images: UInt8[Tensor, "B 3 H W"]
    sample_ids: tuple[str, ...]
    instances: RawInstances | None = None
    semantic: UInt8[Tensor, "B H W"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RawTarget:
    """Unlabelled images of a batch, as bytes.

    Args:
        images: RGB.
        valid: False on the ego vehicle and where padded.
        sample_ids: the data set's own names.
    """

    images: UInt8[Tensor, "B 3 H W"]
    valid: Bool[Tensor, "B H W"]
    sample_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RawBatch:
    """One step's images as bytes, a quarter of the size of what they become on the device."""

    source: RawLabelled | None = None
    target: RawTarget | None = None
    labelled: RawLabelled | None = None

    def pin_memory(self) -> RawBatch:
        """Return the batch in page-locked memory, from which copies to a GPU run beside it."""
        return RawBatch(
            source=self.source and _pin(self.source),
            target=self.target and _pin(self.target),
            labelled=self.labelled and _pin(self.labelled),
        )

    def to(self, device: torch.device | str) -> DomainBatch:
        """Return the batch on a device, images as floats in [0, 1]."""
        return DomainBatch(
            source=_samples(self.source, device, "source") if self.source else (),
            target=_target_samples(self.target, device) if self.target else (),
            labelled=_samples(self.labelled, device, "target") if self.labelled else (),
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """A user's error on its way out of a worker; raised there, its message would be a traceback."""

    message: str


class _Stream(Dataset[RawItem | _Failure]):
    """The training items, with errors as values."""

    def __init__(self, items: PairedDataset) -> None:
        self._items = items

    def __getitem__(self, draw: int) -> RawItem | _Failure:
        """Return an item, or why it could not be read."""
        try:
            return self._items[draw]
        except UserError as error:
            return _Failure(str(error))


def build_loader(
    config: DataConfig,
    *,
    mode: Mode,
    batch_size: int,
    seed: int,
    labels: Labels,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
    classes: Sequence[int] | None = None,
    trees: Trees | None = None,
) -> Iterator[DomainBatch]:
    """Return the batches of every step from `start_step` on, without end.

    The batch of a step depends on (seed, step, rank) alone: not on the number of workers, on where
    training was resumed, or on target labels. torch's global random state is left alone.

    Args:
        config: trees, augmentation, number of workers.
        mode: "source", "pair", or "labelled" for the oracle.
        batch_size: items per step and process.
        seed: the run's seed.
        labels: which labels samples carry; others are neither read nor copied.
        start_step: first step to give a batch for.
        rank: index of this process.
        world_size: number of processes.
        device: where the batches go.
        classes: thing indices to learn, None for all (see `PairedDataset`).
        trees: already open ones; None opens them.

    Raises:
        UserError: at once when a tree is missing or incomplete, and on the step that needs it when
            a file cannot be read.
    """
    device = torch.device(device)
    items = PairedDataset(config, mode=mode, seed=seed, labels=labels, classes=classes, trees=trees)
    loader: DataLoader[Any] = DataLoader(
        _Stream(items),
        batch_sampler=StepSampler(
            batch_size, start_step=start_step, rank=rank, world_size=world_size
        ),
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker if config.workers else None,
        prefetch_factor=_PREFETCH if config.workers else None,
        generator=torch.Generator().manual_seed(seed),
    )
    return _batches(loader, device)


def collate(items: Sequence[RawItem | _Failure]) -> RawBatch | _Failure:
    """Return one batch of items; the first failure if there is one."""
    good: list[RawItem] = []
    for item in items:
        if isinstance(item, _Failure):
            return item
        good.append(item)
    return RawBatch(
        source=_stack([item.source for item in good if item.source]),
        target=_stack_target([item.target for item in good if item.target]),
        labelled=_stack([item.labelled for item in good if item.labelled]),
    )


def _batches(loader: DataLoader[Any], device: torch.device) -> Iterator[DomainBatch]:
    """Yield batches on the device; raise what a worker reported."""
    for batch in loader:
        if isinstance(batch, _Failure):
            raise UserError(batch.message)
        yield batch.to(device)


def _start_worker(_: int) -> None:
    """Keep OpenCV to one thread: the workers are the parallelism."""
    cv2.setNumThreads(0)


def _stack(items: Sequence[LabelledItem]) -> RawLabelled | None:
    """Return labelled items as one part of a batch; None when the mode has none."""
    if not items:
        return None
    images = torch.stack([item.image for item in items])
    names = tuple(item.sample_id for item in items)
    instances = [item.labels for item in items if isinstance(item.labels, ItemInstances)]
    if not instances:
        maps = [item.labels for item in items if isinstance(item.labels, ItemSemantic)]
        return RawLabelled(images, names, semantic=torch.stack([found.ids for found in maps]))
    raw = RawInstances(
        ids=torch.stack([found.ids for found in instances]),
        labels=torch.cat([found.labels for found in instances]),
        counts=tuple(len(found.labels) for found in instances),
    )
    return RawLabelled(images, names, instances=raw)


def _stack_target(items: Sequence[TargetItem]) -> RawTarget | None:
    """Return target items as one part of a batch; None when the mode has none."""
    if not items:
        return None
    return RawTarget(
        images=torch.stack([item.image for item in items]),
        valid=torch.stack([item.valid for item in items]),
        sample_ids=tuple(item.sample_id for item in items),
    )


def _pin(part: _Part) -> _Part:
    """Return one part of a batch with its tensors page-locked."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    pinned: dict[str, Any] = {
        name: _pin(value) if isinstance(value, RawInstances) else value.pin_memory()
        for name, value in values.items()
        if isinstance(value, Tensor | RawInstances)
    }
    return replace(part, **pinned)


def _samples(part: RawLabelled, device: torch.device | str, domain: Domain) -> tuple[Sample, ...]:
    """Return labelled images on a device."""
    images = _float_images(part.images, device)
    instances = _maps(part.instances, device) if part.instances else None
    on_host = None
    if part.instances and torch.device(device).type != "cpu":
        on_host = _maps(part.instances, "cpu")
    semantic = None if part.semantic is None else moved(part.semantic, device)
    return tuple(
        Sample(
            image=images[i],
            sample_id=sample_id,
            domain=domain,
            instances=None if instances is None else instances[i],
            semantic=None if semantic is None else SemanticMap(semantic[i]),
            on_host=None if on_host is None else on_host[i],
        )
        for i, sample_id in enumerate(part.sample_ids)
    )


def _maps(part: RawInstances, device: torch.device | str) -> list[InstanceMap]:
    """Return the instances of every image on a device."""
    ids = moved(part.ids, device)
    labels = moved(part.labels, device).split(part.counts)
    return [InstanceMap(ids=ids[i], labels=labels[i]) for i in range(len(ids))]


def _target_samples(part: RawTarget, device: torch.device | str) -> tuple[TargetSample, ...]:
    """Return unlabelled images on a device."""
    images = _float_images(part.images, device)
    valid = moved(part.valid, device)
    return tuple(
        TargetSample(image=images[i], valid=valid[i], sample_id=sample_id)
        for i, sample_id in enumerate(part.sample_ids)
    )


def _float_images(
    images: UInt8[Tensor, "B 3 H W"], device: torch.device | str
) -> Float32[Tensor, "B 3 H W"]:
    """Return images as floats in [0, 1], made on the device."""
    return unit_floats(moved(images, device))
