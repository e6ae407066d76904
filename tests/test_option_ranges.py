"""Numbers on the command line have a range: outside it, one message, and nothing is done."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from uda4inst import cli
from workbench.gate.options import make_parser


def commands(group: Any, context: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its name, those that packages beside the core add included."""
    if not hasattr(group, "list_commands"):
        yield name, group
        return
    for part in group.list_commands(context):
        yield from commands(group.get_command(context, part), context, f"{name} {part}".strip())


def numbers() -> dict[str, Any]:
    """Return every option and argument that is a number."""
    root = typer.main.get_command(cli.app)
    return {
        f"{name} {parameter.opts[0]}": parameter
        for name, command in commands(root, root.make_context("uda4inst", ["doctor"]))
        for parameter in command.params
        if re.search(r"\b(int|float)\b", str(parameter.type_descriptor.annotation))
    }


def test_parser__every_number_has_a_lowest_value() -> None:
    found = numbers()
    assert {"data toystreets --workers", "choose --images", "inspect run --step"} <= found.keys()
    assert [name for name, one in found.items() if one.min is None] == []


def test_parser__processes_and_seeds_have_a_highest_value() -> None:
    found = {n: t for n, t in numbers().items() if n.endswith(("--workers", "--seed", "--port"))}
    assert len(found) > 6
    assert [name for name, one in found.items() if one.max is None] == []


@pytest.mark.parametrize(
    ("option", "value"), [("--workers", "-3"), ("--val", "-1"), ("--train", "0"), ("--seed", "-1")]
)
def test_toystreets__a_number_out_of_range_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["uda4inst", "data", "toystreets", f"{tmp_path}/a", option, value]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("port", ["0", "-1", "65536", "1.5", "x"])
def test_app__port_is_one(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args([f"--port={port}"])
    assert "must be a whole number from 1 to 65535" in capsys.readouterr().err


def test_app__every_number_is_checked() -> None:
    assert [a.dest for a in make_parser()._actions if a.type in (int, float)] == []
