"""Archives come back as they were, and whatever was done to one is one message."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.exchange.packed_runs import pack_run, unpack_run
from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.groups.category_groups import evaluate

MakeRun = Callable[..., RunDir]
STEP = "checkpoints/00000020"


def test_unpack_run__is_judged_to_the_same_numbers(evaluated_run: RunDir, tmp_path: Path) -> None:
    archive = pack_run(evaluated_run, tmp_path / "a.zip")
    done = unpack_run(archive, root=tmp_path / "there")
    assert (done.run.path, done.steps) == (tmp_path / "there" / "made", (20,))
    record = json.loads(evaluated_run.evaluation_of(20).read_text())
    assert json.loads(done.run.evaluation_of(20).read_text()) == record
    assert evaluate(done.run) == record


def test_pack_run__says_what_it_was_trained_and_packed_with(
    evaluated_run: RunDir, tmp_path: Path
) -> None:
    with zipfile.ZipFile(pack_run(evaluated_run, tmp_path / "a.zip")) as archive:
        contents = json.loads(archive.read("packed.json"))
    assert contents["trained_with"] == json.loads(evaluated_run.command.read_text())["versions"]
    assert contents["packed_with"]["packages"]["torch"]
    assert f"{STEP}/teacher.safetensors" in contents["files"]
    assert not [name for name in contents["files"] if name.endswith(".pt")]


def test_pack_run__networks_alone_do_not_resume(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    alone = unpack_run(pack_run(run, tmp_path / "a.zip"), root=tmp_path / "there")
    whole = unpack_run(
        pack_run(run, tmp_path / "b.zip", is_resumable=True), root=tmp_path, name="whole"
    )
    assert (alone.is_resumable, whole.is_resumable) == (False, True)
    assert open_checkpoint(whole.run.checkpoints).load("optimizer.pt") == {"state": {}}
    with pytest.raises(UserError, match=r"networks alone.*pack RUN --resumable"):
        open_checkpoint(alone.run.checkpoints).load("optimizer.pt")


def test_pack_run__all_category_groups(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("method.groups=two")
    done = unpack_run(pack_run(run, tmp_path / "a.zip"), root=tmp_path / "there")
    modules = sorted(path.name for path in run.modules.iterdir())
    assert sorted(path.name for path in done.run.modules.iterdir()) == modules
    assert evaluate(done.run) == evaluate(run)


def test_pack_run__a_damaged_checkpoint_is_not_packed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run.path / STEP / "teacher.safetensors").write_bytes(b"0")
    with pytest.raises(UserError, match="must be as it was written"):
        pack_run(run, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_unpack_run__leaves_a_run_of_that_name(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    archive = pack_run(run, tmp_path / "a.zip")
    with pytest.raises(UserError, match="NAME must be new"):
        unpack_run(archive, root=run.path.parent)
    with pytest.raises(UserError, match=r"run\.name must be letters"):
        unpack_run(archive, root=tmp_path, name="../out")


def rewritten(
    archive: Path,
    *,
    data: dict[str, bytes] | None = None,
    contents: Callable[[dict[str, Any]], object] = lambda contents: None,
    more: tuple[tuple[zipfile.ZipInfo, bytes], ...] = (),
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write an archive again, with other bytes, other contents, or more in it."""
    with zipfile.ZipFile(archive) as old:
        files = {info.filename: old.read(info) for info in old.infolist()} | (data or {})
    told = json.loads(files["packed.json"])
    contents(told)
    files["packed.json"] = json.dumps(told).encode()
    path = archive.with_name("changed.zip")
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in files.items():
            new.writestr(name, content)
        for info, content in more:
            new.writestr(info, content)
    return path


def listed(name: str, content: bytes) -> Callable[[dict[str, Any]], object]:
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return lambda contents: contents["files"].update({name: facts})


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def with_entry(name: str, info: zipfile.ZipInfo | None = None) -> Callable[[Path], Path]:
    entry = info or zipfile.ZipInfo(name)
    return lambda a: rewritten(a, contents=listed(name, b"hi"), more=((entry, b"hi"),))


def truncated(archive: Path) -> Path:
    path = archive.with_name("changed.zip")
    path.write_bytes(archive.read_bytes()[:-200])
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_entry("../escaped"), "a name that leads elsewhere"),
        (with_entry("/tmp/escaped"), "a name that leads elsewhere"),
        (with_entry("a/../../escaped"), "a name that leads elsewhere"),
        (with_entry("a\\escaped"), "a name that leads elsewhere"),
        (with_entry("c:escaped"), "a name that leads elsewhere"),
        (with_entry("folder/"), "a name that leads elsewhere"),
        (with_entry("link", link("link")), "a link, or another thing than a file"),
        (with_entry("config.yaml/inside"), "a file that is a folder"),
        (with_entry("config.yaml"), "a name twice"),
        (
            lambda a: rewritten(a, more=((zipfile.ZipInfo("unlisted"), b"hi"),)),
            "missing or not listed: unlisted",
        ),
        (
            lambda a: rewritten(a, contents=lambda c: c["files"].pop("config.yaml")),
            "without the files of a run",
        ),
        (
            lambda a: rewritten(a, data={f"{STEP}/manifest.json": b"{}"}),
            "another size than listed",
        ),
        (lambda a: rewritten(a, contents=lambda c: c.update(format="other")), "another format"),
        (lambda a: rewritten(a, contents=lambda c: c.pop("steps")), "packed.json without steps"),
        (lambda a: rewritten(a, data={"packed.json": b"[]"}), "another format"),
        (lambda a: rewritten(a, compression=zipfile.ZIP_DEFLATED), "no packed.json"),
        (truncated, "not a zip file"),
        (lambda a: a.parent / "gone.zip", "No such file"),
    ],
)
def test_unpack_run__whatever_was_changed_is_one_message(
    make_run: MakeRun, tmp_path: Path, change: Callable[[Path], Path], message: str
) -> None:
    archive = change(pack_run(make_run(), tmp_path / "a.zip"))
    with pytest.raises(UserError, match=message):
        unpack_run(archive, root=tmp_path / "there")
    assert list((tmp_path / "there").glob("**/*")) == []
    assert not (tmp_path / "escaped").exists()


def test_unpack_run__same_size_and_other_content(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    archive = pack_run(run, tmp_path / "a.zip")
    weights = bytearray((run.path / STEP / "student.safetensors").read_bytes())
    weights[-1] ^= 1
    changed = rewritten(archive, data={f"{STEP}/student.safetensors": bytes(weights)})
    with pytest.raises(UserError, match=r"sha256 differs"):
        unpack_run(changed, root=tmp_path / "there")
    assert not (tmp_path / "there" / "made").exists()


def test_unpack_run__packed_data_of_one_file(make_run: MakeRun, tmp_path: Path) -> None:
    content = b"\0" * 2**20
    info = zipfile.ZipInfo("bomb")
    info.compress_type = zipfile.ZIP_DEFLATED
    archive = rewritten(
        pack_run(make_run(), tmp_path / "a.zip"),
        contents=listed("bomb", content),
        more=((info, content),),
    )
    with pytest.raises(UserError, match=r"packed data \('bomb'\)"):
        unpack_run(archive, root=tmp_path / "there")


def test_pack_run__files_of_1970(evaluated_run: RunDir, tmp_path: Path) -> None:
    for file in evaluated_run.path.rglob("*.*"):
        os.utime(file, (0, 0))
    archive = pack_run(evaluated_run, tmp_path / "a.zip")
    done = unpack_run(archive, root=tmp_path / "there")
    assert done.run.config.read_bytes() == evaluated_run.config.read_bytes()
