"""Network sizes: Mask2Former's published ones, with Swin and ResNet, and the tiny of ToyStreets.

Sources: `configs/coco/instance-segmentation/` of the authors' repository (facebookresearch) for
widths, depths, heads, windows, drop-path and query counts; every other value is Mask2Former's own
default, and the default of `transformers`. Nothing here is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uda4inst.classes import THING_NAMES
from uda4inst.models.hub import quiet_library
from uda4inst.models.resnet import R50, R101, ResNetSize

if TYPE_CHECKING:
    from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

STAGES: Final = ("stage1", "stage2", "stage3", "stage4")


@dataclass(frozen=True, slots=True)
class SwinSize:
    """One Swin Transformer.

    Args:
        embed_dim: channels of the first stage (doubled at each later stage).
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of the attention windows, in cells.
        image_size: side the weights were trained at, pixels (no effect on shapes).
        drop_path: stochastic depth rate; 0.3 in every published checkpoint.
    """

    embed_dim: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int
    image_size: int = 224
    drop_path: float = 0.3

    def config(self) -> SwinConfig:
        """Return the library's configuration of this size."""
        from transformers import SwinConfig

        return SwinConfig(
            image_size=self.image_size,
            embed_dim=self.embed_dim,
            depths=list(self.depths),
            num_heads=list(self.heads),
            window_size=self.window,
            drop_path_rate=self.drop_path,
        )


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """One network size.

    Args:
        name: what the configuration calls it.
        backbone: what makes features of images.
        num_queries: object queries.
        hidden: channels of pixel decoder, mask features and transformer decoder.
        attention_heads: heads of pixel and transformer decoder.
        encoder_layers: deformable-attention layers of the pixel decoder.
        encoder_feedforward: feed-forward width in the pixel decoder.
        predictions: predictions made and supervised: one of the learnable queries, then one per
            transformer decoder layer (upstream's and `transformers`' "decoder_layers").
        feedforward: feed-forward width in the transformer decoder.
        checkpoint: the COCO instance checkpoint of this architecture on the Hugging Face hub, if
            there is one.
    """

    name: str
    backbone: SwinSize | ResNetSize
    num_queries: int = 100
    hidden: int = 256
    attention_heads: int = 8
    encoder_layers: int = 6
    encoder_feedforward: int = 1024
    predictions: int = 10
    feedforward: int = 2048
    checkpoint: str | None = None

    def config(self, num_classes: int, names: Sequence[str] = THING_NAMES) -> Mask2FormerConfig:
        """Return the `transformers` configuration of this size for so many classes.

        Args:
            num_classes: of the head, "no object" aside.
            names: of these; numbers stand in where there are others than so many.
        """
        from transformers import Mask2FormerConfig

        known = names if num_classes == len(names) else [str(n) for n in range(num_classes)]
        backbone: SwinConfig | ResNetConfig = self.backbone.config()
        backbone.out_features = list(STAGES)
        with quiet_library():  # it warns of backbones other than Swin
            return Mask2FormerConfig(
                backbone_config=backbone,
                feature_size=self.hidden,
                mask_feature_size=self.hidden,
                hidden_dim=self.hidden,
                num_attention_heads=self.attention_heads,
                encoder_layers=self.encoder_layers,
                encoder_feedforward_dim=self.encoder_feedforward,
                decoder_layers=self.predictions,
                dim_feedforward=self.feedforward,
                num_queries=self.num_queries,
                dropout=0.0,
                id2label=dict(enumerate(known)),
                label2id={name: index for index, name in enumerate(known)},
            )


_PRESETS: Final = (
    ModelPreset(
        name="tiny",
        backbone=SwinSize(
            embed_dim=48, depths=(1, 1, 2, 1), heads=(3, 6, 12, 24), window=8, drop_path=0.0
        ),
        num_queries=20,
        hidden=64,
        attention_heads=4,
        encoder_layers=3,
        encoder_feedforward=256,
        predictions=4,
        feedforward=256,
    ),
    ModelPreset(
        name="swin_t",
        backbone=SwinSize(embed_dim=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7),
        checkpoint="facebook/mask2former-swin-tiny-coco-instance",
    ),
    ModelPreset(
        name="swin_s",
        backbone=SwinSize(embed_dim=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24), window=7),
        checkpoint="facebook/mask2former-swin-small-coco-instance",
    ),
    ModelPreset(
        name="swin_b",
        backbone=SwinSize(embed_dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12),
        checkpoint="facebook/mask2former-swin-base-coco-instance",
    ),
    ModelPreset(
        name="swin_l",
        backbone=SwinSize(
            embed_dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12, image_size=384
        ),
        num_queries=200,
        checkpoint="facebook/mask2former-swin-large-coco-instance",
    ),
    # published in the authors' format alone: docs/exchange.md
    ModelPreset(name="r50", backbone=R50),
    ModelPreset(name="r101", backbone=R101),
)
MODEL_PRESETS: Final[dict[str, ModelPreset]] = {preset.name: preset for preset in _PRESETS}
