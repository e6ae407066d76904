"""A run's own checkpoint: nothing that differs from what was written is taken for it."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from uda4inst.errors import UserError
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.storage import load_network_file
from uda4inst.run_folder.checkpoints import Contents, open_checkpoint, save_checkpoint

Make = Callable[..., Mask2Former]
Change = Callable[[Any], object]


@pytest.fixture
def folder(tmp_path: Path, make_mini: Make) -> Path:
    """Return a checkpoint of step 7."""
    contents = Contents(
        step=7,
        stage=1,
        networks={"student": make_mini(7)},
        optimizer={"state": {}, "param_groups": []},
        state={"processes": []},
        config_hash="abc",
        kept=False,
    )
    return save_checkpoint(tmp_path, contents, kept=2)


def vouch(folder: Path, name: str) -> None:
    """Write the hash of a file into the manifest, as whoever changes both would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / name).read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change_tensor(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = folder / "student.safetensors"
    tensors = load_file(path)
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path, metadata={"format": "uda4inst-1", "preset": "mini"})
    vouch(folder, path.name)


def head_of(network: Mask2Former) -> str:
    return next(name for name in network.class_head if name.endswith("weight"))


def test_checkpoint__a_class_head_of_another_shape_is_refused(
    folder: Path, make_mini: Make
) -> None:
    head = head_of(make_mini())
    change_tensor(folder, head, lambda weight: weight[:-1])
    with pytest.raises(
        UserError, match=rf"must fit the network tensor by tensor.*{head} has shape"
    ):
        open_checkpoint(folder.parent).load_network(make_mini())


def test_weights_from_elsewhere__may_have_another_class_head(folder: Path, make_mini: Make) -> None:
    report = load_network_file(
        make_mini(num_classes=3), folder / "student.safetensors", source="elsewhere"
    )
    assert set(report.reinitialised) == set(make_mini().class_head)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_checkpoint__weights_that_are_not_finite_are_named(
    folder: Path, make_mini: Make, number: float
) -> None:
    head = head_of(make_mini())
    change_tensor(folder, head, lambda weight: torch.full_like(weight, number))
    with pytest.raises(UserError, match=rf"must be finite numbers, got others in {head}"):
        open_checkpoint(folder.parent).load_network(make_mini())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m.update(files={}),
            r"without student.safetensors, optimizer.pt, state.pt",
        ),
        (lambda m: m["files"].pop("state.pt"), r"files without state.pt"),
        (lambda m: m.update(files=[]), r"no files by name"),
        (lambda m: m["files"].update({"../a": {"sha256": "", "bytes": 0}}), r"no files by name"),
        (lambda m: m["files"].update({"a": None}), r"no files by name"),
        (lambda m: m["files"]["state.pt"].update(bytes="9"), r"no files by name"),
        (lambda m: m["files"]["state.pt"].update(sha256=None), r"no files by name"),
        (lambda m: m["files"]["state.pt"].update(bytes=True), r"no files by name"),
        (lambda m: m.update(step="7"), r"no step: '7'"),
        (lambda m: m.update(step=True), r"no step: 'True'"),
        (lambda m: m.update(step=-7), r"no step: '-7'"),
        (lambda m: m.update(step=8), r"step that its folder is named after, got step 8"),
        (lambda m: m.update(stage=3), r"no stage: '3'"),
        (lambda m: m.update(architecture=[]), r"no architecture"),
        (lambda m: m.pop("architecture"), r"no architecture"),
    ],
)
def test_manifest__of_another_shape_is_one_clear_message(
    folder: Path, change: Change, message: str
) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        open_checkpoint(folder.parent)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 5000, '{"a": 1, "a": 2}', "\0", "1e999"])
def test_manifest__that_is_none_is_one_clear_message(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"readable manifest.json"):
        open_checkpoint(folder.parent)


def pack(path: Path) -> None:
    """Write a small file that unpacks to a large one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))


class Runs:
    """What would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it ran",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not torch's"),
        lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        lambda path: torch.save(Runs(), path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"a": 1}, path, _use_new_zipfile_serialization=False),
        pack,
        lambda path: torch.save(torch.zeros(3), path),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
    ],
    ids=["empty", "text", "pickle", "code", "list", "old", "packed", "tensor", "cut"],
)
def test_load__what_holds_no_values_is_not_to_be_trusted(
    folder: Path, write: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "optimizer.pt")
    vouch(folder, "optimizer.pt")
    with pytest.raises(UserError, match=r"must hold tensors and plain values") as caught:
        open_checkpoint(folder.parent).load("optimizer.pt")
    assert "weights_only" not in str(caught.value)
    assert "it ran" not in capsys.readouterr().out
