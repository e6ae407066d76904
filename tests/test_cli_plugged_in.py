"""Commands that other packages bring: found when asked for, and a broken one hurts nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from uda4inst import cli
from uda4inst.commands import plugged_in

greet_app = typer.Typer()


@greet_app.callback()
def _greet() -> None:
    """Greet people."""


@greet_app.command("twice")
def twice(name: str) -> None:
    typer.echo(f"{name}, {name}")


PlugIn = Callable[[str, str], None]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    """Pretend that a package brings a command."""

    def pretend(name: str, value: str) -> None:
        entry = EntryPoint(name, value, plugged_in.GROUP)
        monkeypatch.setattr(plugged_in, "_found", lambda: {name: entry})

    return pretend


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["uda4inst", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_plugged_in__runs_and_is_listed(
    plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "greetings", sys.modules[__name__])
    plug_in("greet", "greetings:greet_app")
    assert run(monkeypatch, "greet", "twice", "Ada") == 0
    assert capsys.readouterr().out == "Ada, Ada\n"
    assert run(monkeypatch, "--help") == 0
    assert "Greet people." in capsys.readouterr().out


def test_plugged_in__one_that_cannot_be_loaded_is_one_message(
    plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in("greet", "nowhere.to.be.found:app")
    assert run(monkeypatch, "--help") == 0
    assert "greet" in capsys.readouterr().out
    assert run(monkeypatch, "greet", "twice", "--name", "Ada") == 2
    assert "command greet must be loadable, got No module named" in capsys.readouterr().err


def test_plugged_in__cannot_take_the_place_of_a_command(
    plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in("doctor", "nowhere.to.be.found:app")
    assert run(monkeypatch, "doctor", "--help") == 0
    assert "device and memory" in capsys.readouterr().out


def test_plugged_in__own_commands_look_for_no_others() -> None:
    code = (
        "import sys\n"
        "from uda4inst import cli\n"
        "from uda4inst.commands import plugged_in\n"
        "plugged_in._found = None\n"
        "sys.argv = ['uda4inst', 'doctor', '--help']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_inspect__help_needs_neither_fiftyone_nor_torch() -> None:
    code = (
        "import sys\n"
        "from uda4inst import cli\n"
        "sys.argv = ['uda4inst', 'inspect', 'data', '--help']\n"
        "try:\n"
        "    cli.main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'torch', 'fiftyone', 'gradio', 'numpy', 'psutil'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--target-labels" in done.stdout


def test_inspect__without_fiftyone_is_one_message(tmp_path: Path) -> None:
    """A folder called fiftyone, as sessions make it, is no installation either."""
    (tmp_path / "fiftyone").mkdir()
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "def without(name, *rest):\n"
        "    return None if name == 'fiftyone' else find(name, *rest)\n"
        "importlib.util.find_spec = without\n"
        "from uda4inst import cli\n"
        "sys.argv = ['uda4inst', 'inspect', 'data', 'toystreets_demo', '--headless']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: inspection must have FiftyOne")
    assert done.stderr.count("\n") == 1
