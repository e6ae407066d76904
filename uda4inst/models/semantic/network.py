"""What every network for semantic maps is to the rest of the package."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from jaxtyping import Float32
from torch import Tensor

from uda4inst.models.network import LoadReport, Network
from uda4inst.models.semantic.prediction import SemanticPrediction


class SemanticPreset(Protocol):
    """One network size of a family."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    def build(self, *, num_classes: int, gradient_checkpointing: bool) -> SemanticNetwork:
        """Return the network, freshly initialised from torch's generator.

        Args:
            num_classes: what a pixel can be.
            gradient_checkpointing: recompute the backbone's blocks in the backward pass: less
                memory, one more forward of the backbone.
        """
        ...


class SemanticNetwork(Network):
    """Images in, class logits out. Derived classes set `preset` and `num_classes`."""

    preset: SemanticPreset
    num_classes: int

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What must agree for weights to fit."""
        return {
            "preset": self.preset.name,
            "num_classes": self.num_classes,
            "parameters": sum(p.numel() for p in self.parameters()),
        }

    @abstractmethod
    def forward(self, images: Float32[Tensor, "B 3 H W"]) -> SemanticPrediction:
        """Predict the class of every cell.

        Args:
            images: RGB in [0, 1], any size; normalised and padded in here.

        Returns:
            Logits over the padded images, with what auxiliary heads say in training mode alone;
            bf16 under bf16 autocast.
        """

    @abstractmethod
    def features(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B C h w"]:
        """Return the backbone's coarsest feature map of the images alone."""

    @abstractmethod
    def load_checkpoint(self, name: str, *, source: str) -> LoadReport:
        """Fill the network from a checkpoint in the format of `transformers`.

        Args:
            name: a folder, or a name on the hub.
            source: what the report calls it.

        Raises:
            UserError: it cannot be read, or is of another architecture.
        """
