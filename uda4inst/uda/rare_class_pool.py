"""Rare-class balancing: a first-in-first-out store of source instances of rare classes.

UDA4Inst (arXiv 2405.09682 v1), rare-class balancing: at most N = 10 instances; when a source image
holds no rare instance, a random half of the pool is pasted in S2T, each at its own place.

What to store or draw is decided on the host from labels that were never on the device; pixels
stay where the image is. Only the box around an instance is kept, so the pool's memory is bounded
by N boxes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from uda4inst.structures import InstanceMap, Sample, Size

# (top, left, bottom, right) in pixels, half-open.
_Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class RareInstance:
    """Where a rare instance lies in its image, known on the host.

    Args:
        slot: its slot in the sample's instances.
        label: thing index 0..7.
        box: (top, left, bottom, right) in pixels, half-open.
    """

    slot: int
    label: int
    box: tuple[int, int, int, int]


def rare_instances(
    instances: InstanceMap, *, rare_labels: Collection[int], min_area: int = 0
) -> tuple[RareInstance, ...]:
    """Return the instances of rare classes that have at least one pixel, in slot order.

    Reads values, so `instances` should be on the CPU.

    Args:
        instances: the instances of a source crop.
        rare_labels: thing indices that count as rare.
        min_area: smallest area in pixels; smaller instances are not pasted either.
    """
    found: list[RareInstance] = []
    ids = np.asarray(instances.ids.cpu(), dtype=np.int32)
    for slot, value in enumerate(instances.labels):
        label = int(value)
        if label not in rare_labels:
            continue
        mask = ids == slot + 1
        if mask.sum() < max(min_area, 1):
            continue
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        found.append(RareInstance(slot, label, box))
    return tuple(found)


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
    """

    image: Float32[Tensor, "3 h w"]
    mask: Bool[Tensor, "h w"]
    label: int
    offset: tuple[int, int]
    crop_size: Size
    sample_id: str
    step: int
    times_drawn: int = 0


class RareClassPool:
    """At most `size` rare instances, oldest first.

    Args:
        size: N of the paper, 10.
        draw_share: share of the pool drawn at a time; the paper's half.
    """

    def __init__(self, size: int = 10, *, draw_share: float = 0.5) -> None:
        self.size = size
        self.draw_share = draw_share
        self._entries: list[PoolEntry] = []

    @property
    def entries(self) -> tuple[PoolEntry, ...]:
        """What the pool holds now, oldest first."""
        return tuple(self._entries)

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def store(self, sample: Sample, rare: RareInstance, *, step: int) -> None:
        """Append a copy of one instance; the oldest entry leaves when the pool is full.

        Args:
            sample: the source crop as it is pasted, on any device.
            rare: which of its instances.
            step: the current step.
        """
        top, left, bottom, right = rare.box
        entry = PoolEntry(
            image=sample.image[:, top:bottom, left:right].clone(),
            mask=sample.instances.ids[top:bottom, left:right] == rare.slot + 1,
            label=rare.label,
            offset=(top, left),
            crop_size=sample.size,
            sample_id=sample.sample_id,
            step=step,
        )
        self._entries = [*self._entries, entry][-self.size :]

    def draw(self, generator: torch.Generator) -> tuple[PoolEntry, ...]:
        """Return a random share of the entries, at least one, without replacement.

        An empty pool gives none. Drawn entries stay; their `times_drawn` grows by one.

        Args:
            generator: on the CPU; the draw depends on it and on the pool alone.
        """
        count = len(self._entries)
        if not count:
            return ()
        wanted = max(1, int(count * self.draw_share))
        drawn = [int(i) for i in torch.randperm(count, generator=generator)[:wanted]]
        for index in drawn:
            entry = self._entries[index]
            self._entries[index] = replace(entry, times_drawn=entry.times_drawn + 1)
        return tuple(self._entries[index] for index in drawn)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, loadable with `weights_only=True`."""
        return {"entries": [_entry_state(entry) for entry in self._entries]}

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


def pool_layer(
    entries: Sequence[PoolEntry], size: Size, *, device: torch.device | str
) -> tuple[Float32[Tensor, "3 H W"], InstanceMap]:
    """Return an image and an id map with every entry at its own place, ready to be pasted.

    Where entries overlap, the later one lies on top. What lies beyond the image is cut, which
    happens only to entries from a larger crop.

    Args:
        entries: what was drawn, in order.
        size: (height, width) of the image to paste into.
        device: where that image is.
    """
    image = torch.zeros((3, *size), device=device)
    ids = torch.zeros(size, dtype=torch.int32, device=device)
    for number, entry in enumerate(entries, start=1):
        top, left = entry.offset
        place = slice(top, top + entry.mask.shape[0]), slice(left, left + entry.mask.shape[1])
        height, width = ids[place].shape
        mask = entry.mask[:height, :width].to(device, non_blocking=True)
        patch = entry.image[:, :height, :width].to(device, non_blocking=True)
        ids[place] = torch.where(mask, number, ids[place])
        image[:, place[0], place[1]] = torch.where(mask, patch, image[:, place[0], place[1]])
    labels = torch.tensor([entry.label for entry in entries], dtype=torch.int64)
    return image, InstanceMap(ids, labels.to(device, non_blocking=True))


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
    }


def _entry_from_state(state: Mapping[str, Any], device: torch.device | str) -> PoolEntry:
    """Return the entry a plain dict describes."""
    top, left = state["offset"]
    height, width = state["crop_size"]
    return PoolEntry(
        image=state["image"].to(device),
        mask=state["mask"].to(device),
        label=state["label"],
        offset=(top, left),
        crop_size=(height, width),
        sample_id=state["sample_id"],
        step=state["step"],
        times_drawn=state["times_drawn"],
    )
