"""Network sizes: the published SegFormer + MiT architectures and the tiny one of ToyStreets.

Sources: Xie et al., SegFormer (arXiv 2105.15203), Table 6 for widths, depths, heads and the head's
channels; every other value is the default of `transformers`. Nothing here is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uda4inst.classes import SEMANTIC_CLASSES

if TYPE_CHECKING:
    from transformers import SegformerConfig

    from uda4inst.models.segformer.network import SegFormer

_Four = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SegFormerPreset:
    """One network size.

    Args:
        name: what the configuration calls it.
        widths: channels of the four stages.
        depths: blocks per stage.
        heads: attention heads per stage.
        head_width: channels of the head.
        drop_path: stochastic depth rate; 0.1 in every published checkpoint.
        head_dropout: dropout before the last layer; 0.1 in every published checkpoint.
        encoder_checkpoint: the published ImageNet encoder of this architecture, if there is one.
    """

    name: str
    widths: _Four
    depths: _Four
    heads: _Four = (1, 2, 5, 8)
    head_width: int = 768
    drop_path: float = 0.1
    head_dropout: float = 0.1
    encoder_checkpoint: str | None = None

    def config(self, num_classes: int) -> SegformerConfig:
        """Return the `transformers` configuration of this size for so many classes."""
        from transformers import SegformerConfig

        known = tuple(c.name for c in SEMANTIC_CLASSES)
        names = known if num_classes == len(known) else tuple(map(str, range(num_classes)))
        return SegformerConfig(
            hidden_sizes=list(self.widths),
            depths=list(self.depths),
            num_attention_heads=list(self.heads),
            decoder_hidden_size=self.head_width,
            drop_path_rate=self.drop_path,
            classifier_dropout_prob=self.head_dropout,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        )

    def build(self, *, num_classes: int, gradient_checkpointing: bool) -> SegFormer:
        """Return the network. See `uda4inst.models.semantic.network.SemanticPreset`."""
        from uda4inst.models.segformer.network import SegFormer

        return SegFormer(
            self,
            self.config(num_classes),
            num_classes=num_classes,
            gradient_checkpointing=gradient_checkpointing,
        )


_WIDE: Final[_Four] = (64, 128, 320, 512)
_PRESETS: Final = (
    SegFormerPreset(
        name="mit_tiny",
        widths=(24, 48, 96, 160),
        depths=(1, 1, 2, 1),
        heads=(1, 2, 4, 5),
        head_width=96,
        drop_path=0.0,
        head_dropout=0.0,
    ),
    SegFormerPreset(
        name="mit_b0",
        widths=(32, 64, 160, 256),
        depths=(2, 2, 2, 2),
        head_width=256,
        encoder_checkpoint="nvidia/mit-b0",
    ),
    SegFormerPreset(
        name="mit_b1",
        widths=_WIDE,
        depths=(2, 2, 2, 2),
        head_width=256,
        encoder_checkpoint="nvidia/mit-b1",
    ),
    SegFormerPreset("mit_b2", _WIDE, (3, 4, 6, 3), encoder_checkpoint="nvidia/mit-b2"),
    SegFormerPreset("mit_b3", _WIDE, (3, 4, 18, 3), encoder_checkpoint="nvidia/mit-b3"),
    SegFormerPreset("mit_b4", _WIDE, (3, 8, 27, 3), encoder_checkpoint="nvidia/mit-b4"),
    SegFormerPreset("mit_b5", _WIDE, (3, 6, 40, 3), encoder_checkpoint="nvidia/mit-b5"),
)
SEGFORMER_PRESETS: Final[dict[str, SegFormerPreset]] = {p.name: p for p in _PRESETS}
