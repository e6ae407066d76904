"""The set-up: which Python it takes, which torch it keeps, what it asks for."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import install
from install import Interpreter

ROOT = Path(__file__).parent.parent
OLD = Interpreter("/old", (3, 10, 14))
EARLY = Interpreter("/early", (3, 11, 2))
THIRD = Interpreter("/third", (3, 13, 1))
FIRST = Interpreter("/first", (3, 11, 7), torch="2.10.0", cuda=True)
BARE = Interpreter("/bare", (3, 11, 7), venv=False)
WITH_GPU = Interpreter("/gpu", (3, 12, 3), torch="2.12.1+cu130", cuda=True)


def program(folder: Path, *, version: tuple[int, int, int], torch: str | None = None) -> Path:
    """Write a program that answers as an interpreter would."""
    path = folder / "python"
    facts = {"version": version, "path": str(path), "torch": torch, "cuda": False, "venv": True}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
    path.chmod(0o755)
    return path


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "install.py"), "--dry-run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([OLD, EARLY, BARE, THIRD], THIRD),
        ([THIRD, FIRST], FIRST),
        ([THIRD, FIRST, WITH_GPU], WITH_GPU),
        ([OLD, EARLY, BARE], None),
    ],
)
def test_choose__a_torch_on_the_gpu_then_the_tested_version(
    found: list[Interpreter], chosen: Interpreter | None
) -> None:
    assert install.choose(found) == chosen


@pytest.mark.parametrize(
    ("torch", "within"),
    [("2.11.0", True), ("2.13.0+cu130", True), ("3.0.0", True), ("2.10.1", False), (None, False)],
)
def test_within_bounds__is_from_the_floor_on(torch: str | None, within: bool) -> None:
    assert install.within_bounds(torch) is within


def test_plan__a_torch_that_works_stays() -> None:
    there = Interpreter("/venv/bin/python", (3, 11, 7), torch="2.13.0+cpu")
    decided = install.plan([], there, torch=None)
    assert (decided.torch, decided.inherit) == ((), False)
    decided = install.plan([FIRST, WITH_GPU], None, torch=None)
    assert (decided.python, decided.torch) == (WITH_GPU, ())
    assert decided.inherit


def test_plan__one_that_is_too_old_does_not_stay() -> None:
    there = Interpreter("/venv/bin/python", (3, 11, 7), torch="2.10.0", cuda=True)
    decided = install.plan([], there, torch=None)
    assert decided.torch[0] == install.pinned_torch()


def test_plan__what_the_user_asks_for_goes_to_pip() -> None:
    decided = install.plan([WITH_GPU], None, torch="torch==2.12.0 --index-url https://own")
    assert list(decided.torch) == ["torch==2.12.0", "--index-url", "https://own"]
    assert not decided.inherit


@pytest.mark.parametrize("driver", [True, False])
def test_plan__builds_for_processors_where_linux_has_no_driver(
    monkeypatch: pytest.MonkeyPatch, driver: bool
) -> None:
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: driver)
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    decided = install.plan([THIRD], None, torch=None)
    assert (install.CPU_BUILDS in decided.torch) is not driver
    assert decided.torch[0].startswith("torch==")


@pytest.mark.parametrize("build", ["", "+cpu", "+cu130"])
def test_constraints__are_the_tested_versions_beside_the_tested_torch(
    tmp_path: Path, build: str
) -> None:
    pinned = install.pinned_torch().split("==")[1]
    *rest, file = install.constraints(pinned + build, tmp_path)
    assert rest == ["--constraint", "constraints.txt", "--constraint"]
    assert install.pinned_torch() in (ROOT / file).read_text()
    assert "torch==" not in (ROOT / "constraints.txt").read_text()


def test_constraints__another_torch_stays(tmp_path: Path) -> None:
    *_, file = install.constraints("2.12.1+cu130", tmp_path)
    assert Path(file).parent == tmp_path
    assert Path(file).read_text() == "torch==2.12.1+cu130\n"


def test_dry_run__says_in_one_line_what_it_would_do(tmp_path: Path) -> None:
    done = dry_run("--venv", str(tmp_path / "none"), "--extras", "workbench")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert all(word in done.stdout for word in ("Python 3.", "torch", "0.25 GB", "none"))
    assert not (tmp_path / "none").exists()


def test_dry_run__the_environment_that_is_there_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "bin", version=(3, 12, 4), torch="2.12.0")
    done = dry_run("--venv", str(tmp_path))
    assert "Python 3.12.4" in done.stdout
    assert "torch 2.12.0 stays" in done.stdout


def test_dry_run__an_environment_without_a_name_is_not_made_here() -> None:
    done = dry_run("--venv", "")
    assert done.returncode != 0
    assert "--venv must name a folder" in done.stderr


@pytest.mark.parametrize("version", [(3, 10, 1), (3, 14, 0), (3, 11, 2)])
def test_dry_run__what_does_not_fit_is_named_with_a_remedy(
    tmp_path: Path, version: tuple[int, int, int]
) -> None:
    own = program(tmp_path / "bin", version=version)
    asked = dry_run("--venv", str(tmp_path / "none"), "--python", str(own))
    assert asked.returncode != 0
    assert f"{own} must be a Python 3.11" in asked.stderr
    assert ".".join(map(str, version)) in asked.stderr
    there = dry_run("--venv", str(tmp_path))
    assert there.returncode != 0
    assert "remove it" in there.stderr
    assert "Traceback" not in asked.stderr + there.stderr


def test_install__is_read_by_pythons_that_cannot_run_the_project() -> None:
    ast.parse((ROOT / "install.py").read_text(), feature_version=(3, 7))
