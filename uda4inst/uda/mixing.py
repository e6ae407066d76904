"""Instance mixing across domains (UDA4Inst): one function for both directions.

S2T: base = target crop with its pseudo-labels, pasted = source instances, then pool entries.
T2S: base = source crop with its instances, pasted = pseudo-labels. Both at the same location.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from uda4inst.ops.paste import Pasted, paste
from uda4inst.ops.patches import boxes_region
from uda4inst.structures import InstanceMap
from uda4inst.uda.rare_class_pool import PoolEntry, pool_layer


class Origin(IntEnum):
    """Where a pixel of a mixed image comes from; the values are stored in snapshots."""

    BASE = 0
    SOURCE_INSTANCE = 1
    PSEUDO_LABEL = 2
    POOL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A mixed image with its instances.

    Args:
        image: RGB in [0, 1].
        instances: slots of the base, then of the pasted map, then one per pool entry; covered
            instances keep a slot without pixels.
        origin: an `Origin` per pixel.
        weights: how much every slot counts in the loss; None: all of them 1.
    """

    image: Float32[Tensor, "3 H W"]
    instances: InstanceMap
    origin: UInt8[Tensor, "H W"]
    weights: Float32[Tensor, " N"] | None = None


def mix(
    base_image: Float32[Tensor, "3 H W"],
    base: InstanceMap,
    pasted_image: Float32[Tensor, "3 H W"],
    pasted: InstanceMap,
    *,
    origin: Origin,
    min_area: int = 0,
    patch_max_area: int = 0,
    pool: Sequence[PoolEntry] = (),
    base_weights: Float32[Tensor, " B"] | None = None,
    pasted_weights: Float32[Tensor, " P"] | None = None,
) -> Mixed:
    """Paste every instance of one image into another, then the pool's entries on top.

    Nothing is read back from the device, and inputs are left untouched. No instances at all is an
    ordinary case: the result is then the base.

    Args:
        base_image: the image below.
        base: its instances, or pseudo-labels; they lose the pixels that are covered.
        pasted_image: the image instances are taken from, same size.
        pasted: its instances, or pseudo-labels.
        origin: what the pasted instances are, for `Mixed.origin`.
        min_area: smallest instance pasted, in pixels.
        patch_max_area: instances of at most so many pixels are pasted with the whole of their box,
            the pool's too; their masks stay what they are. 0 for none.
        pool: entries of the rare-class pool, pasted in order.
        base_weights: of the base's slots, where they are not 1 (soft pseudo-labels).
        pasted_weights: of the pasted map's slots.
    """
    areas = pasted.areas()
    which = areas >= min_area
    small = which & (areas <= patch_max_area)
    patches = boxes_region(pasted, small) if patch_max_area else None
    mixed = paste(base_image, base, pasted_image, pasted, which=which, surplus=patches)
    origins = torch.where(mixed.pasted, int(origin), int(Origin.BASE))
    if pool:
        mixed = _paste_pool(mixed, pool, patch_max_area)
        origins = torch.where(mixed.pasted, int(Origin.POOL), origins)
    weights = None
    if base_weights is not None or pasted_weights is not None:
        ones = mixed.image.new_ones(len(mixed.instances))
        of_base = ones[: len(base)] if base_weights is None else base_weights
        of_pasted = ones[: len(pasted)] if pasted_weights is None else pasted_weights
        weights = torch.cat([of_base, of_pasted, ones[: len(pool)]])
    return Mixed(mixed.image, mixed.instances, origins.to(torch.uint8), weights)


def _paste_pool(mixed: Pasted, pool: Sequence[PoolEntry], patch_max_area: int) -> Pasted:
    """Return a mixed image with entries of the pool on top."""
    device = mixed.image.device
    layer = pool_layer(pool, mixed.instances.size, device=device, patch_max_area=patch_max_area)
    everything = torch.ones(len(pool), dtype=torch.bool, device=device)
    return paste(
        mixed.image,
        mixed.instances,
        layer.image,
        layer.instances,
        which=everything,
        surplus=layer.surplus,
    )
