"""Cross- and self-attention of the transformer decoder, and the masks between its layers.

Each class takes the place of one of the library's and adopts its layers, so weights keep their
names. The library asks torch for the attention weights of every layer and drops them, and hands
each head its own copy of the mask; here weights are not returned, and heads share one mask.

Reference: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, sec. 3.2.1, eq. 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerMaskedAttentionDecoderOutput,
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
        heads = [  # (B, heads, cells, D / heads); image by image, as the cells lie in memory
            F.linear(part.transpose(0, 1), weight, bias)
            .unflatten(-1, (self.heads, -1))
            .transpose(1, 2)
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


class MaskedDecoder(nn.Module):
    """The transformer decoder: layers in turn, and the queries' masks after each.

    It adopts the library's layers under their names; on a CPU the library's decoder runs as it is.
    On a device masks are products that are made where they are read: the attention of the next
    layer needs them at its level's size alone, and shrinking the features, once a level, is the
    same as shrinking the logits of every query.

    Args:
        library: where the layers come from.
    """

    def __init__(self, library: Mask2FormerMaskedAttentionDecoder) -> None:
        super().__init__()
        library.mask_predictor = cast("Any", MaskPredictor(library.mask_predictor))
        for layer in library.layers:
            layer.cross_attn = cast("Any", CrossAttention(cast("Any", layer.cross_attn)))
            layer.self_attn = cast("Any", SelfAttention(cast("Any", layer.self_attn)))
        for name, part in library.named_children():
            self.add_module(name, part)
        self._library = (library,)  # in a tuple: not registered, its parts have their names already

    def forward(
        self,
        *,
        inputs_embeds: Float[Tensor, "Q B D"],
        multi_stage_positional_embeddings: Sequence[Float[Tensor, "_ B D"]],
        pixel_embeddings: Float[Tensor, "B D h w"],
        encoder_hidden_states: Sequence[Float[Tensor, "_ B D"]],
        query_position_embeddings: Float[Tensor, "Q B D"],
        feature_size_list: Sequence[torch.Size],
        **more: Any,
    ) -> Mask2FormerMaskedAttentionDecoderOutput:
        """Return the queries after every layer and, as "mask logits", what makes them.

        Args:
            inputs_embeds: the queries before the first layer.
            multi_stage_positional_embeddings: positions of the cells of each level.
            pixel_embeddings: features of every mask cell.
            encoder_hidden_states: cells of each level.
            query_position_embeddings: positions of the queries.
            feature_size_list: (height, width) of each level.
            more: flags that the library passes.
        """
        (library,) = self._library
        if not uses_kernels(inputs_embeds):
            return library(
                inputs_embeds=inputs_embeds,
                multi_stage_positional_embeddings=multi_stage_positional_embeddings,
                pixel_embeddings=pixel_embeddings,
                encoder_hidden_states=encoder_hidden_states,
                query_position_embeddings=query_position_embeddings,
                feature_size_list=feature_size_list,
                **more,
            )
        with torch.no_grad(), torch.autocast(pixel_embeddings.device.type, enabled=False):
            shrunk = [
                F.interpolate(pixel_embeddings, size=size, mode="bilinear", align_corners=False)
                for size in feature_size_list
            ]
        embed = cast("MaskPredictor", library.mask_predictor).mask_embedder
        queries = inputs_embeds
        states = [library.layernorm(queries)]
        embeddings = [embed(states[-1].transpose(0, 1))]
        for index, layer in enumerate(library.layers):
            level = index % len(feature_size_list)
            (queries,) = layer(
                queries,
                level_index=level,
                position_embeddings=multi_stage_positional_embeddings,
                query_position_embeddings=query_position_embeddings,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=_outside(embeddings[-1], shrunk[level]),
                output_attentions=False,
            )
            states.append(library.layernorm(queries))
            embeddings.append(embed(states[-1].transpose(0, 1)))
        return Mask2FormerMaskedAttentionDecoderOutput(
            last_hidden_state=cast("Any", queries.transpose(0, 1)),
            intermediate_hidden_states=cast("Any", tuple(states)),
            masks_queries_logits=cast("Any", tuple(embeddings)),
        )


@torch.no_grad()
def _outside(
    embeddings: Float[Tensor, "B Q D"], features: Float[Tensor, "B D h w"]
) -> Bool[Tensor, "B Q S"]:
    """Return where queries do not look: outside their masks, nowhere if these have no cell."""
    outside = _is_outside(torch.bmm(embeddings, features.flatten(2)))
    return outside & ~outside.all(-1, keepdim=True)


def _is_outside(logits: Float[Tensor, "B Q S"]) -> Bool[Tensor, "B Q S"]:
    """Return where mask logits are outside, as the library rounds: not logits < 0."""
    return logits.sigmoid() < 0.5


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
            return logits, _is_outside(small.flatten(2))
