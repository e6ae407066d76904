from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from uda4inst.errors import UserError
from uda4inst.exchange.model_zoo import load_zoo, write_zoo, zoo_layout, zoo_state
from uda4inst.models.mask2former.network import Mask2Former, count_parameters
from uda4inst.models.mask2former.presets import MODEL_PRESETS, ModelPreset
from uda4inst.models.resnet import TINY

# Of the authors' networks with 80 classes, as detectron2 builds them: how many tensors, how many
# trained values, and the hash of "name HxW..." in the order of names, a line each.
LAYOUTS = json.loads((Path(__file__).parents[1] / "fixtures" / "model_zoo.json").read_text())
PREDICTOR = "sem_seg_head.predictor"

State = dict[str, Any]


@pytest.mark.parametrize("preset", LAYOUTS)
def test_zoo_layout__has_the_names_and_shapes_of_the_authors(preset: str) -> None:
    layout = zoo_layout(MODEL_PRESETS[preset], 80)
    lines = [f"{name} {'x'.join(map(str, shape))}" for name, shape in sorted(layout.items())]

    assert len(layout) == LAYOUTS[preset]["tensors"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == LAYOUTS[preset]["sha256"]


@pytest.mark.parametrize("preset", LAYOUTS)
def test_presets__train_as_many_values_as_the_authors(preset: str) -> None:
    with torch.device("meta"):
        network = Mask2Former(MODEL_PRESETS[preset], num_classes=80)

    assert count_parameters(network) == LAYOUTS[preset]["parameters"]


@pytest.fixture(params=["swin", "resnet"])
def network(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tiny_is_mini: None
) -> Mask2Former:
    """A small network of each backbone, in the place of the preset tiny."""
    if request.param == "resnet":
        mini = MODEL_PRESETS["tiny"]
        small = ModelPreset("tiny", TINY, num_queries=4, hidden=mini.hidden, attention_heads=1)
        monkeypatch.setitem(MODEL_PRESETS, "tiny", small)
    torch.manual_seed(0)
    model = Mask2Former(MODEL_PRESETS["tiny"], num_classes=3)
    for tensor in model.state_dict().values():  # statistics and biases of norms too
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape))
    return model.eval()


@pytest.fixture
def swin(make_mini: Callable[..., Mask2Former], tiny_is_mini: None) -> State:
    """Tensors of a small Swin network, as the model zoo has them."""
    torch.manual_seed(0)
    return dict(zoo_state(Mask2Former(MODEL_PRESETS["tiny"], num_classes=3)))


def write(path: Path, state: State, **more: Any) -> Path:
    arrays = {k: v.numpy() if isinstance(v, Tensor) else v for k, v in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "a test", **more}))
    return path


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_write_zoo__reads_back_to_the_same_network(
    tmp_path: Path, network: Mask2Former, suffix: str
) -> None:
    count = write_zoo(network, tmp_path / f"model{suffix}")
    again = load_zoo(tmp_path / f"model{suffix}")

    assert count == len(zoo_state(network))
    assert again.num_classes == 3
    own = again.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(own[name], tensor) or "num_batches" in name, name
    assert [path.name for path in tmp_path.iterdir()] == [f"model{suffix}"]


def test_write_zoo__says_the_version_of_its_names(tmp_path: Path, network: Mask2Former) -> None:
    """detectron2 takes names without a version for older ones, and changes them."""
    write_zoo(network, tmp_path / "model.pkl")
    found = pickle.loads((tmp_path / "model.pkl").read_bytes())

    assert found["__author__"] == "uda4inst"
    assert all(isinstance(value, np.ndarray) for value in found["model"].values())
    assert found["model"]._metadata["sem_seg_head"] == {"version": 2}


