"""Which tensor of a detectron2 Mask2Former is which of ours.

The names are facts of the authors' repository (facebookresearch/Mask2Former) and of `transformers`.
Where the former has one tensor for query, key and value of an attention, one above the other, the
latter has three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

_THIRDS: Final = ("q", "k", "v")
_THIRD: Final = re.compile(r"\.(?:attention|self_attn)\.([qkv])_proj\.")
# Done to a name of ours one after the other, each once.
_STEPS: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    # Swin
    (r"^backbone\.swin\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^backbone\.swin\.embeddings\.", "backbone.patch_embed."),
    (r"^backbone\.swin\.encoder\.", "backbone."),
    (r"\.attention\.[qkv]_proj\.", ".attn.qkv."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.hidden_states_norms\.stage(\d+)\.", lambda m: f".norm{int(m[1]) - 1}."),
    # ResNet
    (r"^backbone\.embedder\.embedder\.", "backbone.stem.conv1."),
    (r"^backbone\.encoder\.stages\.(\d+)\.layers\.", lambda m: f"backbone.res{int(m[1]) + 2}."),
    (r"^(backbone\..*)\.layer\.(\d+)\.", lambda m: f"{m[1]}.conv{int(m[2]) + 1}."),
    (r"\.convolution\.", "."),
    (r"\.normalization\.", ".norm."),
    # pixel decoder
    (r"^model\.pixel_level_module\.decoder\.", "sem_seg_head.pixel_decoder."),
    (r"\.pixel_decoder\.(level_embed|encoder\.)", r".pixel_decoder.transformer.\1"),
    (r"\.input_projections\.", ".input_proj."),
    (r"\.mask_projection\.", ".mask_features."),
    (r"\.(adapter|layer)_(\d+)\.0\.", r".\1_\2."),
    (r"\.(adapter|layer)_(\d+)\.1\.", r".\1_\2.norm."),
    (r"(\.encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"(\.encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"(\.encoder\.layers\.\d+)\.fc(\d)\.", r"\1.linear\2."),
    # transformer decoder
    (r"^(model\.transformer_module|class_predictor)", r"sem_seg_head.predictor.\1"),
    (r"\.model\.transformer_module\.", "."),
    (r"\.queries_embedder\.", ".query_embed."),
    (r"\.queries_features\.", ".query_feat."),
    (r"\.class_predictor\.", ".class_embed."),
    (r"\.decoder\.layernorm\.", ".decoder_norm."),
    (r"\.decoder\.mask_predictor\.mask_embedder\.(\d+)\.0\.", r".mask_embed.layers.\1."),
    (r"\.decoder\.layers\.(\d+)\.(self|cross)_attn", r".transformer_\2_attention_layers.\1.attn"),
    (r"\.attn_layer_norm\.", ".norm."),
    (r"(_self_attention_layers\.\d+)\.attn\.", r"\1.self_attn."),
    (r"(_cross_attention_layers\.\d+)\.attn\.", r"\1.multihead_attn."),
    (r"\.self_attn\.[qkv]_proj\.", ".self_attn.in_proj_"),
    (r"\.decoder\.layers\.(\d+)\.fc(\d)\.", r".transformer_ffn_layers.\1.linear\2."),
    (r"\.decoder\.layers\.(\d+)\.final_layer_norm\.", r".transformer_ffn_layers.\1.norm."),
)
# What a checkpoint may hold beside the network: counts of batches, the loss's weight of classes.
_NOT_OURS: Final = re.compile(r".*\.num_batches_tracked|criterion\.empty_weight")
INDEX_TABLE: Final = ".relative_position_index"
_BIAS_TABLE: Final = ".relative_position_bias_table"
_OLD_HEAD: Final = re.compile(r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)")


class Place(NamedTuple):
    """Where a tensor of ours is in theirs.

    Args:
        name: of their tensor.
        third: which third of its rows, 0 to 2; None for the whole.
    """

    name: str
    third: int | None


def place_of(own: str) -> Place:
    """Return where a tensor of our network is in theirs.

    Args:
        own: its name in `Mask2Former.network`.

    Example:
        >>> place_of("model.transformer_module.decoder.layers.0.self_attn.k_proj.bias")
        Place(name='sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_bias', third=1)
    """  # noqa: E501 a name of theirs
    third = _THIRD.search(own)
    name = own
    for pattern, replacement in _STEPS:
        name = re.sub(pattern, replacement, name, count=1)
    return Place(name, None if third is None else _THIRDS.index(third[1]))


def is_ours(own: str) -> bool:
    """Whether a tensor of our network has a place in theirs; counts of batches have none."""
    return not own.endswith(".num_batches_tracked")


def named_as_now(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the names of the authors' last version.

    What every checkpoint may hold and no network needs is left out. Earlier versions named parts of
    the head otherwise, and a network wrapped for several processes puts `module.` before all.

    Raises:
        ValueError: two tensors have one name.
    """
    wrapped = bool(state) and all(name.startswith("module.") for name in state)
    found: dict[str, Tensor] = {}
    for old, tensor in state.items():
        name = old.removeprefix("module.") if wrapped else old
        name = _OLD_HEAD.sub("sem_seg_head.pixel_decoder.", name).replace(
            ".static_query.", ".query_feat."
        )
        if _NOT_OURS.fullmatch(name):
            continue
        if name in found:
            raise ValueError(f"two tensors named {name}")
        found[name] = tensor
    return found


def relative_positions(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the index tables that their Swin keeps beside its weights, by their names.

    Args:
        own: tensors of our network; of some device, as their shapes alone are looked at.
    """
    tables: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if name.endswith(_BIAS_TABLE):
            cells = ((int(len(tensor) ** 0.5) + 1) // 2) ** 2
            theirs = place_of(name).name.removesuffix(_BIAS_TABLE)
            tables[theirs + INDEX_TABLE] = index_table((cells, cells))
    return tables


def index_table(shape: tuple[int, ...]) -> Tensor:
    """Return which row of the bias table belongs to each two cells of a window.

    Args:
        shape: (cells, cells), where cells is the square of the window's side.

    Returns:
        int64 (cells, cells): rows of tables of (2 * side - 1) ** 2 differences.

    Example:
        >>> index_table((4, 4))[0].tolist()
        [4, 3, 1, 0]
    """
    side = int(shape[0] ** 0.5)
    rows, columns = torch.arange(side**2) // side, torch.arange(side**2) % side
    down, right = rows[:, None] - rows, columns[:, None] - columns
    return (down + side - 1) * (2 * side - 1) + right + side - 1
