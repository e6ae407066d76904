from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.errors import UserError
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.network import (
    MODEL_PRESETS,
    Mask2Former,
    build_model,
    count_parameters,
)
from uda4inst.models.mask2former.presets import SwinSize
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from uda4inst.structures import InstanceMap

# published sizes of the COCO checkpoints: M parameters (MODEL_ZOO of the authors' repository)
MILLIONS = {
    "tiny": 3.67,
    "swin_t": 47,
    "swin_s": 69,
    "swin_b": 107,
    "swin_l": 216,
    "r50": 44,
    "r101": 63,
}


@pytest.mark.parametrize("name", MODEL_PRESETS)
def test_presets__have_the_published_size(name) -> None:
    with torch.device("meta"):
        model = Mask2Former(MODEL_PRESETS[name])

    assert count_parameters(model) / 1e6 == pytest.approx(MILLIONS[name], rel=0.02)


def test_forward__returns_every_layer_over_the_padded_image(tiny_model) -> None:
    prediction = tiny_model(torch.rand(2, 3, 50, 75))

    assert prediction.class_logits.shape == (4, 2, 20, 9)
    assert [masks.shape for masks in prediction.mask_logits] == [(2, 20, 16, 24)] * 4
    assert prediction.size == (50, 75)
    assert prediction.padded_size == (64, 96)
    assert prediction.final().class_logits.shape == (1, 2, 20, 9)
    assert len(prediction.select(slice(1, 2))) == 1


def test_forward__equals_the_library_on_normalised_padded_pixels(tiny_model) -> None:
    images = torch.rand(1, 3, 60, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    tiny_model.eval()
    with torch.no_grad():
        own = tiny_model(images)
        output = tiny_model.network(pixel_values=F.pad((images - mean) / std, (0, 0, 0, 4)))
    tiny_model.train()

    torch.testing.assert_close(own.mask_logits[-1], output.masks_queries_logits)
    torch.testing.assert_close(own.class_logits[-1], output.class_queries_logits)


def test_forward__works_in_bf16_autocast(tiny_model) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = tiny_model(torch.rand(1, 3, 64, 64))
        losses = Criterion(num_points=64)(prediction, [InstanceMap.empty((64, 64))])

    assert losses.total.dtype == torch.float32
    assert torch.isfinite(losses.total)


def test_parameters__all_get_gradients_and_the_backbone_is_found(tiny_model) -> None:
    ids = torch.zeros((64, 64), dtype=torch.int32)
    ids[8:40, 16:48] = 1
    tiny_model.zero_grad()

    prediction = tiny_model(torch.rand(1, 3, 64, 64))
    Criterion(num_points=64)(prediction, [InstanceMap(ids, torch.tensor([3]))]).total.backward()

    names = [name for name, _ in tiny_model.named_parameters()]
    assert [name for name, p in tiny_model.named_parameters() if p.grad is None] == []
    assert 0 < sum(name.startswith(Mask2Former.backbone_prefix) for name in names) < len(names)


def test_forward__is_the_same_with_gradient_checkpointing(tiny_model) -> None:
    other, _ = build_model("tiny", weights=None, gradient_checkpointing=True)
    other.load_state_dict(tiny_model.state_dict())
    images = torch.rand(1, 3, 64, 64)

    gradients = []
    for model in (tiny_model, other):
        model.zero_grad()
        prediction = model(images)
        masks = torch.stack(prediction.mask_logits)
        (masks.square().mean() + prediction.class_logits.square().mean()).backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        assert len(found) == len(list(model.parameters()))
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))

    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def library_of(model: Mask2Former) -> Mask2FormerForUniversalSegmentation:
    """The library's own network, nothing replaced, with the same weights."""
    network = Mask2FormerForUniversalSegmentation(model.preset.config(model.num_classes))
    lacking, unknown = network.load_state_dict(model.network.state_dict(), strict=False)
    assert unknown == []
    assert all("criterion" in name or "swin.layernorm" in name for name in lacking)
    return network


@pytest.fixture(params=["as on CPU", "as on GPU"])
def path(request: pytest.FixtureRequest) -> None:
    """Both paths through the network."""
    if request.param == "as on GPU":
        request.getfixturevalue("as_on_a_device")


