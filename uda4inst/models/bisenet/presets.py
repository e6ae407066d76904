"""Network sizes: BiSeNet on two ResNets, and the tiny one of ToyStreets.

Source: the network of the report "Meta Pseudo Labels for real-time segmentation", whose losses add
both auxiliary heads with weight 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uda4inst.models.resnet import R18, R101, TINY, ResNetSize

if TYPE_CHECKING:
    from uda4inst.models.bisenet.network import BiSeNet


@dataclass(frozen=True, slots=True)
class BiSeNetPreset:
    """One network size.

    Args:
        name: what the configuration calls it.
        context: its ResNet.
        spatial_widths: channels of the spatial path's three convolutions.
        aux_weight: of each auxiliary head's cross-entropy.
    """

    name: str
    context: ResNetSize
    spatial_widths: tuple[int, int, int] = (64, 128, 256)
    aux_weight: float = 1.0

    def build(self, *, num_classes: int, gradient_checkpointing: bool) -> BiSeNet:
        """Return the network. See `uda4inst.models.semantic.network.SemanticPreset`."""
        from uda4inst.models.bisenet.network import BiSeNet

        return BiSeNet(
            self,
            self.context.config(),
            spatial_widths=self.spatial_widths,
            aux_weight=self.aux_weight,
            num_classes=num_classes,
            gradient_checkpointing=gradient_checkpointing,
        )


_PRESETS: Final = (
    BiSeNetPreset("bisenet_tiny", TINY, spatial_widths=(16, 32, 64)),
    BiSeNetPreset("bisenet_r18", R18),
    BiSeNetPreset("bisenet_r101", R101),
)
BISENET_PRESETS: Final[dict[str, BiSeNetPreset]] = {p.name: p for p in _PRESETS}
