"""A method is one file, one line, one YAML: nothing else knows its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import uda4inst
from uda4inst.methods import METHODS

ROOT = Path(__file__).parents[2]
# Tables are configurations: their rows say which method they are about.
CONFIGURATIONS = {
    "uda4inst/suites/definition.py",
    "uda4inst/suites/own_tables.py",
    "uda4inst/suites/paper_tables.py",
    "uda4inst/suites/semantic_tables.py",
}
# Where a string decides something. A method may be called as the package is, whose name stands in
# log names and commands too.
DECIDING = (ast.Compare, ast.Dict, ast.Subscript, ast.MatchValue)


def files() -> list[Path]:
    rooms = [ROOT / room for room in ("uda4inst", "workbench", "recipes")]
    found = [path for room in rooms for path in room.rglob("*.py")]
    return [path for path in found if "uda4inst/methods" not in path.as_posix()]


def named_methods(path: Path) -> list[str]:
    """Return the methods' names that a file's code holds as strings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def decides(node: ast.AST) -> bool:
        parent = parents.get(node)
        if isinstance(parent, ast.Tuple | ast.Set | ast.List):
            return isinstance(parents.get(parent), ast.Compare | ast.Subscript)
        return isinstance(parent, DECIDING)

    return [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node.value in METHODS
        and (node.value != uda4inst.__name__ or decides(node))
    ]


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_names_of_methods__stand_in_their_files_and_configurations_alone(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() not in CONFIGURATIONS:
        assert named_methods(path) == []


def test_named_methods__are_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "import logging\n"
        "log = logging.getLogger('uda4inst')\n"
        "if method == 'uda4inst' or name in ('oracle', 'x'): pass\n"
        "start('source_only')\n"
    )
    assert named_methods(file) == [
        "line 4: 'source_only'",
        "line 3: 'uda4inst'",
        "line 3: 'oracle'",
    ]
