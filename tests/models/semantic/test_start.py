"""Starts: a backbone written in half precision, and whom it fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from uda4inst.errors import UserError
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.start import STARTS, load_start, save_start


def fresh(preset: str, seed: int = 0):
    torch.manual_seed(seed)
    return build_semantic(preset, weights=None)[0]


@pytest.mark.parametrize(
    ("trained", "other"), [("mit_tiny", "daformer_tiny"), ("bisenet_tiny", "deeplab_tiny")]
)
def test_save_start__is_a_backbone_for_every_network_that_has_it(
    tmp_path: Path, trained: str, other: str
) -> None:
    one, two = fresh(trained), fresh(other, seed=1)
    save_start(one, tmp_path / "start.safetensors")
    before = {name: value.clone() for name, value in two.state_dict().items()}
    report = load_start(two, tmp_path / "start.safetensors", source="a test")
    own = two.state_dict()
    backbone = {n: v for n, v in one.state_dict().items() if n.startswith(one.backbone_prefix)}
    for name, value in backbone.items():
        half = value.half().float() if value.is_floating_point() else value
        assert torch.equal(own[two.backbone_prefix + name.removeprefix(one.backbone_prefix)], half)
    head = {name for name in own if not name.startswith(two.backbone_prefix)}
    assert all(torch.equal(own[name], before[name]) for name in head)
    assert (report.loaded, set(report.missing)) == (len(backbone), head)


def test_load_start__refuses_another_backbone(tmp_path: Path) -> None:
    save_start(fresh("mit_tiny"), tmp_path / "start.safetensors")
    with pytest.raises(UserError, match="must fit the network tensor by tensor"):
        load_start(fresh("deeplab_tiny"), tmp_path / "start.safetensors", source="a test")


def test_starts__are_for_small_presets_and_small_themselves() -> None:
    assert all(preset.endswith("_tiny") for preset in STARTS)
    folder = next(iter(STARTS.values())).parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12 * 2**20


@pytest.mark.parametrize("preset", STARTS)
def test_build_semantic__starts_from_the_package(preset: str) -> None:
    network, report = build_semantic(preset, weights="toystreets")
    stored = load_file(STARTS[preset])
    own = network.state_dict()
    assert all(
        torch.equal(own[network.backbone_prefix + name].to(value.dtype), value)
        for name, value in stored.items()
    )
    assert report.loaded == len(stored)
    assert report.source.startswith("the package's ToyStreets start")


def test_build_semantic__larger_networks_have_no_start_in_the_package() -> None:
    with pytest.raises(UserError, match=r"'toystreets' with mit_tiny.*got .* with mit_b0"):
        build_semantic("mit_b0", weights="toystreets")
