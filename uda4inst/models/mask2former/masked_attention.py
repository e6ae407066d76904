"""Cross- and self-attention of the transformer decoder, and the masks between its layers.

Each class takes the place of one of the library's and adopts its layers, so weights keep their
names. The library asks torch for the attention weights of every layer and drops them, and hands
each head its own copy of the mask; here weights are not returned, and heads share one mask.

Reference: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, sec. 3.2.1, eq. 2 and 3.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerMaskPredictor,
)

from uda4inst.models.mask2former.kernels import attend, uses_kernels


class CrossAttention(nn.Module):
    """Queries look at the cells of one level where their mask is.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads: int = library.num_heads
        self.in_proj_weight = library.in_proj_weight
        self.in_proj_bias = library.in_proj_bias
        self.out_proj = library.out_proj

    def forward(
        self,
        query: Float[Tensor, "Q B D"],
        key: Float[Tensor, "S B D"],
        value: Float[Tensor, "S B D"],
        *,
        attn_mask: Bool[Tensor, "B Q S"],
        **_: Any,
    ) -> tuple[Float[Tensor, "Q B D"], None]:
        """Return the attended features; the weights are not returned.

        Args:
            query: queries with their positions.
            key: cells with their positions.
            value: the cells.
            attn_mask: where not to look, the same for all heads; no row may be true throughout.
            _: what the library passes beside: a mask of padding, which is never set.
        """
        if not uses_kernels(query):
            return self._reference(query, key, value, attn_mask), None
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        heads = [  # (B, heads, cells, D / heads)
            F.linear(part, weight, bias).unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)
            for part, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        bias = heads[0].new_zeros(attn_mask.shape).masked_fill_(attn_mask, -torch.inf)
        attended = attend(*heads, bias=bias[:, None])
        return self.out_proj(attended.permute(2, 0, 1, 3).flatten(2)), None

    def _reference(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Bool[Tensor, "B Q S"]
    ) -> Float[Tensor, "Q B D"]:
        """Return what the library's call of `nn.MultiheadAttention` does."""
        return F.multi_head_attention_forward(
            query,
            key,
            value,
            query.shape[-1],
            self.heads,
            self.in_proj_weight,
            self.in_proj_bias,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.out_proj.weight,
            out_proj_bias=self.out_proj.bias,
            need_weights=True,  # another order of operations without
            attn_mask=attn_mask.repeat_interleave(self.heads, dim=0),
        )[0]


class SelfAttention(nn.Module):
    """Queries look at each other.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: Mask2FormerAttention) -> None:
        super().__init__()
        self.heads: int = library.num_heads
        self.scaling: float = library.scaling
        self.k_proj = library.k_proj
        self.v_proj = library.v_proj
        self.q_proj = library.q_proj
        self.out_proj = library.out_proj

    def forward(
        self,
        hidden_states: Float[Tensor, "Q B D"],
        *,
        position_embeddings: Float[Tensor, "Q B D"],
        **_: Any,
    ) -> tuple[Float[Tensor, "Q B D"], None]:
        """Return the attended features; the weights are not returned.

        Args:
            hidden_states: the queries.
            position_embeddings: their positions, which values do not have.
            _: what the library passes beside: a mask, which is never set, and a wish for weights.
        """
        values = hidden_states.transpose(0, 1)
        placed = values + position_embeddings.transpose(0, 1)
        query, key, value = self.q_proj(placed), self.k_proj(placed), self.v_proj(values)
        if uses_kernels(hidden_states):
            attended = attend(*(self._heads(part) for part in (query, key, value)))
        else:  # as the library does it
            query, key, value = (
                self._heads(part).contiguous().flatten(0, 1)
                for part in (query * self.scaling, key, value)
            )
            weights = torch.bmm(query, key.transpose(1, 2)).softmax(-1)
            attended = torch.bmm(weights, value).unflatten(0, (-1, self.heads))
        return self.out_proj(attended.transpose(1, 2).flatten(2)).permute(1, 0, 2), None

    def _heads(self, part: Float[Tensor, "B Q D"]) -> Float[Tensor, "B H Q d"]:
        """Split channels into heads."""
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MaskPredictor(nn.Module):
    """Masks of all queries, and from them where the next layer does not look.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: Mask2FormerMaskPredictor) -> None:
        super().__init__()
        self.mask_embedder = library.mask_embedder

    def forward(
        self,
        outputs: Float[Tensor, "Q B D"],
        pixel_embeddings: Float[Tensor, "B D h w"],
        attention_mask_target_size: torch.Size,
    ) -> tuple[Float[Tensor, "B Q h w"], Bool[Tensor, "B Q S"]]:
        """Return mask logits, and which cells of the next layer's level lie outside the masks.

        Args:
            outputs: the queries after a layer.
            pixel_embeddings: features of every mask cell.
            attention_mask_target_size: (height, width) of the next layer's level.
        """
        embeddings = self.mask_embedder(outputs.transpose(0, 1))
        logits = torch.einsum("bqc, bchw -> bqhw", embeddings, pixel_embeddings)
        with torch.no_grad():
            small = F.interpolate(
                logits, size=attention_mask_target_size, mode="bilinear", align_corners=False
            )
            outside = small.sigmoid().flatten(2) < 0.5  # as the library rounds: not logits < 0
        return logits, outside
