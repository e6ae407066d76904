"""What every network is to the rest of the package."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """Images in, a prediction out; normalisation and padding are the network's own affair.

    A prediction is a value with a `select(images: slice)`, so that several views can share one
    forward; what else it holds is between the network, its loss and its decoding (see the task).
    """

    # Names of the backbone's parameters start with this; they learn at a share of the rate.
    backbone_prefix: str
    # Names of the parameters whose size depends on the number of classes.
    class_head: tuple[str, ...]

    @property
    @abstractmethod
    def architecture(self) -> Mapping[str, Any]:
        """What must agree for weights to fit, such as preset and number of classes."""

    @abstractmethod
    def forward(self, images: Tensor) -> Any:
        """Return the prediction for RGB images (B, 3, H, W) in [0, 1] of any size."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's coarsest feature map (B, C, h, w), of the images alone: no padding.

        Args:
            images: as for `forward`.
        """


class FeaturesOnly(nn.Module):
    """A network of which only the backbone is wanted.

    Args:
        network: the whole.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return `Network.features`."""
        return self.network.features(images)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the tensors of a network when weights were loaded.

    Args:
        source: where the weights came from.
        loaded: how many tensors were filled.
        reinitialised: tensors of the network left as initialised because their size differs.
        missing: tensors of the network the source does not hold.
        unexpected: tensors of the source the network has no place for.
    """

    source: str
    loaded: int
    reinitialised: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for the log."""
        parts = [f"weights from {self.source}: {self.loaded} tensors loaded"]
        for name in ("reinitialised", "missing", "unexpected"):
            tensors: tuple[str, ...] = getattr(self, name)
            if tensors:
                parts.append(f"{name}: {listed(tensors)}")
        return "; ".join(parts)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Return at most five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
