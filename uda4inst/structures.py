"""The values every part of the project passes around: frozen, checked when built.

Shapes are written as in jaxtyping: H, W image size in pixels, N slots or instances.
Values on the CPU are checked whole (range of ids and labels); on a GPU only shapes and types are,
because looking at values there would stop the device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import Tensor

from uda4inst.classes import IGNORE_TRAIN_ID, MAX_THINGS, SEMANTIC_CLASSES

Domain = Literal["source", "target"]
Labels = Literal["instances", "semantic"]  # what a task learns from, so what a loader must read
Size = tuple[int, int]  # (height, width), always in this order

IGNORE_ID: Final = -1
EMPTY_SLOT: Final = -1


def require(ok: bool, name: str, rule: str, got: object) -> None:
    """Raise unless a field keeps its rule.

    Raises:
        ValueError: it does not; the message has the rule and what there is instead.
    """
    if not ok:
        raise ValueError(f"{name} must {rule}, got {got}.")


def describe(tensor: Tensor) -> str:
    """Return type and shape of a tensor, for a message."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on another device; only a copy from page-locked memory runs beside the host.

    Towards the host the copy has always arrived: its values may be read at once.
    """
    beside = torch.device(device).type != "cpu" and tensor.is_pinned()
    return tensor.to(device, non_blocking=beside)


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMap:
    """Disjoint instances of one image, as one id per pixel.

    A slot whose label is -1 is empty: it owns no object (its pixels, if any, count as background).
    Fixed-size maps with empty slots are how pseudo-labels stay on the device: how many there are
    need not be known. An id of -1 marks pixels to ignore (groups, filtered objects).

    Args:
        ids: 0 background, k > 0 the k-th instance (slot k-1), -1 ignore.
        labels: thing index of instance k at `labels[k-1]` (0..7, own classes behind), or -1 for an
            empty slot.

    Raises:
        ValueError: wrong type, shape, or (on the CPU) an id or label out of range.
    """

    ids: Int32[Tensor, "H W"]
    labels: Int64[Tensor, " N"]

    def __post_init__(self) -> None:
        require(
            self.ids.dtype == torch.int32 and self.ids.ndim == 2,
            "InstanceMap.ids",
            "be int32 of shape (H, W)",
            describe(self.ids),
        )
        require(
            self.labels.dtype == torch.int64 and self.labels.ndim == 1,
            "InstanceMap.labels",
            "be int64 of shape (N,)",
            describe(self.labels),
        )
        if self.ids.device.type == "cpu" and self.ids.numel():
            low, high = (int(v) for v in torch.aminmax(self.ids))
            require(
                low >= IGNORE_ID and high <= len(self.labels),
                "InstanceMap.ids",
                f"lie in [-1, {len(self.labels)}] (one label per id)",
                f"[{low}, {high}]",
            )
        if self.labels.device.type == "cpu" and self.labels.numel():
            low, high = (int(v) for v in torch.aminmax(self.labels))
            require(
                low >= EMPTY_SLOT and high < MAX_THINGS,
                "InstanceMap.labels",
                f"lie in [0, {MAX_THINGS - 1}], or be -1 for an empty slot",
                f"[{low}, {high}]",
            )

    @classmethod
    def empty(cls, size: Size, *, device: torch.device | str = "cpu") -> InstanceMap:
        """Return a map without instances: all background."""
        return cls(
            ids=torch.zeros(size, dtype=torch.int32, device=device),
            labels=torch.zeros(0, dtype=torch.int64, device=device),
        )

    @classmethod
    def of_masks(cls, masks: Bool[Tensor, "N H W"], labels: Int64[Tensor, " N"]) -> InstanceMap:
        """Return the instances of one mask each; where masks overlap, the earlier one keeps it.

        Example:
            >>> masks = torch.tensor([[[True, False, False]], [[True, True, False]]])
            >>> InstanceMap.of_masks(masks, torch.tensor([2, 0])).ids.tolist()
            [[1, 2, 0]]
        """
        slots = torch.arange(1, len(masks) + 1, device=masks.device, dtype=torch.int32)
        nobody = len(masks) + 1
        ids = torch.full(masks.shape[1:], nobody, dtype=torch.int32, device=masks.device)
        for slot, mask in zip(slots, masks, strict=True):
            ids = torch.where(mask, torch.minimum(ids, slot), ids)
        return cls(ids=torch.where(ids == nobody, 0, ids), labels=labels)

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.ids.shape[0], self.ids.shape[1]

    def __len__(self) -> int:
        """Number of slots, empty ones included."""
        return len(self.labels)

    def masks(self) -> Bool[Tensor, "N H W"]:
        """Return one boolean mask per slot; empty slots give empty masks."""
        slots = torch.arange(1, len(self) + 1, device=self.ids.device, dtype=torch.int32)
        owned = self.ids[None] == slots[:, None, None]
        return owned & (self.labels >= 0)[:, None, None]

    def areas(self) -> Int64[Tensor, " N"]:
        """Return the pixel count of every slot; 0 for empty slots and vanished instances."""
        flat = self.ids.reshape(-1).clamp(min=0).long()
        counts = torch.zeros(len(self) + 1, dtype=torch.int64, device=self.ids.device)
        counts.scatter_add_(0, flat, torch.ones_like(flat))
        return torch.where(self.labels >= 0, counts[1:], torch.zeros_like(counts[1:]))

    def compact(self) -> InstanceMap:
        """Return the same instances renumbered without empty slots or vanished instances."""
        keep = self.areas() > 0
        table = torch.zeros(len(self) + 2, dtype=torch.int32, device=self.ids.device)
        table[0] = IGNORE_ID
        table[2:] = torch.where(keep, keep.cumsum(0), torch.zeros_like(keep, dtype=torch.int64)).to(
            torch.int32
        )
        return InstanceMap(ids=table[self.ids.long() + 1], labels=self.labels[keep])

    def to(self, device: torch.device | str) -> InstanceMap:
        """Return the map on another device."""
        return InstanceMap(
            ids=moved(self.ids, device),
            labels=moved(self.labels, device),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SemanticMap:
    """The class of every pixel of one image.

    Args:
        ids: trainIds 0..18, 255 ignore.
        weights: how much each pixel counts in the loss, >= 0; None for 1 everywhere.

    Raises:
        ValueError: wrong type or shape, or (on the CPU) an id that is neither a trainId nor 255.
    """

    ids: UInt8[Tensor, "H W"]
    weights: Float32[Tensor, "H W"] | None = None

    def __post_init__(self) -> None:
        require(
            self.ids.dtype == torch.uint8 and self.ids.ndim == 2,
            "SemanticMap.ids",
            "be uint8 of shape (H, W)",
            describe(self.ids),
        )
        if self.weights is not None:
            require(
                self.weights.dtype == torch.float32 and self.weights.shape == self.ids.shape,
                "SemanticMap.weights",
                f"be float32 of shape {tuple(self.ids.shape)}",
                describe(self.weights),
            )
        if self.ids.device.type == "cpu" and self.ids.numel():
            classes = self.ids[self.ids != IGNORE_TRAIN_ID]
            highest = int(classes.max()) if classes.numel() else 0
            require(
                highest < len(SEMANTIC_CLASSES),
                "SemanticMap.ids",
                f"be trainIds 0..{len(SEMANTIC_CLASSES) - 1} or {IGNORE_TRAIN_ID}",
                highest,
            )

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.ids.shape[0], self.ids.shape[1]

    def to(self, device: torch.device | str) -> SemanticMap:
        """Return the map on another device."""
        weights = self.weights
        return SemanticMap(
            ids=moved(self.ids, device),
            weights=None if weights is None else moved(weights, device),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled image, with the labels that were asked for.

    Args:
        image: RGB in [0, 1].
        sample_id: the data set's own name of the image, unique within it.
        domain: which side of the adaptation it belongs to.
        instances: the image's instances, same size; None where they were not read.
        semantic: the class of every pixel, same size; None where it was not read.
        on_host: the same instances in the host's memory, where they were read: what asks for
            values does not stop the device. None where they are not there (any more).
    """

    image: Float32[Tensor, "3 H W"]
    sample_id: str
    domain: Domain
    instances: InstanceMap | None = None
    semantic: SemanticMap | None = None
    on_host: InstanceMap | None = None

    def __post_init__(self) -> None:
        _check_image(self.image, self.sample_id)
        for name, labels in (
            ("instances", self.instances),
            ("semantic", self.semantic),
            ("on_host", self.on_host),
        ):
            if labels is not None:
                require(
                    labels.size == self.size,
                    f"{name} of sample {self.sample_id!r}",
                    f"have the image's size {self.size}",
                    labels.size,
                )

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.image.shape[1], self.image.shape[2]

    def known_instances(self) -> InstanceMap:
        """Return the instances.

        Raises:
            ValueError: they were not read.
        """
        if self.instances is None:
            raise ValueError(f"instances of sample {self.sample_id!r} must be read, got none.")
        return self.instances

    def host_instances(self) -> InstanceMap | None:
        """Return the instances in the host's memory if they are there; nothing is copied."""
        if self.on_host is None and self.instances and self.instances.ids.device.type == "cpu":
            return self.instances
        return self.on_host

    def known_semantic(self) -> SemanticMap:
        """Return the semantic map.

        Raises:
            ValueError: it was not read.
        """
        if self.semantic is None:
            raise ValueError(f"semantic map of sample {self.sample_id!r} must be read, got none.")
        return self.semantic

    def to(self, device: torch.device | str) -> Sample:
        """Return the sample on another device."""
        return replace(
            self,
            image=moved(self.image, device),
            instances=None if self.instances is None else self.instances.to(device),
            semantic=None if self.semantic is None else self.semantic.to(device),
            on_host=self.host_instances(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TargetSample:
    """One image of the target domain. It has no place for labels.

    Args:
        image: RGB in [0, 1].
        valid: False where no object can be (ego vehicle), same size as the image.
        sample_id: the data set's own name of the image.
    """

    image: Float32[Tensor, "3 H W"]
    valid: Bool[Tensor, "H W"]
    sample_id: str

    def __post_init__(self) -> None:
        _check_image(self.image, self.sample_id)
        require(
            self.valid.dtype == torch.bool and self.valid.shape == self.image.shape[1:],
            f"valid of sample {self.sample_id!r}",
            f"be bool of shape {tuple(self.image.shape[1:])}",
            describe(self.valid),
        )

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.image.shape[1], self.image.shape[2]

    def to(self, device: torch.device | str) -> TargetSample:
        """Return the sample on another device."""
        return replace(
            self,
            image=moved(self.image, device),
            valid=moved(self.valid, device),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DomainBatch:
    """What one step trains on: labelled source samples and unlabelled target samples.

    Every image of a batch has the same size. `labelled` is filled for the oracle alone.

    Args:
        source: source samples with labels.
        target: target samples, paired with `source` by position.
        labelled: target samples with labels; empty for every method but the oracle.

    Raises:
        ValueError: sizes differ, or source and target counts differ.
    """

    source: tuple[Sample, ...] = ()
    target: tuple[TargetSample, ...] = ()
    labelled: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        everything = (*self.source, *self.target, *self.labelled)
        sizes = {sample.size for sample in everything}
        require(len(sizes) <= 1, "images of a DomainBatch", "have one size", sorted(sizes))
        if self.source and self.target:
            require(
                len(self.source) == len(self.target),
                "DomainBatch.target",
                f"hold one sample per source sample ({len(self.source)})",
                len(self.target),
            )

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Ids of every sample, source first."""
        return tuple(s.sample_id for s in (*self.source, *self.target, *self.labelled))

    def to(self, device: torch.device | str) -> DomainBatch:
        """Return the batch on another device."""
        return DomainBatch(
            source=tuple(s.to(device) for s in self.source),
            target=tuple(s.to(device) for s in self.target),
            labelled=tuple(s.to(device) for s in self.labelled),
        )


def _check_image(image: Tensor, sample_id: str) -> None:
    require(
        image.dtype == torch.float32 and image.ndim == 3 and image.shape[0] == 3,
        f"image of sample {sample_id!r}",
        "be float32 RGB of shape (3, H, W) in [0, 1]",
        describe(image),
    )
