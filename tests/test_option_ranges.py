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


def range_of(parameter: Any) -> tuple[float | None, float | None] | None:
    """Return lowest and highest value of an option or argument; None where it is no number."""
    if hasattr(parameter, "type_descriptor"):
        annotation = str(parameter.type_descriptor.annotation)
        is_number, bounds = re.search(r"\b(int|float)\b", annotation), parameter
    else:  # typer before it had types of its own
        is_number, bounds = re.match("integer|float", parameter.type.name), parameter.type
    if not is_number:
        return None
    return getattr(bounds, "min", None), getattr(bounds, "max", None)


def numbers() -> dict[str, tuple[float | None, float | None]]:
    """Return the range of every option and argument that is a number."""
    root = typer.main.get_command(cli.app)
    return {
        f"{name} {parameter.opts[0]}": found
        for name, command in commands(root, root.make_context("uda4inst", ["doctor"]))
        for parameter in command.params
        if (found := range_of(parameter)) is not None
    }


def test_parser__every_number_has_a_lowest_value() -> None:
    found = numbers()
    assert {"data toystreets --workers", "choose --images", "inspect run --step"} <= found.keys()
    assert [name for name, (lowest, _) in found.items() if lowest is None] == []


def test_parser__processes_and_seeds_have_a_highest_value() -> None:
    found = {n: r for n, r in numbers().items() if n.endswith(("--workers", "--seed", "--port"))}
    assert len(found) > 6
    assert [name for name, (_, highest) in found.items() if highest is None] == []


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
