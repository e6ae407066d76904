from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from uda4inst.errors import UserError
from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.run_folder import checkpoints as module
from uda4inst.run_folder.checkpoints import (
    Contents,
    latest_step,
    open_checkpoint,
    return_to,
    save_checkpoint,
)

Make = Callable[..., Mask2Former]


def contents(make: Make, step: int, *, kept: bool = False, teacher: bool = False) -> Contents:
    networks = {"student": make(step)} | ({"teacher": make(step + 100)} if teacher else {})
    return Contents(
        step=step,
        stage=2 if teacher else 1,
        networks=networks,
        optimizer={"state": {0: {"exp_avg": torch.full((2,), float(step))}}},
        state={"processes": [{"method": {"updates": step}, "rng": {"cpu": torch.get_rng_state()}}]},
        config_hash="abc",
        kept=kept,
    )


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_save_checkpoint__comes_back_bit_for_bit(tmp_path: Path, make_mini: Make) -> None:
    saved = contents(make_mini, 20, teacher=True)
    save_checkpoint(tmp_path, saved, kept=2)
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.step, checkpoint.stage) == (20, 2)
    assert checkpoint.networks == ("student", "teacher")
    for name, network in saved.networks.items():
        loaded = load_file(checkpoint.folder / f"{name}.safetensors")
        assert loaded.keys() == network.state_dict().keys()
        assert all(torch.equal(loaded[k], v) for k, v in network.state_dict().items())
    assert torch.equal(
        checkpoint.load("optimizer.pt")["state"][0]["exp_avg"], torch.full((2,), 20.0)
    )
    state = checkpoint.load("state.pt")["processes"][0]
    assert state["method"] == {"updates": 20}
    assert torch.equal(state["rng"]["cpu"], saved.state["processes"][0]["rng"]["cpu"])


def test_digest__equal_weights_have_equal_ones(tmp_path: Path, make_mini: Make) -> None:
    digests = []
    for step in range(1, 7):  # the entries of a file's header come in any order
        save_checkpoint(tmp_path, contents(make_mini, step, teacher=True), kept=6)
        copy = replace(contents(make_mini, step, teacher=True), networks={"student": make_mini(0)})
        save_checkpoint(tmp_path / "copies", copy, kept=6)
        digests.append(open_checkpoint(tmp_path / "copies").digest("student"))
    assert len(set(digests)) == 1
    found = [open_checkpoint(tmp_path, step=step) for step in (1, 2)]
    others = {one.digest(name) for one in found for name in ("student", "teacher")}
    assert len(others | set(digests)) == 5


def test_save_checkpoint__keeps_the_newest_and_the_stage_boundary(
    tmp_path: Path, make_mini: Make
) -> None:
    for step in (10, 20, 30, 40):
        save_checkpoint(tmp_path, contents(make_mini, step, kept=step == 20), kept=2)
    assert names(tmp_path) == ["00000020", "00000030", "00000040", "latest"]
    assert latest_step(tmp_path) == 40


def test_save_checkpoint__replaces_one_that_never_became_the_latest(
    tmp_path: Path, make_mini: Make
) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    shutil.copytree(tmp_path / "00000010", tmp_path / "00000020")
    save_checkpoint(tmp_path, contents(make_mini, 20), kept=2)
    assert open_checkpoint(tmp_path).step == 20


def test_latest_step__trusts_the_pointer_over_newer_folders(
    tmp_path: Path, make_mini: Make
) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    shutil.copytree(tmp_path / "00000010", tmp_path / "00000020")
    assert latest_step(tmp_path) == 10


@pytest.mark.parametrize("pointer", ["00000099\n", "", None], ids=["gone", "empty", "missing"])
def test_latest_step__without_a_usable_pointer_takes_the_newest_complete(
    tmp_path: Path, make_mini: Make, pointer: str | None
) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    (tmp_path / "00000020").mkdir()
    (tmp_path / "latest").unlink()
    if pointer is not None:
        (tmp_path / "latest").write_text(pointer)
    assert latest_step(tmp_path) == 10


def test_latest_step__none_yet(tmp_path: Path) -> None:
    assert latest_step(tmp_path) is None
    assert latest_step(tmp_path / "missing") is None


@pytest.mark.parametrize("file", ["student.safetensors", "optimizer.pt", "state.pt"])
def test_open_checkpoint__truncated_file_names_the_older_checkpoint(
    tmp_path: Path, make_mini: Make, file: str
) -> None:
    checkpoints = tmp_path / "demo" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for step in (10, 20):
        save_checkpoint(checkpoints, contents(make_mini, step), kept=2)
    path = checkpoints / "00000020" / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as caught:
        open_checkpoint(checkpoints)
    message = str(caught.value)
    assert f"{file} truncated" in message
    assert f"uda4inst resume {tmp_path / 'demo'} --from 10" in message
    assert open_checkpoint(checkpoints, step=10).step == 10


