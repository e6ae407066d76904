"""A discriminator of domains, and what it makes a segmentation network learn.

The discriminator is to tell the class probabilities of source images (0) from those of target
images (1); the network is to make its target outputs look like source. All terms are binary
cross-entropies on the discriminator's logits, averaged over all their positions.

Reference: the Meta Pseudo Labels report for real-time segmentation, eq. 2 and 3, with the averages
of its code (commit 1c64801) in place of the printed sums.
"""

from __future__ import annotations

from typing import Final

from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

SOURCE: Final = 0.0  # what a discriminator says of source images
TARGET: Final = 1.0


def adversarial_loss(target: Float[Tensor, ...]) -> Float32[Tensor, ""]:
    """Return how far target outputs are from passing for source; to train the network with.

    Its gradient reaches the discriminator's parameters as well: give the discriminator's optimizer
    none of it.

    Args:
        target: the discriminator's logits of target outputs, at least one.
    """
    return _cross_entropy(target, SOURCE)


def discriminator_loss(
    source: Float[Tensor, ...], target: Float[Tensor, ...]
) -> Float32[Tensor, ""]:
    """Return how badly the domains are told apart, each counting half; for the discriminator.

    Args:
        source: its logits of source outputs that were detached from the network.
        target: of target outputs, likewise; the sizes may differ.
    """
    return (_cross_entropy(source, SOURCE) + _cross_entropy(target, TARGET)) / 2


def _cross_entropy(logits: Float[Tensor, ...], label: float) -> Float32[Tensor, ""]:
    """Return the mean binary cross-entropy of logits that should all say `label`."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, logits.new_full(logits.shape, label))
