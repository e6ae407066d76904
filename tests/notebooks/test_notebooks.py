"""Notebooks: what they must look like, that they run, and that their outputs are theirs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra `notebooks` is not installed")
pytest.importorskip("ipywidgets", reason="the extra `notebooks` is not installed")

from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.plan import plan_suite
from uda4inst.tasks.instances import INSTANCES
from uda4inst.toystreets.write import write_toystreets
from workbench import notebook
from workbench.notebook.record import KEY, digest

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# Which process runs what: those that share a suite share its runs.
GROUPS: dict[str, str] = dict.fromkeys(("00", "05", "08", "12"), "table5")
MAX_LINES = 15
# The beginning of a path that another machine does not have: not of a relative one, nor an address.
FOLDERS = re.compile(r"(?:(?<![\w.:<)}\]*/~-])|(?<=file://))(?:~?/(?=\w)|[A-Z]:\\)(?:\w+/)?")
MAX_BYTES, MAX_BYTES_IN_ALL = 1_500_000, 10_000_000

# What makes a stepper, by the names of `workbench.notebook`.
MAKERS = [
    name
    for name in notebook.__all__
    if inspect.isfunction(made := getattr(notebook, name))
    and inspect.signature(made).return_annotation == "Stepper"
]
STEPPERS = re.compile(rf"^(\w+) = nb\.(?:{'|'.join(MAKERS)})\(", re.MULTILINE)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path: Path) -> list[Any]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def text_of(output: Any) -> str:
    data: Mapping[str, str] = output.get("data", {})
    return data.get("text/markdown", data.get("text/plain", output.get("text", "")))


@EACH
def test_notebook__asks_a_question_and_ends_with_answer_and_origin(path: Path) -> None:
    nbformat.validate(read(path))
    title = read(path).cells[0].source.splitlines()[0]
    assert re.fullmatch(rf"# {path.stem[:2]} · .*\?", title)
    headings = [c.source for c in read(path).cells if c.source.startswith("## ")]
    assert any(heading.splitlines()[0] == "## Answer" for heading in headings)
    assert "nb.provenance(" in code_cells(path)[-1].source


@EACH
def test_notebook__cells_are_short_and_hold_no_logic(path: Path) -> None:
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= MAX_LINES
        tree = ast.parse(cell.source)
        kinds = {type(node).__name__ for node in ast.walk(tree)}
        assert not kinds & {"FunctionDef", "ClassDef", "For", "While", "Lambda", "Try"}
        imported = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        assert all(re.match(r"(from|import) (workbench|uda4inst)\b", line) for line in imported)


@EACH
def test_notebook__names_no_folder_of_one_machine(path: Path) -> None:
    texts = [*(cell.source for cell in read(path).cells), *map(text_of, outputs(path))]
    assert [found for text in texts for found in FOLDERS.findall(text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cityscapes (/mnt/a b/c)", ["/mnt/"]),
        ("run must be there (/home/me/runs/demo).", ["/home/"]),
        ("`cd ~/data`", ["~/"]),
        (r"root='C:\\Users\\me'", ["C:\\"]),
        ("see file:///tmp/x", ["/tmp/"]),
        ("Cityscapes (data/toystreets_scenes/5/cityscapes), ../docs/a.md", []),
        ("http://127.0.0.1:5151/datasets/a/b and https://a.org/b/c", []),
        ("<small>and/or</small><br/> 3/4 of 1 / 2 at +0.1/-0.2", []),
    ],
)
def test_folders__are_told_from_what_outputs_may_hold(text: str, found: list[str]) -> None:
    assert FOLDERS.findall(text) == found


@EACH
def test_notebook__cells_have_names_that_stay(path: Path) -> None:
    names = [cell["id"] for cell in read(path).cells]
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{path.stem[:2]}-") for name in names)


@EACH
def test_notebook__every_stepper_is_moved_by_the_tests_and_has_a_still(path: Path) -> None:
    cells = code_cells(path)
    for place, cell in enumerate(cells):
        for name in STEPPERS.findall(cell.source):
            hooks = cell.metadata["nbmake"]["post_cell_execute"]
            assert hooks == [f"assert {name}.walk() > 0"]
            assert any(f"{name}.sheet(" in later.source for later in cells[place + 1 :])


@EACH
def test_outputs__are_those_of_the_cells(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    assert read(path).metadata[KEY] == {"code": digest(read(path))}
    assert all(cell.outputs for cell in code_cells(path)[2:])
    assert not any(output.output_type in ("error", "stream") for output in outputs(path))


@EACH
def test_outputs__are_of_configurations_that_still_are(path: Path, tmp_path: Path) -> None:
    said = text_of(outputs(path)[-1])
    listed = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{12})` \|$", said, re.MULTILINE))
    commands = re.findall(r"The same from a terminal: `(.*)`", said)
    assert listed
    assert commands
    now: dict[str, str] = {}
    for command in commands:
        words = shlex.split(command)[2:]
        pairs = list(zip(words[1::2], words[2::2], strict=True))
        options = dict(pairs)
        plan = plan_suite(
            words[0],
            options["--scale"],
            seeds=[int(seed) for seed in options["--seeds"].split(",")],
            scenes=[int(one) for one in options.get("--scenes", "").split(",") if one],
            rows=[row for row in options.get("--rows", "").split(",") if row],
            root=tmp_path,
            overrides=[value for option, value in pairs if option == "--set"],
        )
        now |= {run.name: run.config_hash for run in plan.chosen.runs}
    assert listed == now


def test_notebooks__are_small_together_and_cover_every_suite_of_the_paper() -> None:
    assert sum(path.stat().st_size for path in PATHS) < MAX_BYTES_IN_ALL
    text = "\n".join(path.read_text() for path in PATHS)
    for name, suite in SUITES.items():
        if suite.task is INSTANCES and name != "extensions":
            assert f'\\"{name}\\"' in text, name


def marks(path: Path) -> list[pytest.MarkDecorator]:
    """Return which process runs a notebook, and whether it can be run here."""
    number = path.stem[:2]
    group = pytest.mark.xdist_group(GROUPS.get(number, number))
    if number == "12" and find_spec("fiftyone") is None:
        return [group, pytest.mark.skip(reason="FiftyOne is not installed")]
    return [group]


@pytest.mark.notebooks
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=marks(path)) for path in PATHS],
)
def test_notebook__runs_at_smoke_scale_without_a_warning(path: Path, scratch: Path) -> None:
    copy = scratch / "notebooks" / path.name
    copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir"]
    command += [str(copy.parent), "--nbmake", "--nbmake-timeout", "500", "--overwrite", str(copy)]
    done = subprocess.run(
        command,
        env=os.environ | {"UDA4INST_NOTEBOOKS": str(scratch), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    streams = [output for output in outputs(copy) if output.output_type == "stream"]
    assert streams == []
    assert "| configuration |" in text_of(outputs(copy)[-1])


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small domains, in which notebooks of one process share their runs."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "notebooks").mkdir()
    write_toystreets(folder / "data" / "toystreets", train=8, val=8, workers=0)
    return folder
