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

    The number of pairs of each layer (`counts`), the largest number of an image, over all layers
    (`most`), and whether the view has ignore pixels (`ignores`) are known on the host; the indices
    are on the device. `rank` numbers the pairs of each image.
    """

    layer: Int64[Tensor, " K"]
    image: Int64[Tensor, " K"]
    query: Int64[Tensor, " K"]
    slot: Int64[Tensor, " K"]
    rank: Int64[Tensor, " K"]
    counts: tuple[int, ...]
    most: int
    ignores: bool

    def __len__(self) -> int:
        """Number of pairs, over all layers and images."""
        return len(self.layer)


def assign(
    costs: Sequence[Float32[Tensor, "L B Q N"]],
    alive: Sequence[Bool[Tensor, "B N"]],
    ignores: Sequence[Bool[Tensor, ""]],
) -> list[Match]:
    """Solve every layer's and image's assignment of all views.

    Args:
        costs: one tensor per view; entries that are not finite are avoided while others remain.
        alive: which slots take part.
        ignores: whether the view has ignore pixels; only carried to the host.

    Returns:
        One `Match` per view, pairs ordered by layer, image and query.
    """
    device = costs[0].device
    parts = [
        part.flatten().float() for view in zip(costs, alive, ignores, strict=True) for part in view
    ]
    values = torch.cat(parts).cpu().numpy()  # the step's only device-to-host sync
    on_host = iter(np.split(values, np.cumsum([part.numel() for part in parts])[:-1]))
    pairs: list[NDArray[np.int64]] = []
    counts: list[tuple[int, ...]] = []
    most: list[int] = []
    ignoring: list[bool] = []
    for cost, slots in zip(costs, alive, strict=True):
        view, live = next(on_host).reshape(cost.shape), next(on_host).reshape(slots.shape) > 0
        pairs.append(_assign_view(view, live))
        counts.append(tuple(np.bincount(pairs[-1][0], minlength=len(view)).tolist()))
        most.append(int(pairs[-1][-1].max(initial=-1)) + 1)
        ignoring.append(bool(next(on_host)[0] > 0))
    indices = torch.from_numpy(np.concatenate(pairs, axis=1))
    if device.type == "cuda":
        indices = indices.pin_memory().to(device, non_blocking=True)
    per_view = indices.split([part.shape[1] for part in pairs], dim=1)
    return [
        Match(*part.unbind(0), counts=c, most=m, ignores=i)
        for part, c, m, i in zip(per_view, counts, most, ignoring, strict=True)
    ]


def _assign_view(costs: NDArray[np.float32], alive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the pairs of one view as rows layer, image, query, slot, rank."""
    found: list[NDArray[np.int64]] = [np.zeros((5, 0), dtype=np.int64)]
    ranks = np.zeros(costs.shape[1], dtype=np.int64)  # pairs of each image so far
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
        rank = ranks[image] + np.arange(len(query))
        ranks[image] += len(query)
        found.append(np.stack([*place, query, slots[column], rank]).astype(np.int64))
    return np.concatenate(found, axis=1)
