"""The assignment problem of all layers, images and views, with one device-to-host transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

# Stands for a cost that is not a number: larger than any real one (they are below 1e6), small
# enough that sums of it keep the digits of the others in float64.
_HOPELESS: Final = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Matched pairs of one view: query `query` of layer `layer` stands for slot `slot` of an image.

    The number of pairs is known on the host; the indices are on the device.
    """

    layer: Int64[Tensor, " K"]
    image: Int64[Tensor, " K"]
    query: Int64[Tensor, " K"]
    slot: Int64[Tensor, " K"]

    def __len__(self) -> int:
        """Number of pairs, over all layers and images."""
        return len(self.layer)


def assign(
    costs: Sequence[Float32[Tensor, "L B Q N"]], alive: Sequence[Bool[Tensor, "B N"]]
) -> list[Match]:
    """Solve every layer's and image's assignment of all views.

    Args:
        costs: one tensor per view; entries that are not finite are avoided while others remain.
        alive: which slots take part.

    Returns:
        One `Match` per view, pairs ordered by layer, image and query.
    """
    device = costs[0].device
    parts = [part.flatten().float() for pair in zip(costs, alive, strict=True) for part in pair]
    values = torch.cat(parts).cpu().numpy()  # the step's only device-to-host sync
    pairs: list[NDArray[np.int64]] = []
    offset = 0
    for cost, slots in zip(costs, alive, strict=True):
        view = values[offset : offset + cost.numel()].reshape(cost.shape)
        offset += cost.numel()
        live = values[offset : offset + slots.numel()].reshape(slots.shape) > 0
        offset += slots.numel()
        pairs.append(_assign_view(view, live))
    counts = [part.shape[1] for part in pairs]
    indices = torch.from_numpy(np.concatenate(pairs, axis=1))
    if device.type == "cuda":
        indices = indices.pin_memory().to(device, non_blocking=True)
    return [Match(*part.unbind(0)) for part in indices.split(counts, dim=1)]


def _assign_view(costs: NDArray[np.float32], alive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the pairs of one view as rows layer, image, query, slot."""
    found = [np.zeros((4, 0), dtype=np.int64)]
    for layer, image in np.ndindex(costs.shape[:2]):
        slots = np.flatnonzero(alive[image])
        if len(slots) == 0:
            continue
        cost = np.nan_to_num(
            costs[layer, image][:, slots].astype(np.float64),
            nan=_HOPELESS,
            posinf=_HOPELESS,
            neginf=_HOPELESS,
        )
        query, column = linear_sum_assignment(cost)
        place = np.full_like(query, layer), np.full_like(query, image)
        found.append(np.stack([*place, query, slots[column]]).astype(np.int64))
    return np.concatenate(found, axis=1)
