"""What a network makes of whole images, and how far apart it holds two domains.

An image's embedding is its backbone's coarsest feature map, averaged over the image. The gap is the
squared maximum mean discrepancy of Gretton et al., "A Kernel Two-Sample Test" (JMLR 2012), in its
unbiased form, with a Gaussian kernel as wide as the median distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64
from numpy.typing import NDArray
from torch import Tensor, nn

from uda4inst.evaluation.inference import infer
from uda4inst.models.network import Network
from uda4inst.structures import Size

_LEAST: Final = 2  # images of a domain: pairs are compared


def embed(
    network: Network,
    images: Iterator[NDArray[np.uint8]],
    *,
    device: torch.device | str,
    short_side: int | None = None,
) -> Iterator[Float32[np.ndarray, " C"]]:
    """Yield the embedding of every image.

    Args:
        network: on `device`; it is in its own mode again between images.
        images: RGB, uint8 (H, W, 3), of any sizes; equal neighbours share a forward.
        device: where the forward runs.
        short_side: resize images to this shorter side first; None takes them as they are.
    """

    def read(features: Tensor, size: Size) -> list[tuple[Tensor]]:
        del size
        return [(one,) for one in features.float().mean(dim=(-2, -1))]

    def finish(tensors: tuple[Tensor, ...], size: Size) -> Float32[np.ndarray, " C"]:
        del size
        return tensors[0].numpy()

    return infer(_Features(network), images, read, finish, device=device, short_side=short_side)


class _Features(nn.Module):
    """A network's features as what it returns."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> Tensor:
        return self._network.features(images)


def domain_gap(source: Float32[np.ndarray, "N C"], target: Float32[np.ndarray, "M C"]) -> float:
    """Return how far apart two sets of embeddings lie: 0 for the same distribution, below 2.

    It does not depend on the scale of the features, so networks can be compared. Of two samples of
    one distribution it is around 0, on either side.

    Raises:
        ValueError: a set has fewer than two embeddings.
    """
    if min(len(source), len(target)) < _LEAST:
        raise ValueError(
            f"both sets must have {_LEAST} embeddings, got {len(source)}, {len(target)}"
        )
    points = np.concatenate([source, target]).astype(np.float64)
    distances = _squared_distances(points)
    middle = float(np.median(distances[np.triu_indices(len(points), 1)]))
    if middle == 0:
        return 0.0  # practically all are the same
    kernel = np.exp(-distances / middle)
    n = len(source)
    within = _mean_of_pairs(kernel[:n, :n]) + _mean_of_pairs(kernel[n:, n:])
    return within - 2 * float(kernel[:n, n:].mean())


def _squared_distances(points: Float64[np.ndarray, "N C"]) -> Float64[np.ndarray, "N N"]:
    squares = (points**2).sum(1)
    found = np.maximum(squares[:, None] + squares[None] - 2 * points @ points.T, 0)
    np.fill_diagonal(found, 0)
    return found


def _mean_of_pairs(kernel: Float64[np.ndarray, "N N"]) -> float:
    """Return the mean over all pairs of two different points."""
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
