from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.models.mask2former.network import MODEL_PRESETS, Mask2Former, build_model
from uda4inst.training.optim import (
    build_optimizer,
    learning_rate_share,
    load_optimizer,
    set_learning_rate,
    undecayed_parameters,
)


@pytest.fixture(scope="module")
def tiny() -> Mask2Former:
    return build_model("tiny", weights=None)[0]


@pytest.mark.parametrize(
    "part",
    [
        "swin.embeddings.norm.weight",
        "swin.embeddings.norm.bias",
        "relative_position_bias_table",
        "queries_embedder.weight",
        "queries_features.weight",
        "transformer_module.level_embed.weight",
        "decoder.level_embed",
        "decoder.input_projections.0.1.weight",
    ],
)
def test_undecayed__norms_embeddings_and_position_tables(tiny: Mask2Former, part: str) -> None:
    named = [name for name, _ in tiny.named_parameters() if name.endswith(part)]
    assert named
    assert set(named) <= undecayed_parameters(tiny)


@pytest.mark.parametrize(
    "part", ["patch_embeddings.projection.weight", "class_predictor.weight", "class_predictor.bias"]
)
def test_undecayed__not_projections_heads_and_their_biases(tiny: Mask2Former, part: str) -> None:
    named = [name for name, _ in tiny.named_parameters() if name.endswith(part)]
    assert named
    assert not set(named) & undecayed_parameters(tiny)


@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "checkpointed"])
def test_undecayed__are_those_of_the_librarys_own_network(checkpointed: bool) -> None:
    preset = MODEL_PRESETS["tiny"]
    with torch.device("meta"):
        own = Mask2Former(preset, gradient_checkpointing=checkpointed).network
        library = Mask2FormerForUniversalSegmentation(preset.config(8))

    dropped = {name for name in undecayed_parameters(library) if "swin.layernorm." in name}

    assert undecayed_parameters(own) == undecayed_parameters(library) - dropped
    assert len(dropped) == 2


def test_build_optimizer__every_parameter_once_with_its_settings(tiny: Mask2Former) -> None:
    optimizer = build_optimizer(tiny, lr=1e-4, weight_decay=0.05, backbone_lr_factor=0.1)
    names = {id(p): name for name, p in tiny.named_parameters()}
    undecayed = undecayed_parameters(tiny)
    seen: list[str] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            in_backbone = name.startswith(Mask2Former.backbone_prefix)
            assert group["lr"] == pytest.approx(1e-5 if in_backbone else 1e-4)
            assert group["weight_decay"] == (0.0 if name in undecayed else 0.05)
    assert sorted(seen) == sorted(names.values())


def test_build_optimizer__frozen_parameters_stay_out(make_mini: Callable[..., Mask2Former]) -> None:
    network = make_mini()
    everything = len(list(network.parameters()))
    frozen = list(network.network.class_predictor.parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)
    optimizer = build_optimizer(network, lr=1e-4, weight_decay=0.05, backbone_lr_factor=0.1)
    learned = sum(len(g["params"]) for g in optimizer.param_groups)
    assert learned == everything - len(frozen)


def test_set_learning_rate__every_group_gets_its_share(tiny: Mask2Former) -> None:
    optimizer = build_optimizer(tiny, lr=1e-4, weight_decay=0.05, backbone_lr_factor=0.1)
    set_learning_rate(optimizer, 5e-5)
    assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx(
        [5e-6, 5e-6, 5e-5, 5e-5]
    )


@pytest.mark.parametrize(
    ("step", "share"),
    [
        pytest.param(0, 1e-6, id="first"),
        pytest.param(50, (1e-6 + (1 - 1e-6) * 0.5) * 0.95**0.9, id="half-warm"),
        pytest.param(100, 0.9**0.9, id="warm"),
        pytest.param(999, 0.001**0.9, id="last"),
    ],
)
def test_learning_rate_share__linear_warm_up_times_poly(step: int, share: float) -> None:
    got = learning_rate_share(step, steps=1000, warmup_steps=100, warmup_start=1e-6, power=0.9)
    assert got == pytest.approx(share)


def test_learning_rate_share__without_warm_up_starts_full() -> None:
    assert learning_rate_share(0, steps=10, warmup_steps=0, warmup_start=0.0, power=0.9) == 1.0


def stepped() -> tuple[nn.Linear, torch.optim.Optimizer]:
    """Return a network of one layer after a step, and its optimizer."""
    torch.manual_seed(0)
    network = nn.Linear(2, 3)
    optimizer = build_optimizer(network, lr=0.1, weight_decay=0.1)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_load_optimizer__goes_on_as_the_one_it_is_of() -> None:
    _, optimizer = stepped()
    other = build_optimizer(nn.Linear(2, 3), lr=0.1, weight_decay=0.1)
    load_optimizer(other, optimizer.state_dict())
    wanted, found = optimizer.state_dict(), other.state_dict()
    assert found["param_groups"] == wanted["param_groups"]
    for number, facts in wanted["state"].items():
        assert all(torch.equal(found["state"][number][name], v) for name, v in facts.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(param_groups=[]), r"other groups of parameters"),
        (lambda s: s.pop("param_groups"), r"no state of an optimizer"),
        (lambda s: s.update(param_groups=None), r"no state of an optimizer"),
        (lambda s: s.update(state=[1]), r"no state of an optimizer"),
        (lambda s: s.update(state={0: 1}), r"no state of an optimizer"),
        (lambda s: s.update(state={9: {"exp_avg": torch.zeros(3)}}), r"no state of an optimizer"),
        (
            lambda s: s["state"][0].update(exp_avg=torch.zeros(4)),
            r"exp_avg of parameter 0",
        ),
        (lambda s: s["state"][0]["exp_avg"].fill_(float("nan")), r"numbers are not finite"),
    ],
)
def test_load_optimizer__refuses_what_is_not_of_its_parameters(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _, optimizer = stepped()
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        load_optimizer(build_optimizer(nn.Linear(2, 3), lr=0.1, weight_decay=0.1), state)
