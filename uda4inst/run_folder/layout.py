"""The run folder: its names, who may write to it, and what is written once at the start."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from uda4inst.atomic import TEMPORARY_PREFIX, remove_leftovers, write_json, write_whole
from uda4inst.errors import UserError

RUN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What a trainer has left behind; a folder without any of it may be filled by a new run.
_TRACES: Final = (
    "config.yaml",
    "checkpoints",
    "metrics.jsonl",
    "evaluation",
    "snapshots",
    "modules",
)
_VERSIONED: Final = ("uda4inst", "torch", "transformers", "accelerate", "numpy")


@dataclass(frozen=True, slots=True)
class RunDir:
    """Where everything of one run lies; see the design document, section 7."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def status(self) -> Path:
        """State, progress and heartbeat."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """One line a logged step."""
        return self.path / "metrics.jsonl"

    @property
    def command(self) -> Path:
        """How the run was started and resumed, and with which versions."""
        return self.path / "command.json"

    @property
    def log(self) -> Path:
        """What the trainer said."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, and `latest`."""
        return self.path / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """One folder a snapshot."""
        return self.path / "snapshots"

    @property
    def evaluation(self) -> Path:
        """Results, one JSON file an evaluated step, and predictions."""
        return self.path / "evaluation"

    @property
    def control(self) -> Path:
        """Requests to the trainer."""
        return self.path / "control"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def failed_batch(self) -> Path:
        """The batch whose loss was not finite, if a run ended so."""
        return self.path / "failed_batch"

    @property
    def modules(self) -> Path:
        """Run folders of the category groups, in a run of several."""
        return self.path / "modules"

    def evaluation_of(self, step: int) -> Path:
        """Result file of a step."""
        return self.evaluation / f"{step:08d}.json"


def check_run_name(name: str) -> str:
    """Return the name unchanged.

    Raises:
        UserError: the name cannot be one of a folder under the run root.
    """
    if not RUN_NAME.fullmatch(name):
        raise UserError(
            "run.name must be letters, digits, '.', '_' and '-' and begin with a letter or digit "
            f"(it names a folder), got {name!r}. Change it, as in run.name=my_run; the folder "
            "that holds the runs is run.root."
        )
    return name


def check_is_new(run: RunDir) -> None:
    """Raise unless a new run may be put there.

    Raises:
        UserError: the name is not one of a folder, or is taken.
    """
    check_run_name(run.name)
    if any((run.path / trace).exists() for trace in _TRACES):
        raise UserError(
            f"run.name must be new, got {run.name!r}, which exists ({run.path}). "
            f"Go on with it by `uda4inst resume {run.path}`, or choose another run.name."
        )


def create_run(run: RunDir, *, config_yaml: str) -> None:
    """Make the folder of a new run and write its configuration.

    Raises:
        UserError: see `check_is_new`; or the folder cannot be made.
    """
    check_is_new(run)
    try:
        for folder in (run.checkpoints, run.snapshots, run.evaluation, run.control):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(run.config, config_yaml)
    except OSError as error:
        raise UserError(
            f"run.root must be a folder that can be written to, got {run.path.parent} ({error}). "
            "Choose another, as in run.root=runs."
        ) from error


def find_run(run: str | Path, *, root: Path) -> RunDir:
    """Return an existing run by its path, or by its name under `root`.

    Raises:
        UserError: there is no such run, or it was never started.
    """
    candidates = (Path(run), root / run)
    for path in candidates:
        if (path / "config.yaml").is_file():
            return RunDir(path)
    for path in candidates:
        if path.is_dir():
            raise UserError(
                f"RUN must be a run folder, got {path}, which has no config.yaml. "
                "Start it again with `uda4inst train`."
            )
    known = sorted(p.parent.name for p in root.glob("*/config.yaml")) if root.is_dir() else []
    listed = ", ".join(known[:8]) or "none yet"
    raise UserError(
        f"RUN must be a run folder or the name of a run in {root} ({listed}), got {str(run)!r}."
    )


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Hold the run's lock: one trainer at a time.

    The lock goes with the process, however it ends. Loader workers forked from it give their copy
    up, or one that outlives a killed trainer would keep the run closed.

    Raises:
        UserError: another process holds the lock.
    """
    descriptor = os.open(run.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    held = [descriptor]
    os.register_at_fork(after_in_child=lambda: [os.close(held.pop()) for _ in held[:]])
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held.pop())
        raise UserError(
            f"run {run.name!r} must have one trainer, got a second while the first still runs "
            f"({run.path}, pid {_owner(run)}). Wait for it, or stop it first."
        ) from error
    try:
        clean_up(run)
        yield
    finally:
        os.close(held.pop())


def clean_up(run: RunDir) -> None:
    """Remove unfinished files of a killed trainer, and requests nobody will obey any more."""
    for folder in (run.path, run.checkpoints, run.snapshots, run.evaluation, run.failed_batch):
        remove_leftovers(folder)
    if run.control.is_dir():
        for request in run.control.iterdir():
            request.unlink(missing_ok=True)


def record_command(run: RunDir) -> None:
    """Write how this process was called; a resume is added to what is there."""
    entry = {
        "argv": sys.argv,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": current_commit(),
        "versions": versions(),
    }
    earlier = read_json(run.command) if run.command.exists() else {}
    if earlier:
        entry = {**earlier, "resumed": [*earlier.get("resumed", []), entry]}
    write_json(run.command, entry)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} must be readable JSON, got {error} ({path}).") from error


@cache
def versions() -> dict[str, str]:
    """Return the versions that decide what a run computes."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in _VERSIONED
    }


def current_commit() -> str | None:
    """Return the commit of the checkout the package runs from, marked when it has changes."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def numbered(folder: Path) -> list[int]:
    """Return the steps of a folder's finished entries (`<step:08d>` with any suffix), sorted."""
    if not folder.is_dir():
        return []
    stems = {p.name.split(".")[0] for p in folder.iterdir()}
    return sorted(int(stem) for stem in stems if len(stem) == 8 and stem.isdigit())


def _owner(run: RunDir) -> str:
    """Return the process id that signed the status, for a message."""
    try:
        return str(read_json(run.status)["pid"])
    except (UserError, KeyError, TypeError):
        return "unknown"


__all__ = [
    "RUN_NAME",
    "TEMPORARY_PREFIX",
    "RunDir",
    "check_run_name",
    "clean_up",
    "create_run",
    "current_commit",
    "find_run",
    "locked",
    "numbered",
    "read_json",
    "record_command",
    "versions",
]
