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

from uda4inst.ops.paste import paste
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
    """

    image: Float32[Tensor, "3 H W"]
    instances: InstanceMap
    origin: UInt8[Tensor, "H W"]


def mix(
    base_image: Float32[Tensor, "3 H W"],
    base: InstanceMap,
    pasted_image: Float32[Tensor, "3 H W"],
    pasted: InstanceMap,
    *,
    origin: Origin,
    min_area: int = 0,
    pool: Sequence[PoolEntry] = (),
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
        pool: entries of the rare-class pool, pasted in order.
    """
    which = pasted.areas() >= min_area
    mixed = paste(base_image, base, pasted_image, pasted, which=which)
    origins = torch.where(mixed.pasted, int(origin), int(Origin.BASE))
    if pool:
        pool_image, pool_map = pool_layer(pool, base.size, device=base_image.device)
        everything = torch.ones(len(pool), dtype=torch.bool, device=base_image.device)
        mixed = paste(mixed.image, mixed.instances, pool_image, pool_map, which=everything)
        origins = torch.where(mixed.pasted, int(Origin.POOL), origins)
    return Mixed(mixed.image, mixed.instances, origins.to(torch.uint8))
