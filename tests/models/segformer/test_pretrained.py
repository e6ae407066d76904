"""Weights for a SegFormer: files of ours, folders of the library, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import SegformerForImageClassification, SegformerForSemanticSegmentation

from uda4inst.errors import UserError
from uda4inst.models.segformer.network import SegFormer
from uda4inst.models.segformer.presets import SEGFORMER_PRESETS
from uda4inst.models.semantic.build import build_semantic
from uda4inst.models.semantic.network import SemanticNetwork
from uda4inst.models.storage import save_network

TINY = SEGFORMER_PRESETS["mit_tiny"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints as the hub holds them: whole networks of 19 and 150 classes, and an encoder."""
    root = tmp_path_factory.mktemp("segformer")
    torch.manual_seed(7)
    kinds = {
        "whole": SegformerForSemanticSegmentation(TINY.config(19)),
        "ade": SegformerForSemanticSegmentation(TINY.config(150)),
        "encoder": SegformerForImageClassification(TINY.config(1000)),
    }
    for name, network in kinds.items():
        network.save_pretrained(root / name)
    return {name: root / name for name in kinds}


def segformer(network: SemanticNetwork) -> SegformerForSemanticSegmentation:
    assert isinstance(network, SegFormer)
    return network.network


def test_save_network__reads_back_to_the_same_network(tmp_path: Path) -> None:
    network, _ = build_semantic("mit_tiny", weights=None)
    save_network(network, tmp_path / "student.safetensors")
    again, report = build_semantic("mit_tiny", weights=tmp_path / "student.safetensors")
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert report.loaded == len(expected)


def test_build_semantic__reads_a_whole_network(folders: dict[str, Path]) -> None:
    network, report = build_semantic("mit_tiny", weights=folders["whole"])
    theirs = SegformerForSemanticSegmentation.from_pretrained(folders["whole"])
    expected = theirs.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in segformer(network).state_dict().items())
    assert report.loaded == len(expected)
    assert report.missing == report.reinitialised == ()


def test_build_semantic__leaves_a_head_of_other_classes_as_initialised(
    folders: dict[str, Path],
) -> None:
    network, report = build_semantic("mit_tiny", weights=str(folders["ade"]))
    assert segformer(network).decode_head.classifier.out_channels == 19
    assert report.reinitialised == tuple(sorted(SegFormer.class_head))
    assert report.loaded == len(segformer(network).state_dict()) - 2


def test_build_semantic__an_encoder_leaves_the_head_as_initialised(
    folders: dict[str, Path],
) -> None:
    network, report = build_semantic("mit_tiny", weights=folders["encoder"])
    theirs = SegformerForImageClassification.from_pretrained(folders["encoder"]).state_dict()
    own = segformer(network).state_dict()
    encoder = {name for name in own if name.startswith("segformer.")}
    assert all(torch.equal(own[name], theirs[name]) for name in encoder)
    assert set(report.missing) == {f"network.{name}" for name in own.keys() - encoder}
    assert report.loaded == len(encoder)
    assert report.unexpected == ("classifier.bias", "classifier.weight")


def test_build_semantic__refuses_another_architecture(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"preset 'mit_b0'.*hidden_sizes is \(24, 48, 96, 160\)"):
        build_semantic("mit_b0", weights=folders["whole"])


def test_build_semantic__refuses_a_file_of_another_preset(tmp_path: Path) -> None:
    network, _ = build_semantic("mit_tiny", weights=None)
    save_network(network, tmp_path / "student.safetensors")
    with pytest.raises(UserError, match=r"must hold a network of preset 'mit_b0', got 'mit_tiny'"):
        build_semantic("mit_b0", weights=tmp_path / "student.safetensors")


def test_build_semantic__says_what_a_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config.json in it.*needs config.json and a complete"):
        build_semantic("mit_tiny", weights=tmp_path)


def test_build_semantic__says_how_to_fetch_a_hub_checkpoint_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"hf download nvidia/mit-b0 --local-dir FOLDER"):
        build_semantic("mit_b0", weights="nvidia/mit-b0")


def test_build_semantic__refuses_what_is_no_place() -> None:
    with pytest.raises(UserError, match=r"must be null, 'toystreets' with mit_tiny.*got 'no file'"):
        build_semantic("mit_tiny", weights="no file")
