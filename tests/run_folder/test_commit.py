from __future__ import annotations

import json
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import uda4inst
from uda4inst.run_folder.commit import current_commit


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package in a checkout of its own."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return folder


class Installed:
    """A distribution with what pip noted of it."""

    def __init__(self, noted: str | None) -> None:
        self.noted = noted

    def read_text(self, name: str) -> str | None:
        return self.noted if name == "direct_url.json" else None


def install(monkeypatch: pytest.MonkeyPatch, noted: str | None) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(noted))


def test_commit__of_a_checkout(package: Path) -> None:
    head = git(package, "rev-parse", "HEAD")
    assert current_commit(package) == head[:12]
    (package / "__init__.py").write_text("x = 1\n")
    assert current_commit(package) == f"{head[:12]}-dirty"


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        (
            json.dumps({"url": "u", "vcs_info": {"vcs": "git", "commit_id": "a1b2" * 10}}),
            "a1b2" * 3,
        ),
        (json.dumps({"url": "file:///x", "dir_info": {"editable": True}}), None),
        (None, None),
        ("{", None),
    ],
    ids=["from-git", "from-a-folder", "from-an-index", "broken"],
)
def test_commit__of_an_installed_package_is_what_pip_noted(
    package: Path, monkeypatch: pytest.MonkeyPatch, noted: str | None, commit: str | None
) -> None:
    install(monkeypatch, noted)
    inside = package / ".venv" / "package"  # of another checkout, which does not know it
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("")
    assert current_commit(inside) == commit


def test_version__is_the_same_wherever_it_stands() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert {project["version"], citation["version"]} == {uda4inst.__version__}
    assert f"## [{uda4inst.__version__}]" in (root / "CHANGELOG.md").read_text("utf-8")
