"""The run folder: its names, and what is written once at the start."""

from __future__ import annotations

import logging
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import uda4inst
from uda4inst import reading
from uda4inst.atomic import TEMPORARY_PREFIX, write_json, write_whole
from uda4inst.errors import UserError
from uda4inst.run_folder.commit import current_commit
from uda4inst.yaml_dialect import MAX_YAML, parse_yaml

log = logging.getLogger(__name__)

RUN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODULES: Final = "modules"
# What a trainer has left behind; a folder without any of it may be filled by a new run.
_TRACES: Final = (
    "config.yaml",
    "checkpoints",
    "metrics.jsonl",
    "evaluation",
    "snapshots",
    MODULES,
)
_VERSIONED: Final = ("torch", "transformers", "accelerate", "numpy")


@dataclass(frozen=True, slots=True)
class RunDir:
    """Where everything of one run lies; docs/reference/files.md tells of each."""

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
    def speeds(self) -> Path:
        """How fast its networks were measured to be; of presets, in the folder of runs."""
        return self.path / "bench.jsonl"

    @property
    def command(self) -> Path:
        """How the run was started and resumed, and with which versions."""
        return self.path / "command.json"

    @property
    def parent(self) -> Path:
        """The run and the step it was forked at, in a run that was."""
        return self.path / "parent.json"

    @property
    def log(self) -> Path:
        """What the trainer said."""
        return self.path / "log.txt"

    @property
    def console(self) -> Path:
        """What the trainer printed, where somebody started it in the background."""
        return self.path / "console.txt"

    @property
    def lock(self) -> Path:
        """Held by the trainer while it works."""
        return self.path / "lock"

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
    def choice(self) -> Path:
        """How far its checkpoints agree, and which one would be chosen without labels."""
        return self.path / "choice.json"

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
        return self.path / MODULES

    @property
    def is_grouped(self) -> bool:
        """Whether the run has one network per category group, each in a module."""
        return self.modules.is_dir()

    def module(self, name: str) -> RunDir:
        """Return the run folder of a category group by its name, see `module_name`."""
        return RunDir(self.modules / name)

    def evaluation_of(self, step: int) -> Path:
        """Result file of a step."""
        return self.evaluation / f"{step:08d}.json"

    def snapshot_of(self, step: int) -> Path:
        """Snapshot folder of a step."""
        return self.snapshots / f"{step:08d}"

    def predictions_of(self, step: int) -> Path:
        """Folder of the predictions of a step."""
        return self.evaluation / "predictions" / f"{step:08d}"


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
    listed = ", ".join(run.name for run in runs_in(root)[:8]) or "none yet"
    raise UserError(
        f"RUN must be a run folder or the name of a run in {root} ({listed}), got {str(run)!r}."
    )


def runs_in(root: Path) -> list[RunDir]:
    """Return the runs under a folder by name; never started or half written ones are left out."""
    found = (RunDir(path.parent) for path in root.glob("*/config.yaml"))
    whole = (run for run in found if not run.name.startswith(TEMPORARY_PREFIX))
    return sorted(whole, key=lambda run: run.name)


def module_name(group: Sequence[str]) -> str:
    """Return the folder name of a category group.

    Example:
        >>> module_name(["car", "tow truck"])
        'car-tow_truck'
    """
    return "-".join(name.replace(" ", "_") for name in group)


def module_names(run: RunDir, groups: Sequence[Sequence[str]] = ()) -> list[str]:
    """Return the names of the category groups a run has a module of; none for a run of one network.

    Args:
        run: need not exist.
        groups: those of its configuration, which trains them in this order; others come last.
    """
    if not run.is_grouped:
        return []
    folders = (path.name for path in run.modules.iterdir() if path.is_dir())
    found = sorted(name for name in folders if RUN_NAME.fullmatch(name))
    order = [module_name(group) for group in groups]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def command_entry(circumstances: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `command.json` says of this start.

    Args:
        circumstances: where it trains: host, device, processes, data.
    """
    return {
        "argv": sys.argv,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": current_commit(),
        "versions": versions(),
        **circumstances,
    }


def record_command(run: RunDir, entry: Mapping[str, Any]) -> None:
    """Write how this process was called; a resume is added to what is there."""
    earlier = read_json(run.command) if run.command.exists() else {}
    if earlier:
        entry = {**earlier, "resumed": [*earlier.get("resumed", []), entry]}
    write_json(run.command, entry)


def last_command(run: RunDir) -> Mapping[str, Any] | None:
    """Return the entry of the run's last start; None where there is none, or it cannot be read."""
    try:
        raw = read_json(run.command)
    except UserError:
        return None
    if not isinstance(raw, dict):
        return None
    resumed = raw.get("resumed")
    last = resumed[-1] if isinstance(resumed, list) and resumed else raw
    return last if isinstance(last, dict) else None


@dataclass(frozen=True, slots=True)
class Command:
    """What began a run.

    Args:
        time: when, ISO 8601; empty where it does not say.
        commits: of the code that began it and went on with it, each once.
    """

    time: str = ""
    commits: tuple[str, ...] = ()


def read_command(run: RunDir) -> Command:
    """Return what `command.json` tells; nothing where it cannot be read."""
    try:
        raw = read_json(run.command)
    except UserError:
        return Command()
    if not isinstance(raw, dict):
        return Command()
    resumed = raw.get("resumed")
    entries = [raw, *(resumed if isinstance(resumed, list) else [])]
    commits = (entry.get("commit") for entry in entries if isinstance(entry, dict))
    return Command(
        time=str(raw.get("time", "")),
        commits=tuple(dict.fromkeys(str(commit) for commit in commits if commit)),
    )


def read_config_values(path: Path) -> Mapping[str, object]:
    """Return what a run's `config.yaml` says, unchecked: whoever only looks must not be refused.

    Nothing where it cannot be read or is no mapping; `uda4inst.training.config.load_config` is
    for those that train.

    Raises:
        FileNotFoundError: there is none.
    """
    try:
        values = parse_yaml(reading.read_text(path, limit=MAX_YAML))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return {}
    return values if isinstance(values, dict) else {}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: it is missing or not JSON.
    """
    try:
        return reading.read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} must be readable JSON, got {error} ({path}).") from error


@cache
def versions() -> dict[str, str]:
    """Return the versions that decide what a run computes."""
    others = {name: metadata.version(name) for name in _VERSIONED}
    # A checkout on the path has no metadata.
    own = {uda4inst.__name__: uda4inst.__version__}
    return {"python": platform.python_version(), **own, **others}


def numbered(folder: Path) -> list[int]:
    """Return the steps of a folder's finished entries (`<step:08d>` with any suffix), sorted."""
    if not folder.is_dir():
        return []
    stems = {p.name.split(".")[0] for p in folder.iterdir()}
    return sorted(int(stem) for stem in stems if len(stem) == 8 and stem.isdigit())
