"""Network sizes: DAFormer's head on every MiT, and the tiny one of ToyStreets.

Source: Hoyer et al., DAFormer (arXiv 2111.14887), sec. 3.2 and its published code for the head; the
paper has it on MiT-B5 alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uda4inst.models.daformer.head import FusionHead
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS, SegFormerPreset

if TYPE_CHECKING:
    from uda4inst.models.daformer.network import DAFormerNetwork


@dataclass(frozen=True, slots=True)
class DAFormerPreset:
    """One network size.

    Args:
        name: what the configuration calls it.
        encoder: the SegFormer whose MiT it has; drop path included.
        head_width: channels of every level and branch in the head.
        dilations: of the head's branches.
        head_dropout: rate at which whole channels are dropped before the last layer.
    """

    name: str
    encoder: SegFormerPreset
    head_width: int = 256
    dilations: tuple[int, ...] = (1, 6, 12, 18)
    head_dropout: float = 0.1

    def head(self, num_classes: int) -> FusionHead:
        """Return a fresh head for so many classes."""
        return FusionHead(
            self.encoder.widths,
            self.head_width,
            num_classes,
            dilations=self.dilations,
            dropout=self.head_dropout,
        )

    def build(self, *, num_classes: int, gradient_checkpointing: bool) -> DAFormerNetwork:
        """Return the network. See `uda4inst.models.semantic.network.SemanticPreset`."""
        from uda4inst.models.daformer.network import DAFormerNetwork

        return DAFormerNetwork(
            self,
            self.encoder.config(num_classes),
            self.head(num_classes),
            num_classes=num_classes,
            gradient_checkpointing=gradient_checkpointing,
        )


def _on(size: str) -> DAFormerPreset:
    """Return the published head on a published encoder."""
    return DAFormerPreset(f"daformer_{size}", SEGFORMER_PRESETS[f"mit_{size}"])


_TINY: Final = DAFormerPreset(
    "daformer_tiny", SEGFORMER_PRESETS["mit_tiny"], head_width=32, head_dropout=0.0
)
_PRESETS: Final = (_TINY, *(_on(size) for size in ("b0", "b1", "b2", "b3", "b4", "b5")))
DAFORMER_PRESETS: Final[dict[str, DAFormerPreset]] = {p.name: p for p in _PRESETS}
