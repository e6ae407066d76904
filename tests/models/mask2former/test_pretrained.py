from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.errors import UserError
from uda4inst.models.mask2former import pretrained
from uda4inst.models.mask2former.network import MODEL_PRESETS, Mask2Former, build_model
from uda4inst.models.network import LoadReport
from uda4inst.models.storage import save_network


def coco_network() -> Mask2FormerForUniversalSegmentation:
    return Mask2FormerForUniversalSegmentation(MODEL_PRESETS["tiny"].config(80))


@pytest.fixture(scope="module")
def coco_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the hub holds them: the library's format, 80 classes."""
    folder = tmp_path_factory.mktemp("coco")
    torch.manual_seed(7)
    coco_network().save_pretrained(folder)
    return folder


@pytest.fixture
def saved(tiny_model: Mask2Former, tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    save_network(tiny_model, path)
    return path


def test_save_network__reads_back_to_the_same_network(tiny_model, saved) -> None:
    model, report = build_model("tiny", weights=saved)

    assert all(torch.equal(v, model.state_dict()[k]) for k, v in tiny_model.state_dict().items())
    assert report.loaded == len(tiny_model.state_dict())
    assert report.reinitialised == report.missing == report.unexpected == ()
    assert [path.name for path in saved.parent.iterdir()] == ["student.safetensors"]


def test_save_network__gives_the_file_the_usual_permissions(saved, tmp_path) -> None:
    (tmp_path / "other").touch()

    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_build_model__keeps_the_head_as_initialised_when_its_size_differs(saved) -> None:
    model, report = build_model("tiny", weights=str(saved), num_classes=5)

    assert model.network.class_predictor.out_features == 6
    assert report.reinitialised == (
        "network.class_predictor.bias",
        "network.class_predictor.weight",
    )
    assert "reinitialised: network.class_predictor.bias" in str(report)


def test_build_model__loads_a_folder_of_the_library_and_says_the_head_is_new(coco_folder) -> None:
    torch.manual_seed(0)
    model, report = build_model("tiny", weights=coco_folder)

    torch.manual_seed(7)
    theirs = coco_network().state_dict()
    own = model.network.state_dict()
    changed = [name for name in own if not torch.equal(own[name], theirs[name])]
    assert changed == ["class_predictor.weight", "class_predictor.bias"]
    assert report.reinitialised == (
        "network.class_predictor.bias",
        "network.class_predictor.weight",
    )
    assert model.training
    assert torch.isfinite(model(torch.rand(1, 3, 64, 64)).mask_logits[-1]).all()


def test_build_model__refuses_a_folder_of_another_architecture(coco_folder) -> None:
    with pytest.raises(UserError, match=r"num_queries is 20, not 100.*backbone embed_dim is 48"):
        build_model("swin_t", weights=coco_folder)


def test_build_model__refuses_a_file_of_another_preset(saved, tmp_path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(load_file(saved), other, metadata={"preset": "swin_t"})

    with pytest.raises(UserError, match=r"preset 'tiny', got 'swin_t'.*Set model.preset=swin_t"):
        build_model("tiny", weights=other)


def test_build_model__names_tensors_that_differ_or_lack(saved, tmp_path) -> None:
    tensors = load_file(saved)
    del tensors["network.model.transformer_module.level_embed.weight"]
    tensors["network.model.transformer_module.queries_embedder.weight"] = torch.zeros(50, 64)
    tensors["network.extra"] = torch.zeros(1)
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path)

    with pytest.raises(UserError) as caught:
        build_model("tiny", weights=path)

    text = str(caught.value)
    assert "queries_embedder.weight has shape (50, 64), not (20, 64)" in text
    assert "missing: network.model.transformer_module.level_embed.weight" in text
    assert "unexpected: network.extra" in text


@pytest.mark.parametrize("kept", [0, 4, 1000, -1000], ids=["empty", "4 bytes", "head", "tail off"])
def test_build_model__refuses_a_truncated_file(saved, kept) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[:kept])

    with pytest.raises(UserError, match=r"complete .safetensors file, got .*student.safetensors"):
        build_model("tiny", weights=saved)


def test_build_model__refuses_a_truncated_folder(coco_folder, tmp_path) -> None:
    (tmp_path / "config.json").write_bytes((coco_folder / "config.json").read_bytes())
    content = (coco_folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])

    with pytest.raises(UserError, match=r"needs config.json and a complete model.safetensors"):
        build_model("tiny", weights=tmp_path)


