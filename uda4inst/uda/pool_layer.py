"""Entries of the rare-class pool laid out over an image, each at its own place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from uda4inst.structures import EMPTY_SLOT, IGNORE_ID, InstanceMap, Size, moved
from uda4inst.uda.rare_class_pool import PoolEntry


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
    taken: Bool[Tensor, "H W"] | None = None,
    max_overlap: float = 1.0,
) -> PoolLayer:
    """Return an image and an id map with every entry at its own place, ready to be pasted.

    Where entries overlap, the later one lies on top. What lies beyond the image is cut, which
    happens only to entries from a larger crop. Nothing is read back from the device.

    Args:
        entries: what was drawn, in order.
        size: (height, width) of the image to paste into.
        device: where that image is.
        patch_max_area: entries of at most so many pixels show the whole of their box (`surplus`).
        taken: where other instances are; None: it does not matter.
        max_overlap: an entry of which more than this share would lie on `taken` is left out; its
            slots are then empty.

    Returns:
        The layer; there is a `surplus` with patches or with riders that are ignored.
    """
    image = torch.zeros((3, *size), device=device)
    ids = torch.zeros(size, dtype=torch.int32, device=device)
    slots = sum(len(entry.labels) for entry in entries)
    labels = torch.zeros(slots, dtype=torch.int64, device=device)
    surplus = None
    if patch_max_area or any(entry.rider_is_ignored for entry in entries):
        surplus = torch.zeros(size, dtype=torch.bool, device=device)
    number = 1
    for entry in entries:
        top, left = entry.offset
        rows, columns = entry.mask.shape
        place = slice(top, top + rows), slice(left, left + columns)
        height, width = ids[place].shape
        own = [entry.mask] if entry.rider is None else [entry.mask, entry.rider]
        masks = [moved(mask, device)[:height, :width] for mask in own]
        whole = shown = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        patch = moved(entry.image[:, :height, :width], device)
        if patch_max_area:
            shown = whole | (moved(entry.mask, device).sum() <= patch_max_area)
        for offset, label in enumerate(entry.labels):
            labels[number - 1 + offset].fill_(label)  # by value: a table would have to be copied
        if taken is not None:
            fits = (whole & taken[place]).sum() <= max_overlap * whole.sum()
            shown, masks = shown & fits, [mask & fits for mask in masks]
            own_slots = slice(number - 1, number - 1 + len(entry.labels))
            labels[own_slots] = torch.where(fits, labels[own_slots], EMPTY_SLOT)
        if surplus is not None:
            surplus[place] |= shown
            beside = _beside(entry, device)[:height, :width]
            ids[place] = torch.where(shown, beside, ids[place])
        for offset, mask in enumerate(masks[: len(entry.labels)]):
            ids[place] = torch.where(mask, number + offset, ids[place])
        image[:, place[0], place[1]] = torch.where(shown, patch, image[:, place[0], place[1]])
        number += len(entry.labels)
    return PoolLayer(image, InstanceMap(ids, labels), surplus)


def _beside(entry: PoolEntry, device: torch.device | str) -> Int32[Tensor, "h w"]:
    """Return the ids of a box beside its instance: ignore on other objects, else background."""
    others = torch.zeros_like(entry.mask) if entry.others is None else entry.others
    if entry.rider is not None:
        others = others | entry.rider
    return IGNORE_ID * moved(others, device).to(torch.int32)
