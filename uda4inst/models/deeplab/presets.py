"""Network sizes: DeepLabV2 on ResNets, and the tiny one of ToyStreets.

Sources: the networks of EHTDI and of DACS. Both declare rates 6, 12, 18, 24 and sum the first two
only; EHTDI has the auxiliary head and its weight of 0.1, and trains batch norms whole but for scale
and shift of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uda4inst.models.resnet import R50, R101, TINY, ResNetSize

if TYPE_CHECKING:
    from uda4inst.models.deeplab.network import DeepLab

USED_RATES: Final = (6, 12)
ALL_RATES: Final = (6, 12, 18, 24)  # of the paper DeepLab; give them to a preset of your own


@dataclass(frozen=True, slots=True)
class DeepLabPreset:
    """One network size.

    Args:
        name: what the configuration calls it.
        backbone: its ResNet.
        rates: dilations of both heads.
        aux_weight: of the auxiliary head's cross-entropy (EHTDI: 0.1).
        frozen_stem_norm: leave scale and shift of the first batch norm as they were loaded, as
            EHTDI does; of no use where nothing is loaded.
    """

    name: str
    backbone: ResNetSize
    rates: tuple[int, ...] = USED_RATES
    aux_weight: float = 0.1
    frozen_stem_norm: bool = True

    def build(self, *, num_classes: int, gradient_checkpointing: bool) -> DeepLab:
        """Return the network. See `uda4inst.models.semantic.network.SemanticPreset`."""
        from uda4inst.models.deeplab.network import DeepLab

        return DeepLab(
            self,
            self.backbone.config(),
            rates=self.rates,
            aux_weight=self.aux_weight,
            frozen_stem_norm=self.frozen_stem_norm,
            num_classes=num_classes,
            gradient_checkpointing=gradient_checkpointing,
        )


_PRESETS: Final = (
    DeepLabPreset("deeplab_tiny", TINY, frozen_stem_norm=False),
    DeepLabPreset("deeplab_r50", R50),
    DeepLabPreset("deeplab_r101", R101),
)
DEEPLAB_PRESETS: Final[dict[str, DeepLabPreset]] = {p.name: p for p in _PRESETS}
