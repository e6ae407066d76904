"""The folder of a suite: its names, what it was expanded from, and when it is refused."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from uda4inst.atomic import disk_errors, remove_leftovers, write_whole
from uda4inst.errors import UserError
from uda4inst.reading import MAX_DATA, parse_json, read_bytes, read_text
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.definition import Cell
from uda4inst.suites.expand import Expansion, RunSpec
from uda4inst.training.config import Config, load_config, to_yaml
from uda4inst.training.hashing import hashed_values
from uda4inst.yaml_dialect import MAX_YAML, parse_yaml

# Differences named in a refusal; more say no more.
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class SuiteFolder:
    """Where everything of one suite at one scale lies."""

    path: Path

    @property
    def description(self) -> Path:
        """What the suite was expanded from."""
        return self.path / "suite.yaml"

    @property
    def runs(self) -> Path:
        """One run folder a row and seed, and those of stage 1."""
        return self.path / "runs"

    @property
    def configs(self) -> Path:
        """Resolved configurations, one file a run."""
        return self.path / "configs"

    @property
    def logs(self) -> Path:
        """What the trainers said, one file a run."""
        return self.path / "logs"

    @property
    def records(self) -> Path:
        """One JSON line for every time a run was worked on: when, on what, how it ended."""
        return self.path / "records.jsonl"

    @property
    def report(self) -> Path:
        """Tables and charts."""
        return self.path / "report"

    def run(self, name: str) -> RunDir:
        """Return the folder of a run."""
        return RunDir(self.runs / name)


def suite_folder(root: Path, suite: str, scale: str) -> SuiteFolder:
    """Return the folder of a suite at a scale."""
    return SuiteFolder(root / f"{suite}-{scale}")


class _Run(BaseModel):
    """What suite.yaml says of a run, as far as anybody reads it."""

    model_config = ConfigDict(strict=True)

    name: str
    stage1: str | None = None
    scenes: int | None = None
    seed: int | None = None  # earlier versions said it of the suite alone


class _Description(BaseModel):
    """What suite.yaml says, as far as anybody reads it."""

    model_config = ConfigDict(strict=True)

    suite: str
    scale: str
    seeds: list[int]
    rows: list[str] | None = None
    command: list[Any] = []
    runs: list[_Run] | None = None


def open_suite(path: Path) -> tuple[SuiteFolder, dict[str, Any]]:
    """Return an existing suite folder and its description.

    Raises:
        UserError: it is not one.
    """
    folder = SuiteFolder(path)
    try:
        values = parse_yaml(read_text(folder.description, limit=MAX_YAML))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(
            f"SUITE_FOLDER must hold a readable suite.yaml, got {reason} "
            f"({path}). Make it with `uda4inst suite NAME`; it lies under --root."
        ) from error
    try:
        _Description.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(
            f"suite.yaml must say suite, scale and seeds, got something else ({where}: "
            f"{first['msg']}; {path}). Run `uda4inst suite` again to write it."
        ) from error
    if values["suite"] not in SUITES:
        raise UserError(
            f"suite must be one of {', '.join(SUITES)}, got {values['suite']!r} "
            f"({folder.description})."
        )
    return folder, values


def recorded_cells(folder: SuiteFolder) -> tuple[Cell, ...]:
    """Return the scene sets and seeds a folder was expanded for before; none for a new one."""
    if not folder.description.is_file():
        return ()
    return described_cells(open_suite(folder.path)[1])


def recorded_rows(folder: SuiteFolder) -> tuple[str, ...]:
    """Return the keys of the rows a folder was expanded for before; none for a new one."""
    if not folder.description.is_file():
        return ()
    _, values = open_suite(folder.path)
    every = [row.key for row in SUITES[values["suite"]].rows]
    return tuple(values.get("rows") or every)  # earlier versions had no choice


def described_cells(description: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Return the scene sets and seeds that suite.yaml says, in its order."""
    runs = [run for run in description.get("runs") or () if "seed" in run]
    runs = runs or [{"seed": seed} for seed in description["seeds"]]
    return tuple(dict.fromkeys(Cell(run.get("scenes"), int(run["seed"])) for run in runs))


