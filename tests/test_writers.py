"""Files appear whole: `uda4inst.atomic` alone renames, others write under names it gave them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ATOMIC = "uda4inst/atomic.py"

# What gives a name to write under, or a buffer in memory.
GIVERS = ("whole_file", "whole_folder", "new_folder", "BytesIO")
WRITERS = ("write_text", "write_bytes", "write_synced", "savefig", "imwrite", "save", "savez")
# What writes elsewhere, with the number of places; one that is gone must be taken out here too.
ALLOWED = {
    ATOMIC: 1,
    "uda4inst/data/reports/export.py": 1,  # in a `new_folder` of the same file
    "uda4inst/formats/cityscapes_submission.py": 1,  # masks: the text that names them comes last
    "uda4inst/toystreets/encode.py": 2,  # in the folder that `toystreets/write.py` puts in place
    "workbench/jobs/data_checks.py": 2,  # what a process prints, as it prints it
    "workbench/sessions/building.py": 1,  # `save` of a data set, into the database
    "workbench/sessions/data_session.py": 1,  # the same
    "workbench/sessions/run_session.py": 2,  # the same
    "workbench/sessions/samples.py": 1,  # the same
    "workbench/sessions/semantic_run.py": 2,  # the same
    "workbench/sessions/seen/samples.py": 1,  # the same
    "workbench/sessions/seen/session.py": 1,  # the same
    "workbench/ui/views.py": 1,  # in a temporary folder, from where Gradio copies it, whole
    "recipes/toystreets_start.py": 1,  # `save` of the training, which is whole
}


def sources() -> list[Path]:
    roots = (ROOT / "uda4inst", ROOT / "workbench", ROOT / "recipes")
    return sorted(path for root in roots for path in root.rglob("*.py"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the last part of its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2], node


def renames(source: str) -> list[str]:
    """Return the calls that rename a file; the `replace` of a text has two arguments."""
    return [
        ast.unparse(call)
        for name, call in calls(ast.parse(source))
        if name in ("rename", "renames")
        or ast.unparse(call.func) in ("os.replace", "shutil.move")
        or (name == "replace" and len(call.args) == 1 and not call.keywords)
    ]


def given_names(tree: ast.AST) -> set[str]:
    """Return the variables that a giver filled."""
    nodes = list(ast.walk(tree))
    filled = [(n.context_expr, n.optional_vars) for n in nodes if isinstance(n, ast.withitem)]
    filled += [(n.value, n.targets[0]) for n in nodes if isinstance(n, ast.Assign)]
    return {
        target.id
        for value, target in filled
        if isinstance(target, ast.Name)
        and any(name in GIVERS for name, call in calls(value) if call is value)
    }


def is_write(name: str, call: ast.Call) -> bool:
    """Tell whether a call writes a file anew; appending to a log is another thing."""
    modes = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    return name in WRITERS or (
        name == "open" and any(re.fullmatch("'[wx][bt+]*'", ast.unparse(mode)) for mode in modes)
    )


def direct_writes(source: str) -> list[str]:
    """Return the calls that write to any other name than one that was given."""
    tree = ast.parse(source)
    given = given_names(tree)
    return [
        ast.unparse(call)
        for name, call in calls(tree)
        if is_write(name, call)
        and given.isdisjoint(n.id for n in ast.walk(call) if isinstance(n, ast.Name))
    ]


def test_files__are_renamed_by_their_owner_alone() -> None:
    found = {p.relative_to(ROOT).as_posix(): renames(p.read_text("utf-8")) for p in sources()}
    assert [path for path, lines in found.items() if lines] == [ATOMIC]


def test_files__are_written_under_given_names() -> None:
    found = {p.relative_to(ROOT).as_posix(): direct_writes(p.read_text("utf-8")) for p in sources()}
    assert {path: len(lines) for path, lines in found.items() if lines} == ALLOWED, {
        path: lines for path, lines in found.items() if len(lines) != ALLOWED.get(path, 0)
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("os.replace(a, b)", 1),
        ("path.rename(final)", 1),
        ("path.with_suffix('.new').replace(path)", 1),
        ("text.replace('a', 'b')", 0),
        ("dataclasses.replace(value, field=1)", 0),
    ],
)
def test_renames__of_files_and_not_of_texts(source: str, expected: int) -> None:
    assert len(renames(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.write_text('a')", 1),
        ("figure.savefig(folder / 'a.png')", 1),
        ("torch.save(value, path)", 1),
        ("path.open('w', encoding='utf-8')", 1),
        ("open(path, mode='wb')", 1),
        ("log.open('a')", 0),
        ("path.open('rb')", 0),
        ("with whole_file(path) as temporary:\n    torch.save(value, temporary)", 0),
        ("with whole_folder(path) as folder:\n    (folder / 'a').write_text('a')", 0),
        ("buffer = io.BytesIO()\nimage.save(buffer, format='PNG')", 0),
    ],
)
def test_direct_writes__are_those_to_a_final_name(source: str, expected: int) -> None:
    assert len(direct_writes(source)) == expected
