"""Mask2Former on a ResNet: what differs from Swin."""

from __future__ import annotations

import copy

import pytest
import torch
from mini_network import MINI
from torch import nn
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.errors import UserError
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.library_form import preset_of_folder, write_library_folder
from uda4inst.models.mask2former.network import Mask2Former, build_model, count_parameters
from uda4inst.models.mask2former.presets import MODEL_PRESETS, ModelPreset
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from uda4inst.models.resnet import TINY
from uda4inst.training.optim import build_optimizer

SMALL = ModelPreset(
    "r_small", TINY, num_queries=4, hidden=32, attention_heads=1, encoder_layers=1, predictions=2
)


@pytest.fixture
def model() -> Mask2Former:
    torch.manual_seed(0)
    found = Mask2Former(SMALL).train()
    for name, tensor in found.state_dict().items():
        if "normalization" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return found


def norms(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items() if ".normalization." in n}


def test_forward__equals_the_librarys_own_network(model: Mask2Former) -> None:
    library = Mask2FormerForUniversalSegmentation(SMALL.config(8)).eval()
    lacking, unknown = library.load_state_dict(model.network.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 96)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    with torch.no_grad():
        found = model.eval()(images)
        wanted = library(pixel_values=(images - mean) / std)

    assert (unknown, lacking) == ([], ["criterion.empty_weight"])
    torch.testing.assert_close(found.class_logits[-1], wanted.class_queries_logits)
    torch.testing.assert_close(found.mask_logits[-1], wanted.masks_queries_logits)


def test_training__leaves_batch_norms_as_they_were_loaded(model: Mask2Former) -> None:
    before = norms(model)
    others = {n: t.clone() for n, t in model.state_dict().items() if ".convolution." in n}
    optimizer = build_optimizer(model, lr=0.1, weight_decay=0.05)

    for mode in (True, False, True):
        model.train(mode)
    prediction = model(torch.rand(2, 3, 64, 64))
    masks = torch.stack(prediction.mask_logits)
    (masks.square().mean() + prediction.class_logits.square().mean()).backward()
    optimizer.step()

    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(not torch.equal(after[name], tensor) for name, tensor in others.items())
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    affine = sum(t.numel() for n, t in before.items() if n.endswith(("weight", "bias")))
    assert count_parameters(model) == sum(p.numel() for p in model.parameters()) - affine


def test_training__predicts_what_evaluation_does(model: Mask2Former) -> None:
    """There is no other difference between the modes: neither dropout nor stochastic depth."""
    images = torch.rand(2, 3, 64, 64)

    with torch.no_grad():
        trained, judged = model.train()(images), model.eval()(images)

    assert torch.equal(trained.class_logits, judged.class_logits)


def test_teacher__has_norms_that_stay(model: Mask2Former) -> None:
    teacher = EmaTeacher(model, ema_decay=0.9)
    teacher.update(copy.deepcopy(model), 5)
    own, wanted = norms(teacher.model), norms(model)

    assert own.keys() == wanted.keys()
    assert all(torch.allclose(own[name].double(), wanted[name].double()) for name in own)


def test_gradients__are_the_same_when_checkpointed(model: Mask2Former) -> None:
    other = Mask2Former(SMALL, gradient_checkpointing=True).train()
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 64, 64)

    gradients = []
    for network in (model, other):
        network(images).mask_logits[-1].square().mean().backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))

    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_features__are_those_of_the_last_stage(model: Mask2Former) -> None:
    assert model.features(torch.rand(1, 3, 64, 96)).shape == (1, 192, 2, 3)


def test_folder__is_told_apart_and_refused_by_other_presets(
    model: Mask2Former, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODEL_PRESETS, "r_small", SMALL)
    monkeypatch.setitem(MODEL_PRESETS, "tiny", MINI)
    write_library_folder(model, tmp_path / "r", [str(n) for n in range(8)])

    assert preset_of_folder(tmp_path / "r") == ("r_small", 8)
    found, _ = build_model("r_small", weights=tmp_path / "r")
    assert all(torch.equal(found.state_dict()[n], t) for n, t in norms(model).items())
    with pytest.raises(UserError, match="backbone model_type is resnet, not swin"):
        build_model("tiny", weights=tmp_path / "r")
    with pytest.raises(ValueError, match="7 names for 8 classes"):
        write_library_folder(model, tmp_path / "s", [str(n) for n in range(7)])
