"""ResNet, by `transformers`: sizes, and the changes that networks for semantic maps make to it.

Reference: He et al., Deep residual learning, CVPR 2016; Chen et al., DeepLab, TPAMI 2018, for the
dilated one. The library's has the stride of a bottleneck in its 3x3 convolution, where the networks
of the comparison methods have it in the first 1x1; published weights (microsoft/resnet-50 and
others) are of the former.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from uda4inst.models.recompute import Recomputed

if TYPE_CHECKING:
    from transformers import ResNetBackbone, ResNetConfig, ResNetModel

_Four = tuple[int, int, int, int]
DILATED_STRIDE: Final = 8  # pixels from a cell to the next in the last two stages, once dilated


@dataclass(frozen=True, slots=True)
class ResNetSize:
    """One size.

    Args:
        widths: channels of the four stages.
        depths: blocks a stage.
        block: two 3x3 convolutions, or a 3x3 between two 1x1.
        stem_width: channels of the first convolution.
        checkpoint: the published ImageNet weights of this architecture, if there are any.
    """

    widths: _Four
    depths: _Four
    block: Literal["basic", "bottleneck"]
    stem_width: int = 64
    checkpoint: str | None = None

    def config(self) -> ResNetConfig:
        """Return the library's configuration of this size."""
        from transformers import ResNetConfig

        return ResNetConfig(
            embedding_size=self.stem_width,
            hidden_sizes=list(self.widths),
            depths=list(self.depths),
            layer_type=self.block,
        )


_WIDE: Final[_Four] = (256, 512, 1024, 2048)
TINY: Final = ResNetSize((32, 64, 128, 192), (1, 1, 1, 1), "basic", stem_width=32)
R18: Final = ResNetSize(
    (64, 128, 256, 512), (2, 2, 2, 2), "basic", checkpoint="microsoft/resnet-18"
)
R50: Final = ResNetSize(_WIDE, (3, 4, 6, 3), "bottleneck", checkpoint="microsoft/resnet-50")
R101: Final = ResNetSize(_WIDE, (3, 4, 23, 3), "bottleneck", checkpoint="microsoft/resnet-101")


def stages(resnet: ResNetModel, pixels: Float[Tensor, "B 3 H W"]) -> Sequence[Tensor]:
    """Return the maps (B, C, h, w) of the four stages, finest first."""
    output: Any = resnet(pixels, output_hidden_states=True)
    return output.hidden_states[1:]


def dilate(resnet: ResNetModel) -> None:
    """Keep the last two stages at the second one's stride of 8 pixels; weights stay as they are.

    Their strides become 1, and their 3x3 convolutions look 2 and 4 cells away, those of a stage's
    first block too, as in DeepLab's.
    """
    last_two: Any = cast("Any", resnet.encoder.stages)[2:]
    for stage, dilation in zip(last_two, (2, 4), strict=True):
        for layer in stage.modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
                if layer.kernel_size != (1, 1):
                    layer.dilation = layer.padding = (dilation, dilation)


def freeze_stem_norm(resnet: ResNetModel) -> None:
    """Train neither scale nor shift of the stem's batch norm; its statistics still follow."""
    resnet.embedder.embedder.normalization.requires_grad_(False)


def frozen_norms(resnet: ResNetBackbone) -> tuple[nn.Module, ...]:
    """Take the batch norms out of training, scale and shift too, and return them.

    They normalise by their running statistics as long as they are in evaluation mode, in which the
    network must keep them.
    """
    norms = tuple(m for m in resnet.modules() if isinstance(m, nn.BatchNorm2d))
    for norm in norms:
        norm.requires_grad_(False)
    return norms


def recompute_blocks(resnet: ResNetModel | ResNetBackbone) -> None:
    """Have the blocks computed again in the backward pass; names of weights stay."""
    for stage in cast("Any", resnet.encoder.stages):
        stage.layers = nn.Sequential(*(Recomputed(block) for block in stage.layers))
