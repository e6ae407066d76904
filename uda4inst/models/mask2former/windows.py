"""Window attention and feed-forward of Swin's blocks, on the library's own weights.

On a CPU the library's order of operations. On a device: one projection for query, key and value,
so that their input is cast and kept once and not three times; and neither the mask of shifted
windows (each block's own copy for every window of every image) nor the activation of the
feed-forward part is kept for the backward pass.

Reference: Liu et al., Swin Transformer, ICCV 2021, sec. 3.2, eq. 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.swin.modeling_swin import SwinAttention, SwinMLP

from uda4inst.models.mask2former.kernels import attend, uses_kernels
from uda4inst.models.recompute import Remade


class WindowAttention(nn.Module):
    """Cells look at the cells of their window.

    Args:
        library: where the layers come from.
        remakes: whether the mask is made again in the backward pass.
    """

    def __init__(self, library: SwinAttention, *, remakes: bool) -> None:
        super().__init__()
        self.width: int = library.head_dim
        self.remakes = remakes
        self.q_proj = library.q_proj
        self.k_proj = library.k_proj
        self.v_proj = library.v_proj
        self.o_proj = library.o_proj
        self.relative_position_bias = library.relative_position_bias

    def forward(
        self,
        hidden_states: Float[Tensor, "N L C"],
        attention_mask: Float[Tensor, "W L L"] | None = None,
        *,
        whole: int = 0,
        **_: Any,
    ) -> tuple[Float[Tensor, "N L C"], None]:
        """Return the attended features; the weights are not returned.

        Args:
            hidden_states: cells of the windows of all images.
            attention_mask: added to the scores of each window of an image, an image's windows side
                by side; None in blocks that are not shifted.
            whole: how many windows, the first ones, have no mask.
            _: flags that the library passes on.
        """
        if not uses_kernels(hidden_states):
            return self._reference(hidden_states, attention_mask), None
        layers = (self.q_proj, self.k_proj, self.v_proj)
        projected = F.linear(
            hidden_states,
            torch.cat([layer.weight for layer in layers]),
            torch.cat([layer.bias for layer in layers]),
        )
        position = self.relative_position_bias()
        whole = len(projected) if attention_mask is None else whole
        parts = _Heads.apply(projected, self.width, whole)
        attended: list[Tensor] = []
        if whole > 0:
            attended.append(attend(parts[0], parts[1], parts[2], bias=position.to(projected.dtype)))
        if attention_mask is not None:
            attended.append(self._masked(parts[-3:], position, attention_mask))
        cells = [part.transpose(1, 2).flatten(2) for part in attended]
        return self.o_proj(cells[0] if len(cells) == 1 else torch.cat(cells)), None

    def _masked(
        self, heads: Sequence[Tensor], position: Tensor, mask: Tensor
    ) -> Float[Tensor, "N H L D"]:
        """Attend with both biases, of which only the parts are kept."""
        query, key, value = heads
        images = len(query) // len(mask)

        def both() -> Float[Tensor, "N H L L"]:
            one = (position + mask[:, None]).to(query.dtype)
            return one.expand(images, *one.shape).flatten(0, 1)

        bias = both()
        if not (self.remakes and torch.is_grad_enabled()):
            return attend(query, key, value, bias=bias)
        with Remade(bias, both):
            return attend(query, key, value, bias=bias)

    def _reference(self, hidden_states: Tensor, shift: Tensor | None) -> Float[Tensor, "N L C"]:
        """Return what the library's module does."""
        query, key, value = (
            layer(hidden_states).unflatten(-1, (-1, self.width)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = self.relative_position_bias()
        if shift is not None:
            images = len(hidden_states) // len(shift)
            bias = bias + shift[:, None].expand(images, -1, -1, -1, -1).flatten(0, 1)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=self.width**-0.5
        )
        return self.o_proj(attended.transpose(1, 2).contiguous().flatten(2))


class _Heads(torch.autograd.Function):
    """Query, key and value of some windows and of the others, as views of one product.

    Their gradients are written side by side into the product's, with nothing in between.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, width: int, first: int) -> tuple[Tensor, ...]:
        ctx.width = width
        ctx.counts = [count for count in (first, len(projected) - first) if count]
        return _heads(projected, width, ctx.counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        heads, cells, width = gradients[0].shape[1:]
        whole = gradients[0].new_empty((sum(ctx.counts), cells, 3 * heads * width))
        for place, gradient in zip(_heads(whole, ctx.width, ctx.counts), gradients, strict=True):
            place.copy_(gradient)
        return whole, None, None


def _heads(
    projected: Float[Tensor, "N L 3HD"], width: int, counts: Sequence[int]
) -> tuple[Float[Tensor, "_ H L D"], ...]:
    """Return query, key and value of each group of windows."""
    parts = projected.unflatten(-1, (3, -1, width)).permute(2, 0, 3, 1, 4)
    return tuple(part for group in parts.split(list(counts), dim=1) for part in group)


class FeedForward(nn.Module):
    """Swin's two-layer perceptron.

    Args:
        library: where the layers come from.
        remakes: whether what the activation returns is made again in the backward pass.
    """

    def __init__(self, library: SwinMLP, *, remakes: bool) -> None:
        super().__init__()
        self.remakes = remakes
        self.activation_fn = cast("nn.Module", library.activation_fn)
        self.fc1 = library.fc1
        self.fc2 = library.fc2

    def forward(self, hidden_states: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        """Return the features of every cell by itself."""
        inner = self.fc1(hidden_states)
        active = self.activation_fn(inner)
        if not (self.remakes and uses_kernels(inner) and torch.is_grad_enabled()):
            return self.fc2(active)
        with Remade(active, lambda: self.activation_fn(inner)):
            return self.fc2(active)