def test_load_zoo__takes_the_names_of_earlier_versions_and_of_wrapped_networks(
    tmp_path: Path, swin: State
) -> None:
    older = {
        "module."
        + name.replace(".pixel_decoder.", ".").replace(".query_feat.", ".static_query."): tensor
        for name, tensor in swin.items()
    }
    older["module.pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)

    found = zoo_state(load_zoo(write(tmp_path / "a.pkl", older)))

    assert all(torch.equal(found[name], tensor) for name, tensor in swin.items())


def test_load_zoo__takes_tensors_beside_the_state_of_a_training(
    tmp_path: Path, swin: State
) -> None:
    swin["backbone.any.norm.num_batches_tracked"] = torch.tensor(7)
    content = {"model": swin, "optimizer": {"state": {0: torch.rand(3)}}, "iteration": 90_000}
    torch.save(content, tmp_path / "model_final.pth")

    assert load_zoo(tmp_path / "model_final.pth").preset.name == "tiny"


def changed(state: State, kind: str) -> State:
    match kind:
        case "missing":
            del state[f"{PREDICTOR}.query_feat.weight"]
        case "left over":
            state["criterion.other"] = torch.rand(2)
        case "another shape":
            state[f"{PREDICTOR}.query_feat.weight"] = torch.rand(5, 32)
        case "another index":
            name = "backbone.layers.0.blocks.0.attn.relative_position_index"
            state[name] = state[name].flip(0)
        case "another mean":
            state["pixel_mean"] = torch.rand(3)
        case "not finite":
            state[f"{PREDICTOR}.query_feat.weight"] = torch.full((4, 32), torch.nan)
        case "twice":
            state[f"{PREDICTOR}.static_query.weight"] = torch.rand(4, 32)
        case "no tensor":
            state[f"{PREDICTOR}.query_feat.weight"] = "text"
        case "a backbone":
            return {n: t for n, t in state.items() if n.startswith("backbone.")}
        case "Mask R-CNN":
            return {"backbone.fpn_output2.weight": torch.rand(2), "roi_heads.box.w": torch.rand(2)}
        case "nothing":
            return {}
    return state


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"differs from tiny in 1 tensors: sem_seg_head\S+query_feat.weight is missing"),
        ("left over", r"criterion.other is left over"),
        ("another shape", r"query_feat.weight has shape \(5, 32\), not \(4, 32\)"),
        ("another index", r"relative_position_index has other values"),
        ("another mean", r"pixel_mean has other values"),
        ("not finite", r"finite numbers, got others in model.transformer_module.queries_features"),
        ("twice", r"two tensors named sem_seg_head.predictor.query_feat.weight"),
        ("no tensor", r"a str named 'sem_seg_head.predictor.query_feat.weight' among its tensors"),
        ("a backbone", r"got a backbone alone \(tensors of backbone; "),
        ("Mask R-CNN", r"got another architecture \(tensors of backbone, roi_heads; "),
        ("nothing", r"no tensors by name"),
    ],
    ids=lambda value: value if " " in value and "\\" not in value else "",
)
def test_load_zoo__refuses_what_does_not_fit(
    tmp_path: Path, swin: State, kind: str, message: str
) -> None:
    path = write(tmp_path / "a.pkl", changed(swin, kind))

    with pytest.raises(UserError, match=message) as caught:
        load_zoo(path)
    assert str(path) in str(caught.value)


def test_load_zoo__refuses_another_preset_than_was_asked_for(tmp_path: Path, swin: State) -> None:
    path = write(tmp_path / "a.pkl", swin)

    with pytest.raises(UserError, match=r"Mask2Former of preset 'swin_t'.*Leave --preset out"):
        load_zoo(path, preset="swin_t")
    with pytest.raises(UserError, match=r"--preset must be one of tiny.*Did you mean swin_t\?"):
        load_zoo(path, preset="swin_1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "exhausted"),
        (b"PK\x03\x04", "BadZipFile"),
        (b"{}", "got one with"),
        (pickle.dumps([1]), "a list"),
        (pickle.dumps({"model": 3}), "no tensors by name"),
        (pickle.dumps({"model": {"a": eval}}), "a call of builtins.eval"),
    ],
)
def test_load_zoo__refuses_what_is_no_checkpoint(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "a.pkl").write_bytes(content)

    with pytest.raises(UserError, match=f"SOURCE must be a whole checkpoint .*{message}"):
        load_zoo(tmp_path / "a.pkl")


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_load_zoo__refuses_half_a_file(tmp_path: Path, network: Mask2Former, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    write_zoo(network, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(UserError, match="Download or copy it again"):
        load_zoo(path)
