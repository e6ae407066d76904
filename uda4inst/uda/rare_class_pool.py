"""Rare-class balancing: a first-in-first-out store of source instances of rare classes.

UDA4Inst (arXiv 2405.09682 v1), rare-class balancing: at most N = 10 instances; when a source image
holds no rare instance, a random half of the pool is pasted in S2T, each at its own place. Ours are
drawing by rarity (a class counts the less, the more often it has been stored), an area budget
(large entries are pasted less often: a train that fills a fifth of every picture hides what else
there is to learn, and is no longer rare), riders that come along with what they ride (cut out
alone, a two-wheeler has a hole in a rider's shape), colours of the image an entry is pasted into,
and no pasting on top of other objects.

What to store or draw is decided on the host from labels that were never on the device; pixels
stay where the image is. Only the box around an instance is kept, so the pool's memory is bounded
by N boxes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from numpy.typing import NDArray
from torch import Tensor

from uda4inst.classes import NUM_THINGS, thing_index
from uda4inst.ops.color import LabStatistics, align_to_statistics
from uda4inst.structures import InstanceMap, Sample, Size

RIDER: Final = thing_index("rider")
TWO_WHEELERS: Final = (thing_index("motorcycle"), thing_index("bicycle"))
# What becomes of the rider of a stored two-wheeler: left behind, pasted along as an instance, or
# pasted along and ignored by the loss.
Riders = Literal["left", "pasted", "ignored"]

# (top, left, bottom, right) in pixels, half-open.
_Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class RareInstance:
    """Where a rare instance lies in its image, known on the host.

    Args:
        slot: its slot in the sample's instances.
        label: thing index.
        box: (top, left, bottom, right) in pixels, half-open; of both with a rider.
        rider: slot of the rider that is stored along; None: nobody.
    """

    slot: int
    label: int
    box: tuple[int, int, int, int]
    rider: int | None = None


def rare_instances(
    instances: InstanceMap,
    *,
    rare_labels: Collection[int],
    min_area: int = 0,
    with_riders: bool = False,
) -> tuple[RareInstance, ...]:
    """Return the instances of rare classes that have at least one pixel, in slot order.

    Reads values, so `instances` should be on the CPU.

    Args:
        instances: the instances of a source crop.
        rare_labels: thing indices that count as rare.
        min_area: smallest area in pixels; smaller instances are not pasted either.
        with_riders: name the rider of a two-wheeler: the one that touches it along most pixels.
    """
    found: list[RareInstance] = []
    ids = np.asarray(instances.ids.cpu(), dtype=np.int32)
    labels = [int(value) for value in instances.labels]
    for slot, label in enumerate(labels):
        if label not in rare_labels:
            continue
        mask = ids == slot + 1
        if mask.sum() < max(min_area, 1):
            continue
        rider = None
        if with_riders and label in TWO_WHEELERS:
            rider = _rider_on(mask, ids, labels)
        if rider is not None:
            mask |= ids == rider + 1
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        found.append(RareInstance(slot, label, box, rider))
    return tuple(found)


def _rider_on(mask: NDArray[np.bool_], ids: NDArray[np.int32], labels: Sequence[int]) -> int | None:
    """Return the slot of the rider that touches a mask along most pixels; None: nobody does."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = np.bincount(np.maximum(ids[around & ~mask], 0), minlength=len(labels) + 1)[1:]
    riders = [slot for slot, label in enumerate(labels) if label == RIDER and touching[slot]]
    return max(riders, key=lambda slot: touching[slot], default=None)


@dataclass(frozen=True, slots=True, eq=False)
class PoolEntry:
    """One stored instance: its pixels, where they were, and its history.

    Args:
        image: RGB of the box around the instance, in [0, 1], as it was pasted (LAB-aligned).
        mask: the instance within the box.
        label: thing index 0..7.
        offset: (top, left) of the box in its crop.
        crop_size: (height, width) of that crop.
        sample_id: source image it came from.
        step: step at which it entered.
        times_drawn: how often it has been pasted from the pool.
        others: where the box shows other objects or ignored pixels; None: nowhere.
        rider: who rides on it, within the box, pasted along; None: nobody.
        rider_is_ignored: whether the loss ignores the rider, who else is an instance.
        look: colours of the target crop it was aligned to; None where they do not matter.
    """

    image: Float32[Tensor, "3 h w"]
    mask: Bool[Tensor, "h w"]
    label: int
    offset: tuple[int, int]
    crop_size: Size
    sample_id: str
    step: int
    times_drawn: int = 0
    others: Bool[Tensor, "h w"] | None = None
    rider: Bool[Tensor, "h w"] | None = None
    rider_is_ignored: bool = False
    look: LabStatistics | None = None

    def looking_like(self, look: LabStatistics | None) -> PoolEntry:
        """Return the entry with another target crop's colours; itself where either is unknown."""
        if look is None or self.look is None:
            return self
        image = align_to_statistics(self.image, look, source=self.look)
        return replace(self, image=image, look=look)

    @property
    def labels(self) -> tuple[int, ...]:
        """Thing index of every slot it fills when it is pasted."""
        has_slot = self.rider is not None and not self.rider_is_ignored
        return (self.label, RIDER) if has_slot else (self.label,)

    @property
    def box_share(self) -> float:
        """Share of its crop that the box covers, no less than what it hides; not read back."""
        rows, columns = self.mask.shape
        height, width = self.crop_size
        return rows * columns / (height * width)