def test_build_model__names_tensors_of_a_folder_that_differ_or_lack(coco_folder, tmp_path) -> None:
    shutil.copytree(coco_folder, tmp_path, dirs_exist_ok=True)
    tensors = load_file(coco_folder / "model.safetensors")
    del tensors["model.transformer_module.level_embed.weight"]
    tensors["model.transformer_module.queries_embedder.weight"] = torch.zeros(50, 64)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserError) as caught:
        build_model("tiny", weights=tmp_path)

    text = str(caught.value)
    assert "differing: model.transformer_module.queries_embedder.weight" in text
    assert "missing: model.transformer_module.level_embed.weight" in text


@pytest.mark.slow
def test_build_model__finds_a_hub_checkpoint_in_the_cache(coco_folder, tmp_path) -> None:
    """As `hf download` leaves it; in a process of its own, for the cache is found at import."""
    repository = tmp_path / "hub" / "models--acme--tiny-coco"
    shutil.copytree(coco_folder, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    code = (
        "from uda4inst.models.mask2former.network import build_model;"
        "print(build_model('tiny', weights='acme/tiny-coco')[1])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        check=False,
    )

    assert "weights from hub checkpoint acme/tiny-coco: 252 tensors loaded" in done.stdout


def test_build_model__reads_the_names_of_the_published_files(coco_folder, tmp_path) -> None:
    """They were written by an older release of the library, index buffers included."""
    renamed = {
        "encoder.swin.": "encoder.",
        "attention.q_proj": "attention.self.query",
        "attention.k_proj": "attention.self.key",
        "attention.v_proj": "attention.self.value",
        "attention.relative_position_bias.": "attention.self.",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    torch.manual_seed(7)
    ours = coco_network().state_dict()
    published: dict[str, torch.Tensor] = {}
    for key, tensor in ours.items():
        if "swin.layernorm" in key:
            continue
        name = key
        if "pixel_level_module.encoder" in key:
            for new, old in renamed.items():
                name = name.replace(new, old)
        published[name] = tensor.contiguous()
        if name.endswith("relative_position_bias_table"):
            published[name.replace("bias_table", "index")] = torch.zeros(64, 64, dtype=torch.int64)
    shutil.copy(coco_folder / "config.json", tmp_path)
    save_file(published, tmp_path / "model.safetensors", metadata={"format": "pt"})

    model, report = build_model("tiny", weights=tmp_path)

    assert len(report.reinitialised) == 2
    assert report.missing == report.unexpected == ()
    heads = ("class_predictor.weight", "class_predictor.bias")
    for key, tensor in model.network.state_dict().items():
        assert key in heads or torch.equal(tensor, ours[key]), key


def test_build_model__refuses_an_empty_folder(tmp_path) -> None:
    with pytest.raises(UserError, match=r"needs config.json and a complete model.safetensors"):
        build_model("tiny", weights=tmp_path)


def test_build_model__refuses_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"must exist, got nowhere.safetensors"):
        build_model("tiny", weights="nowhere.safetensors")


def test_build_model__refuses_pickles(tmp_path) -> None:
    path = tmp_path / "model.pth"
    torch.save({}, path)

    with pytest.raises(UserError, match=r"complete .safetensors file"):
        build_model("tiny", weights=path)


def test_build_model__refuses_what_is_neither_name_nor_path() -> None:
    with pytest.raises(UserError, match=r"null, 'toystreets', a hub name .*got 'no such'"):
        build_model("tiny", weights="no such")


def test_build_model__says_how_to_fetch_a_hub_checkpoint_by_hand(monkeypatch) -> None:
    name = "facebook/mask2former-swin-large-coco-instance"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(UserError, match=rf"hf download {name} --local-dir FOLDER"):
        build_model("tiny", weights=name)


def test_build_model__toystreets_is_the_packages_own_file(saved, monkeypatch) -> None:
    monkeypatch.setattr(pretrained, "TOYSTREETS_FILE", saved)

    _, report = build_model("tiny", weights="toystreets")

    assert report.source == "the package's ToyStreets start"


def test_load_report__is_one_line() -> None:
    report = LoadReport("x", 3, missing=tuple("abcdefg"))

    assert str(report) == "weights from x: 3 tensors loaded; missing: a, b, c, d, e and 2 more"