def _flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "student.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "student.safetensors").write_bytes(data)


def _name_a_file_at_length(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["s" * 300] = manifest["files"]["state.pt"]
    path.write_text(json.dumps(manifest))


def _truncate_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:40])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(_flip_a_byte, r"student\.safetensors changed", id="flipped"),
        pytest.param(lambda f: (f / "state.pt").unlink(), r"state\.pt missing", id="missing"),
        pytest.param(_name_a_file_at_length, r"sss missing", id="long-name"),
        pytest.param(_truncate_manifest, r"readable manifest\.json", id="manifest"),
        pytest.param(
            lambda f: (f / "manifest.json").write_text("[]"), r"readable manifest", id="wrong-json"
        ),
    ],
)
def test_open_checkpoint__damage_is_one_clear_message(
    tmp_path: Path, make_mini: Make, damage: Callable[[Path], Any], words: str
) -> None:
    folder = save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    damage(folder)
    with pytest.raises(UserError, match=words) as caught:
        open_checkpoint(tmp_path, step=10)
    assert "start the run again" in str(caught.value)


def test_open_checkpoint__unknown_step_lists_the_known(tmp_path: Path, make_mini: Make) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    with pytest.raises(UserError, match=r"\(steps: 10\), got step 15"):
        open_checkpoint(tmp_path, step=15)


def test_checkpoint__another_architecture(tmp_path: Path, make_mini: Make) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    checkpoint = open_checkpoint(tmp_path)
    checkpoint.check_architecture(make_mini())
    with pytest.raises(UserError, match=r"num_classes 5.*got preset mini, num_classes 8"):
        checkpoint.check_architecture(make_mini(num_classes=5))


def test_checkpoint__has_no_teacher(tmp_path: Path, make_mini: Make) -> None:
    save_checkpoint(tmp_path, contents(make_mini, 10), kept=2)
    with pytest.raises(UserError, match=r"network must be one of the checkpoint's \(student\)"):
        open_checkpoint(tmp_path).load_network(make_mini(), "teacher")


@pytest.mark.parametrize("name", ["optimizer.pt", "state.pt", "manifest.json", "latest"])
def test_save_checkpoint__full_disk_leaves_the_earlier_one(
    tmp_path: Path, make_mini: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkpoints = tmp_path / "demo" / "checkpoints"
    checkpoints.mkdir(parents=True)
    save_checkpoint(checkpoints, contents(make_mini, 10), kept=2)
    before = json.loads((checkpoints / "00000010" / "manifest.json").read_text())

    def full(path: Path, content: object) -> None:
        if name in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content)  # type: ignore[arg-type]

    real = module.write_synced
    monkeypatch.setattr(module, "write_synced", full)
    monkeypatch.setattr("uda4inst.atomic.write_synced", full)
    with pytest.raises(UserError) as caught:
        save_checkpoint(checkpoints, contents(make_mini, 20), kept=2)
    message = str(caught.value)
    assert message.startswith("checkpoint of step 20 must fit on the disk, got a full disk")
    assert f"`uda4inst resume {tmp_path / 'demo'}`. The run goes on from step 10." in message
    monkeypatch.undo()
    assert open_checkpoint(checkpoints).step == 10
    assert json.loads((checkpoints / "00000010" / "manifest.json").read_text()) == before


def test_save_checkpoint__full_disk_in_safetensors(
    tmp_path: Path, make_mini: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_network", full)
    with pytest.raises(UserError, match=r"a full disk.*The run starts again from its beginning"):
        save_checkpoint(tmp_path, contents(make_mini, 20), kept=2)
    assert names(tmp_path) == []


def test_return_to__removes_later_and_unfinished_checkpoints(
    tmp_path: Path, make_mini: Make
) -> None:
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, contents(make_mini, step), kept=3)
    (tmp_path / "00000005").mkdir()
    return_to(tmp_path, 20, kept=3)
    assert names(tmp_path) == ["00000010", "00000020", "latest"]
    assert latest_step(tmp_path) == 20


def test_return_to__makes_the_room_a_kill_prevented(tmp_path: Path, make_mini: Make) -> None:
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, contents(make_mini, step), kept=3)
    return_to(tmp_path, 30, kept=1)
    assert names(tmp_path) == ["00000030", "latest"]


def test_return_to__the_beginning(tmp_path: Path, make_mini: Make) -> None:
    return_to(tmp_path, 0, kept=1)
    assert names(tmp_path) == []
