"""Nobody but `uda4inst.run_folder` names the files of a run; others ask it for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "config.yaml",
    "status.json",
    "metrics.jsonl",
    "bench.jsonl",
    "command.json",
    "snapshot.json",
    "arrays.npz",
    "manifest.json",
    "console.txt",
    "log.txt",
)
FOLDERS = ("checkpoints", "snapshots", "evaluation", "predictions", "control", "modules")
# A file's name, perhaps at the end of a path or pattern; a sentence that names it is for people.
FILE_ACCESS = re.compile(rf"(\S*/)?({'|'.join(map(re.escape, FILES))})")
FOLDER_ACCESS = re.compile(rf"([^\s/]+/)*({'|'.join(FOLDERS)})(/\S*)?")
PATH_CALLS = ("Path", "joinpath", "glob", "rglob", "with_name", "iterdir", "open")

# What still does, with the number of places; a place that is gone must be taken out here too.
ALLOWED = {
    # A folder of its own, `.checks`, which is no run's.
    "workbench/jobs/data_checks.py": 1,
    # The folder that `predict` makes unless another is named.
    "uda4inst/commands/predict.py": 1,
}


def sources() -> list[Path]:
    found = [*(ROOT / "uda4inst").rglob("*.py"), *(ROOT / "workbench").rglob("*.py")]
    return sorted(path for path in found if ROOT / "uda4inst" / "run_folder" not in path.parents)


def texts_of(node: ast.expr) -> Iterator[str]:
    """Yield the fixed texts of a string or an f-string."""
    for part in node.values if isinstance(node, ast.JoinedStr) else [node]:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def path_parts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts that become parts of paths: operands of `/`, arguments of path calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield from texts_of(node.left)
            yield from texts_of(node.right)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            for argument in node.args if name in PATH_CALLS else []:
                yield from texts_of(argument)


def accesses(source: str) -> list[str]:
    """Return the names of run files and folders that a module uses as such."""
    tree = ast.parse(source)
    constants = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    names = [t for t in constants if isinstance(t, str) and FILE_ACCESS.fullmatch(t)]
    return sorted(names + [t for t in path_parts(tree) if FOLDER_ACCESS.fullmatch(t)])


def test_run_files__are_named_by_their_owner_alone() -> None:
    found = {p.relative_to(ROOT).as_posix(): accesses(p.read_text("utf-8")) for p in sources()}
    assert {path: len(names) for path, names in found.items() if names} == ALLOWED, {
        path: names for path, names in found.items() if len(names) != ALLOWED.get(path, 0)
    }


def test_run_files__suites_and_the_app_may_name_none() -> None:
    own = [p for p in ALLOWED if p.startswith(("workbench/", "uda4inst/suites/"))]
    assert own == ["workbench/jobs/data_checks.py"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('folder / "status.json"', ["status.json"]),
        ('NAME = "metrics.jsonl"', ["metrics.jsonl"]),
        ('root.glob("*/config.yaml")', ["*/config.yaml"]),
        ('root / name / "evaluation"', ["evaluation"]),
        ('Path("runs/a/checkpoints")', ["runs/a/checkpoints"]),
        ('root / f"modules/{name}"', ["modules/"]),
        ('"status.json must hold the state of the run"', []),
        ('titles = {"evaluation": "Evaluation"}', []),
        ('say(f"{run} has no config.yaml.")', []),
    ],
)
def test_accesses__names_that_are_used_and_not_said(source: str, expected: list[str]) -> None:
    assert accesses(source) == expected
