"""Paste instances of one image into another: the atom of every mixing method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from uda4inst.structures import EMPTY_SLOT, IGNORE_ID, InstanceMap


class Pasted(NamedTuple):
    """A mixed image, its instances, and which pixels came from the pasted image, surplus too."""

    image: Float32[Tensor, "3 H W"]
    instances: InstanceMap
    pasted: Bool[Tensor, "H W"]


def paste(
    base_image: Float32[Tensor, "3 H W"],
    base: InstanceMap,
    pasted_image: Float32[Tensor, "3 H W"],
    pasted: InstanceMap,
    *,
    which: Bool[Tensor, " N"] | None = None,
    surplus: Bool[Tensor, "H W"] | None = None,
) -> Pasted:
    """Return the base image with the chosen instances of another image on top, in place.

    Inputs are left untouched; every pixel comes from exactly one of the two images, and so does
    its id, ignore ids of the base included. Ignore pixels of the pasted image are never pasted.
    The number of slots depends on the numbers of slots alone (the base's, then the pasted map's),
    so nothing has to be known on the host: a base instance that is covered keeps a slot without
    pixels, a pasted instance that was not chosen leaves an empty slot.

    Args:
        base_image: the image below.
        base: its instances.
        pasted_image: the image instances are taken from, same size.
        pasted: its instances.
        which: True for each slot of `pasted` to paste, None for all; empty ones are never pasted.
        surplus: where the pasted image shows beside the chosen instances, which keep what is
            theirs within it (whole boxes of small ones). The base's ids are removed there: what
            can be seen is the pasted image's background (0), or an object of it that is not
            pasted (ignored).

    Returns:
        Image, instances (slots of `base` followed by slots of `pasted`), and the pasted region.

    Example:
        >>> base = InstanceMap(torch.tensor([[1, 1, 0]], dtype=torch.int32), torch.tensor([2]))
        >>> top = InstanceMap(torch.tensor([[0, 1, 2]], dtype=torch.int32), torch.tensor([0, 5]))
        >>> black, white = torch.zeros(3, 1, 3), torch.ones(3, 1, 3)
        >>> result = paste(black, base, white, top, which=torch.tensor([True, False]))
        >>> result.instances.ids.tolist(), result.instances.labels.tolist()
        ([[1, 2, 0]], [2, 0, -1])
        >>> result.image[0].tolist()
        [[0.0, 1.0, 0.0]]
    """
    chosen = pasted.labels >= 0
    if which is not None:
        chosen = which & chosen
    # Ids start at -1 (ignore) and 0 (background): two entries that are never pasted.
    id_is_chosen = torch.cat([chosen.new_zeros(2), chosen])
    region = id_is_chosen[pasted.ids.long() + 1]
    below = base.ids
    shown = region
    if surplus is not None:
        below = torch.where(surplus, _seen_beside(pasted), below)
        shown = region | surplus
    image = torch.where(shown, pasted_image, base_image)
    ids = torch.where(region, pasted.ids + len(base), below)
    labels = torch.where(chosen, pasted.labels, EMPTY_SLOT)
    return Pasted(image, InstanceMap(ids, torch.cat([base.labels, labels])), shown)


def _seen_beside(pasted: InstanceMap) -> Int32[Tensor, "H W"]:
    """Return 0 on the background of the pasted image, and ignore on its objects."""
    is_object = pasted.labels >= 0
    is_object = torch.cat([is_object.new_ones(1), is_object.new_zeros(1), is_object])
    return (IGNORE_ID * is_object.to(torch.int32))[pasted.ids.long() + 1]
