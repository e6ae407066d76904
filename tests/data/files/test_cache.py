"""Where things are remembered, and what makes them be found out anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uda4inst.data.files.cache import cache_folder, fingerprint


def test_cache_folder__is_what_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDA4INST_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("UDA4INST_CACHE")
    assert cache_folder() == Path("/xdg/uda4inst")


def test_cache_folder__user_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UDA4INST_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().name == f"uda4inst-{os.getuid()}"


def test_fingerprint__changes_with_files_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("12")
    os.utime(path, ns=(1, 1))
    first = fingerprint([path], "x")
    assert fingerprint([path], "x") == first
    os.utime(path, ns=(1, 2))
    later = fingerprint([path], "x")
    path.write_text("123")
    os.utime(path, ns=(1, 1))
    assert len({first, later, fingerprint([path], "x"), fingerprint([path], "y")}) == 4