def describe(folder: SuiteFolder, expansion: Expansion) -> None:
    """Write what the suite is made of.

    Raises:
        UserError: the folder cannot be written to.
    """
    values = {
        "suite": expansion.suite.name,
        "scale": expansion.scale.name,
        "scenes": list(dict.fromkeys(c.scenes for c in expansion.cells if c.scenes is not None)),
        "seeds": list(dict.fromkeys(cell.seed for cell in expansion.cells)),
        "rows": list(expansion.rows),
        "overrides": list(expansion.overrides),
        "presets": dict(expansion.scale.presets),
        "hash": expansion.hash,
        "command": list(expansion.command),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": current_commit(),
        "runs": [
            {
                "name": run.name,
                "row": run.row,
                "scenes": run.cell.scenes,
                "seed": run.cell.seed,
                "config_hash": run.config_hash,
                "stage1": run.stage1,
            }
            for run in expansion.runs
        ],
    }
    with disk_errors("suite", folder.path, then="start the suite again"):
        folder.path.mkdir(parents=True, exist_ok=True)
        write_whole(folder.description, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def write_config(folder: SuiteFolder, run: RunSpec) -> Path:
    """Write the resolved configuration of a run that begins, and return its path."""
    path = folder.configs / f"{run.name}.yaml"
    with disk_errors("suite", path, then="start the suite again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_yaml(run.config))
    return path


def add_record(folder: SuiteFolder, record: Mapping[str, Any]) -> None:
    """Add a line about work on a run.

    Raises:
        UserError: the disk is full or fails.
    """
    with (
        disk_errors("record of a suite", folder.records, then="start the suite again"),
        folder.records.open("a+b") as file,
    ):
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # half a line, which a full disk cut
                file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")


def read_records(folder: SuiteFolder) -> dict[str, list[dict[str, Any]]]:
    """Return the lines by run; half a line, of a killed writer, is passed over."""
    found: dict[str, list[dict[str, Any]]] = {}
    if folder.records.is_file():
        for line in read_bytes(folder.records, limit=MAX_DATA).splitlines():
            try:
                record = parse_json(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.setdefault(str(record.get("run", "")), []).append(record)
    return found


def check_unchanged(folder: SuiteFolder, expansion: Expansion) -> None:
    """Raise where a run already there has another configuration than it would get now.

    Raises:
        UserError: naming the rows, a few of the settings, and what to do.
    """
    changed: dict[str, list[str]] = {}
    differences: dict[str, None] = {}
    for spec in expansion.runs:
        run = folder.run(spec.name)
        if not run.config.is_file():
            continue
        found = _differences(run, spec)
        if found:
            changed.setdefault(spec.row or "stage 1", []).append(spec.cell.words)
            differences |= dict.fromkeys(found)
    if not changed:
        return
    rows = ", ".join(f"{row} ({'; '.join(sorted(cells))})" for row, cells in changed.items())
    named = list(differences)[:_NAMED] + (["..."] if len(differences) > _NAMED else [])
    raise UserError(
        f"suite {expansion.suite.name} must keep the configuration of the runs it has, got "
        f"another for {rows}: {'; '.join(named)} ({folder.path}). Take the change back, give "
        "another --root, or move these run folders away to train them again."
    )


def _differences(run: RunDir, spec: RunSpec) -> list[str]:
    """Return the settings in which a run differs from what it should be; empty for none."""
    try:
        config = load_config(run.config)
    except UserError as error:
        return [f"its {run.config.name} is refused now ({error})"]
    then, now = _flat(config), _flat(spec.config)
    for name in spec.config.method.left_to_source:
        # A run that chose them from the data has written down which.
        then.pop(f"method.{name}", None)
        now.pop(f"method.{name}", None)
    return [
        f"{key} was {then.get(key)!r}, is {now.get(key)!r}"
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key)
    ]


def _flat(config: Config) -> dict[str, Any]:
    """Return the hashed settings by dotted name."""
    flat: dict[str, Any] = {}

    def walk(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                walk(value, f"{name}.")
            else:
                flat[name] = value

    walk(hashed_values(config), "")
    return flat


@contextmanager
def locked(folder: SuiteFolder) -> Iterator[None]:
    """Hold the suite: one at a time starts runs in a folder.

    Raises:
        UserError: another process holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UserError(
            f"a suite must be run by one process, got a second while the first still runs "
            f"({folder.path}). Wait for it, or stop it first."
        ) from error
    try:
        for written in (folder.path, folder.configs):
            remove_leftovers(written)
        yield
    finally:
        os.close(descriptor)
