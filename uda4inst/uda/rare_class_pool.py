"""Rare-class balancing: a first-in-first-out store of source instances of rare classes.

UDA4Inst (arXiv 2405.09682 v1), rare-class balancing: at most N = 10 instances; when a source image
holds no rare instance, a random half of the pool is pasted in S2T, each at its own place. Ours are
drawing by rarity (a class counts the less, the more often it has been stored) and an area budget
(large entries are pasted less often: a train that fills a fifth of every picture hides what else
there is to learn, and is no longer rare).

What to store or draw is decided on the host from labels that were never on the device; pixels
stay where the image is. Only the box around an instance is kept, so the pool's memory is bounded
by N boxes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int32
from torch import Tensor

from uda4inst.classes import NUM_THINGS
from uda4inst.structures import IGNORE_ID, InstanceMap, Sample, Size, moved

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
        others: where the box shows other objects or ignored pixels; None: nowhere.
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

    @property
    def box_share(self) -> float:
        """Share of its crop that the box covers: no less than what it hides; not read back."""
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
    """

    def __init__(
        self,
        size: int = 10,
        *,
        draw_share: float = 0.5,
        area_budget: float | None = None,
        by_rarity: bool = False,
    ) -> None:
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

    def store(self, sample: Sample, rare: RareInstance, *, step: int) -> None:
        """Append a copy of one instance; the oldest entry leaves when the pool is full.

        Args:
            sample: the source crop as it is pasted, on any device.
            rare: which of its instances.
            step: the current step.
        """
        top, left, bottom, right = rare.box
        ids = sample.known_instances().ids[top:bottom, left:right]
        entry = PoolEntry(
            image=sample.image[:, top:bottom, left:right].clone(),
            mask=ids == rare.slot + 1,
            label=rare.label,
            offset=(top, left),
            crop_size=sample.size,
            sample_id=sample.sample_id,
            step=step,
            others=(ids != rare.slot + 1) & (ids != 0),
        )
        self._entries = [*self._entries, entry][-self.size :]
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
        counts = [max(1, self._stored[entry.label]) for entry in self._entries]
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


class PoolLayer(NamedTuple):
    """Pool entries laid out over an image: what `uda4inst.ops.paste.paste` takes."""

    image: Float32[Tensor, "3 H W"]
    instances: InstanceMap
    surplus: Bool[Tensor, "H W"] | None


def pool_layer(
    entries: Sequence[PoolEntry],
    size: Size,
    *,
    device: torch.device | str,
    patch_max_area: int = 0,
) -> PoolLayer:
    """Return an image and an id map with every entry at its own place, ready to be pasted.

    Where entries overlap, the later one lies on top. What lies beyond the image is cut, which
    happens only to entries from a larger crop. Nothing is read back from the device.

    Args:
        entries: what was drawn, in order.
        size: (height, width) of the image to paste into.
        device: where that image is.
        patch_max_area: entries of at most so many pixels show the whole of their box (`surplus`);
            0 for none, and then there is no `surplus`.
    """
    image = torch.zeros((3, *size), device=device)
    ids = torch.zeros(size, dtype=torch.int32, device=device)
    labels = torch.zeros(len(entries), dtype=torch.int64, device=device)
    surplus = torch.zeros(size, dtype=torch.bool, device=device) if patch_max_area else None
    for number, entry in enumerate(entries, start=1):
        labels[number - 1].fill_(entry.label)  # by value: a table would have to be copied there
        top, left = entry.offset
        rows, columns = entry.mask.shape
        place = slice(top, top + rows), slice(left, left + columns)
        height, width = ids[place].shape
        whole_mask = moved(entry.mask, device)
        mask = shown = whole_mask[:height, :width]
        patch = moved(entry.image[:, :height, :width], device)
        if surplus is not None:
            shown = mask | (whole_mask.sum() <= patch_max_area)
            surplus[place] |= shown
            ids[place] = torch.where(shown, _beside(entry, device)[:height, :width], ids[place])
        ids[place] = torch.where(mask, number, ids[place])
        image[:, place[0], place[1]] = torch.where(shown, patch, image[:, place[0], place[1]])
    return PoolLayer(image, InstanceMap(ids, labels), surplus)


def _beside(entry: PoolEntry, device: torch.device | str) -> Int32[Tensor, "h w"]:
    """Return the ids of a box beside its instance: ignore on other objects, else background."""
    others = torch.zeros_like(entry.mask) if entry.others is None else entry.others
    return IGNORE_ID * moved(others, device).to(torch.int32)


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
    }


def _entry_from_state(state: Mapping[str, Any], device: torch.device | str) -> PoolEntry:
    """Return the entry a plain dict describes."""
    top, left = state["offset"]
    height, width = state["crop_size"]
    others = state.get("others")
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
    )