@pytest.mark.usefixtures("path")
def test_forward__equals_the_librarys_own_network_with_gradients(tiny_model) -> None:
    torch.manual_seed(5)
    # In float64: rounding moves gradients across kinks, differently on every version of torch.
    model = copy.deepcopy(tiny_model).double()
    for layer in model._pixel_layers:  # fresh ones sample at kinks of the bilinear function
        layer.self_attn.sampling_offsets.bias.data += 0.1 + 0.3 * torch.rand(96)
    images, library = torch.rand(2, 3, 96, 160).double(), library_of(model).double()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    own = model(images)
    theirs = library(pixel_values=(images - mean) / std, output_auxiliary_logits=True)

    every = [layer["masks_queries_logits"] for layer in theirs.auxiliary_logits]
    for masks, wanted in zip(own.mask_logits, [*every, theirs.masks_queries_logits], strict=True):
        torch.testing.assert_close(masks, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own.class_logits[-1], theirs.class_queries_logits)
    own.mask_logits[-1].square().mean().backward()
    theirs.masks_queries_logits.square().mean().backward()
    wanted_of = dict(library.named_parameters())
    for name, parameter in model.network.named_parameters():
        wanted = wanted_of[name].grad
        if parameter.grad is not None and wanted is not None:  # class head: none in either
            size = max(float(wanted.abs().max()), 1e-3)
            torch.testing.assert_close(parameter.grad / size, wanted / size, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("path")
def test_forward__drops_the_same_paths_when_checkpointed() -> None:
    tiny = MODEL_PRESETS["tiny"]
    assert isinstance(tiny.backbone, SwinSize)
    preset = replace(tiny, backbone=replace(tiny.backbone, drop_path=0.5))
    torch.manual_seed(0)
    plain = Mask2Former(preset).train()
    checkpointed = Mask2Former(preset, gradient_checkpointing=True).train()
    checkpointed.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 64)

    gradients: list[Tensor] = []
    for model in (plain, checkpointed):
        torch.manual_seed(3)
        model(images).mask_logits[-1].square().mean().backward()
        found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))

    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("path")
def test_forward__with_masks_that_are_empty_is_finite(tiny_model) -> None:
    """A query whose mask has no cell looks at all of them, as the library has it."""
    model = copy.deepcopy(tiny_model)
    pixels = model.network.model.pixel_level_module.decoder.mask_projection
    torch.nn.init.zeros_(pixels.weight)
    torch.nn.init.ones_(pixels.bias)
    embedder = model.network.model.transformer_module.decoder.mask_predictor.mask_embedder
    last = embedder.get_submodule("2.0")
    torch.nn.init.zeros_(last.get_parameter("weight"))
    torch.nn.init.constant_(last.get_parameter("bias"), -1.0)

    prediction = model(torch.rand(1, 3, 64, 64))
    prediction.class_logits.square().sum().backward()

    assert all(bool((masks < -0.5).all()) for masks in prediction.mask_logits)
    assert torch.isfinite(prediction.class_logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_teacher__of_a_checkpointed_network_has_weights_of_its_own() -> None:
    model = Mask2Former(MODEL_PRESETS["tiny"], gradient_checkpointing=True).train()
    teacher = copy.deepcopy(model).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = teacher(images).class_logits
        for parameter in model.parameters():
            parameter.zero_()
        after = teacher(images).class_logits

    assert torch.equal(before, after)
    assert not any(layer.training for layer in teacher._pixel_layers)


def test_build_model__same_seed_same_network() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build_model("tiny", weights=None)[0].state_dict())

    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_build_model__names_the_presets_it_knows() -> None:
    with pytest.raises(UserError, match=r"one of tiny, swin_t.*got 'swin_x'.*Did you mean swin_"):
        build_model("swin_x", weights=None)


@pytest.mark.slow
def test_fresh_model__overfits_four_images() -> None:
    """A wrong initialisation shows here: the loss stays near its start."""
    torch.manual_seed(0)
    model, _ = build_model("tiny", weights=None)
    generator = torch.Generator().manual_seed(0)
    images, maps = torch.rand(4, 3, 64, 128, generator=generator) * 0.2, []
    for image in images:
        ids = torch.zeros((64, 128), dtype=torch.int32)
        for slot, left in enumerate((8, 50, 90), start=1):
            top = int(torch.randint(4, 30, (), generator=generator))
            ids[top : top + 25, left : left + 28] = slot
            image[slot - 1, ids == slot] += 0.7
        maps.append(InstanceMap(ids, torch.tensor([0, 2, 7])))
    criterion = Criterion(num_points=512)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    history = []
    for _ in range(300):
        losses = criterion(model(images), maps)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(float(losses.total.detach()))

    assert sum(history[-20:]) / 20 < 0.15 * history[0]
