from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.models.mask2former.network import MODEL_PRESETS, build_model
from uda4inst.models.mask2former.start import start_as_published

TRANSFORMER = "network.model.transformer_module."
EMBEDDINGS = (
    "network.model.pixel_level_module.decoder.level_embed",
    f"{TRANSFORMER}queries_embedder.weight",
    f"{TRANSFORMER}queries_features.weight",
    f"{TRANSFORMER}level_embed.weight",
)
MASK_MLP = f"{TRANSFORMER}decoder.mask_predictor.mask_embedder."


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def library_network() -> Mask2FormerForUniversalSegmentation:
    return Mask2FormerForUniversalSegmentation(MODEL_PRESETS["tiny"].config(8))


def as_older_releases_start(network: Mask2FormerForUniversalSegmentation) -> None:
    transformer = network.model.transformer_module
    nn.init.zeros_(network.model.pixel_level_module.decoder.level_embed)
    for embedding in (transformer.queries_embedder, transformer.queries_features):
        nn.init.normal_(embedding.weight, std=0.02)
    nn.init.normal_(transformer.level_embed.weight, std=0.02)
    for layer in transformer.decoder.mask_predictor.mask_embedder.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_fresh_network__embeddings_are_drawn_from_the_unit_normal(name: str) -> None:
    torch.manual_seed(0)
    model, _ = build_model("tiny", weights=None)
    assert model.state_dict()[name].std().item() == pytest.approx(1.0, rel=0.1)


def test_fresh_network__mask_mlp_starts_as_torch_starts_linear_layers() -> None:
    torch.manual_seed(0)
    model, _ = build_model("tiny", weights=None)
    spread = {n: v.std().item() for n, v in state(model).items() if n.startswith(MASK_MLP)}
    uniform = 1 / math.sqrt(3 * MODEL_PRESETS["tiny"].hidden)  # of [-1, 1] / sqrt(inputs)
    assert len(spread) == 6
    assert spread == pytest.approx(dict.fromkeys(spread, uniform), rel=0.2)


def test_start_as_published__mends_what_older_releases_draw_and_nothing_else() -> None:
    network = library_network()
    as_older_releases_start(network)
    before = state(network)
    start_as_published(network)
    changed = {f"network.{n}" for n, v in state(network).items() if not torch.equal(v, before[n])}
    assert changed == {
        *EMBEDDINGS,
        *(f"network.{name}" for name in before if f"network.{name}".startswith(MASK_MLP)),
    }


def test_start_as_published__twice_changes_and_draws_nothing() -> None:
    network = library_network()
    start_as_published(network)
    before, generator = state(network), torch.get_rng_state()
    start_as_published(network)
    assert all(torch.equal(value, before[name]) for name, value in state(network).items())
    assert torch.equal(torch.get_rng_state(), generator)
