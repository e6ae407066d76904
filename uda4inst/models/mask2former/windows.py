"""Window attention and feed-forward of Swin's blocks, on the library's own weights.

On a CPU the library's order of operations. On a device: one projection for query, key and value,
so that their input is cast and kept once and not three times; and neither the mask of shifted
windows (each block's own copy for every window of every image) nor the activation of the
feed-forward part is kept for the backward pass.

Reference: Liu et al., Swin Transformer, ICCV 2021, sec. 3.2, eq. 4.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.swin.modeling_swin import SwinAttention, SwinMLP

from uda4inst.models.mask2former.kernels import attend, uses_kernels
from uda4inst.models.recompute import Remade


class WindowNorm(nn.Module):
    """Layer norm before the windows are cut; under autocast its result is cast at once.

    Shifting, padding and cutting then move half the bytes. The values are those of a later cast.

    Args:
        library: where the weights come from.
    """

    def __init__(self, library: nn.LayerNorm) -> None:
        super().__init__()
        self.eps: float = library.eps
        self.weight = library.weight
        self.bias = library.bias

    def forward(self, hidden_states: Float[Tensor, "B S C"]) -> Float[Tensor, "B S C"]:
        """Return the normalised cells."""
        normal = F.layer_norm(
            hidden_states, self.weight.shape, self.weight, self.bias, eps=self.eps
        )
        device = normal.device.type
        if uses_kernels(normal) and torch.is_autocast_enabled(device):
            return normal.to(torch.get_autocast_dtype(device))
        return normal


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
        **_: Any,
    ) -> tuple[Float[Tensor, "N L C"], None]:
        """Return the attended features; the weights are not returned.

        Args:
            hidden_states: cells of the windows of all images, an image's windows side by side.
            attention_mask: added to the scores of each window of an image; None in blocks that are
                not shifted.
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
        query, key, value = projected.unflatten(-1, (3, -1, self.width)).permute(2, 0, 3, 1, 4)
        position = self.relative_position_bias()
        if attention_mask is None:
            attended = attend(query, key, value, bias=position.to(query.dtype))
        else:
            attended = self._shifted(query, key, value, position, attention_mask)
        return self.o_proj(attended.transpose(1, 2).flatten(2)), None

    def _shifted(
        self, query: Tensor, key: Tensor, value: Tensor, position: Tensor, shift: Tensor
    ) -> Float[Tensor, "N H L D"]:
        """Attend with both biases, of which only the parts are kept."""
        images = len(query) // len(shift)

        def both() -> Float[Tensor, "N H L L"]:
            one = (position + shift[:, None]).to(query.dtype)
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