class RareClassPool:
    """At most `size` rare instances, oldest first.

    Args:
        size: N of the paper, 10.
        draw_share: share of the pool drawn at a time; the paper's half.
        area_budget: share of an image, in (0, 1], that a draw may hide on average; None: no limit,
            as in the paper.
        by_rarity: draw an entry with a probability inversely proportional to how often its class
            has been stored since the run began, not each alike.
        riders_are_ignored: whether the loss ignores riders that are stored along.
    """

    def __init__(
        self,
        size: int = 10,
        *,
        draw_share: float = 0.5,
        area_budget: float | None = None,
        by_rarity: bool = False,
        riders_are_ignored: bool = False,
    ) -> None:
        self.riders_are_ignored = riders_are_ignored
        self.size = size
        self.draw_share = draw_share
        self.area_budget = area_budget
        self.by_rarity = by_rarity
        self._entries: list[PoolEntry] = []
        self._stored = [0] * NUM_THINGS

    @property
    def entries(self) -> tuple[PoolEntry, ...]:
        """What the pool holds now, oldest first."""
        return tuple(self._entries)

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def store(
        self, sample: Sample, rare: RareInstance, *, step: int, look: LabStatistics | None = None
    ) -> None:
        """Append a copy of one instance; the oldest entry leaves when the pool is full.

        Args:
            sample: the source crop as it is pasted, on any device.
            rare: which of its instances.
            step: the current step.
            look: colours of the target crop that the sample was aligned to, if draws are to have
                those of theirs.
        """
        top, left, bottom, right = rare.box
        ids = sample.known_instances().ids[top:bottom, left:right]
        stored = ids == rare.slot + 1
        rider = None if rare.rider is None else ids == rare.rider + 1
        entry = PoolEntry(
            image=sample.image[:, top:bottom, left:right].clone(),
            mask=stored,
            label=rare.label,
            offset=(top, left),
            crop_size=sample.size,
            sample_id=sample.sample_id,
            step=step,
            others=~(stored if rider is None else stored | rider) & (ids != 0),
            rider=rider,
            rider_is_ignored=self.riders_are_ignored,
            look=look,
        )
        self._entries = [*self._entries, entry][-self.size :]
        self._stored += [0] * (rare.label + 1 - len(self._stored))  # a class beside the eight
        self._stored[rare.label] += 1

    def draw(self, generator: torch.Generator) -> tuple[PoolEntry, ...]:
        """Return a random share of the entries, at least one, without replacement.

        An empty pool gives none. With an area budget, each entry of the share is then left out at
        random, the more likely the larger it is. Drawn entries stay; their `times_drawn` grows by
        one.

        Args:
            generator: on the CPU; the draw depends on it and on the pool alone.
        """
        count = len(self._entries)
        if not count:
            return ()
        wanted = max(1, int(count * self.draw_share))
        if self.by_rarity:
            order = torch.multinomial(self._rarities(), wanted, generator=generator)
        else:
            order = torch.randperm(count, generator=generator)[:wanted]
        drawn = self._within_budget([int(i) for i in order], generator)
        for index in drawn:
            entry = self._entries[index]
            self._entries[index] = replace(entry, times_drawn=entry.times_drawn + 1)
        return tuple(self._entries[index] for index in drawn)

    def _within_budget(self, indices: list[int], generator: torch.Generator) -> list[int]:
        """Return the entries that are pasted, by chances that keep the mean area in the budget."""
        if self.area_budget is None:
            return indices
        chances = [float(c) for c in torch.rand(len(indices), generator=generator)]
        share = self.area_budget / len(indices)
        return [
            index
            for index, chance in zip(indices, chances, strict=True)
            if chance * self._entries[index].box_share < share
        ]

    def _rarities(self) -> Float64[Tensor, " N"]:
        """Return the weight of every entry in a draw by rarity."""
        # An entry from a checkpoint without counts has been stored once at least.
        stored = dict(enumerate(self._stored))
        counts = [max(1, stored.get(entry.label, 0)) for entry in self._entries]
        return 1 / torch.tensor(counts, dtype=torch.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, loadable with `weights_only=True`."""
        return {
            "entries": [_entry_state(entry) for entry in self._entries],
            "stored": list(self._stored),
        }

    def load_state_dict(
        self, state: Mapping[str, Any], *, device: torch.device | str = "cpu"
    ) -> None:
        """Take over a saved pool; of a larger one, the newest entries.

        Args:
            state: what `state_dict` returned.
            device: where the images will be pasted.
        """
        entries = [_entry_from_state(entry, device) for entry in state["entries"]]
        self._entries = entries[-self.size :]
        self._stored = list(state.get("stored", self._stored))


def _entry_state(entry: PoolEntry) -> dict[str, Any]:
    """Return an entry as a plain dict."""
    return {
        "image": entry.image,
        "mask": entry.mask,
        "label": entry.label,
        "offset": list(entry.offset),
        "crop_size": list(entry.crop_size),
        "sample_id": entry.sample_id,
        "step": entry.step,
        "times_drawn": entry.times_drawn,
        "others": entry.others,
        "rider": entry.rider,
        "rider_is_ignored": entry.rider_is_ignored,
        "look": None if entry.look is None else [entry.look.mean, entry.look.std],
    }


def _entry_from_state(state: Mapping[str, Any], device: torch.device | str) -> PoolEntry:
    """Return the entry a plain dict describes."""
    top, left = state["offset"]
    height, width = state["crop_size"]
    others, rider, look = state.get("others"), state.get("rider"), state.get("look")
    return PoolEntry(
        image=state["image"].to(device),
        mask=state["mask"].to(device),
        label=state["label"],
        offset=(top, left),
        crop_size=(height, width),
        sample_id=state["sample_id"],
        step=state["step"],
        times_drawn=state["times_drawn"],
        others=None if others is None else others.to(device),
        rider=None if rider is None else rider.to(device),
        rider_is_ignored=state.get("rider_is_ignored", False),
        look=None if look is None else LabStatistics(*(part.to(device) for part in look)),
    )
