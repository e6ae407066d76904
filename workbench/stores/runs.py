"""The runs on disk with their true state.

The run folder is the only truth: nothing about a run is remembered here that could not be read
again. What is kept is a cache by modification time, so that looking often costs little.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import check_run_name
from workbench.jobs.processes import is_alive, this_host
from workbench.jobs.queue_records import QueueRecord, forget, read_record, record_names
from workbench.stores.file_cache import FileCache
from workbench.stores.groups import check_name, groups_in, module_of, split_name

logger = logging.getLogger(__name__)

WrittenState = Literal["queued", "running", "paused", "finished", "failed", "stopped"]
State = Literal[
    "queued", "running", "paused", "finished", "failed", "stopped", "dead", "incomplete", "waiting"
]
WRITTEN_STATES: tuple[str, ...] = get_args(WrittenState)
LIVE_STATES: frozenset[str] = frozenset({"queued", "running", "paused"})

# A trainer on another machine signs every 2 s; four missed signatures are a dead one.
FOREIGN_HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known about the progress of a run; `state` is checked against the process."""

    state: State
    step: int = 0
    steps: int = 0
    stage: int = 1
    pid: int | None = None
    host: str = ""
    started: str = ""
    heartbeat: float = 0.0
    error: str | None = None
    message: str = ""
    steps_per_second: float | None = None
    eta_seconds: float | None = None

    @property
    def live(self) -> bool:
        """Whether a process works on the run."""
        return self.state in LIVE_STATES

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0..1."""
        return min(self.step / self.steps, 1.0) if self.steps > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ModuleStatus:
    """The network of one category group and its own progress; waiting before its turn.

    Args:
        group: name of the module's folder.
        status: its true state and progress.
    """

    group: str
    status: RunStatus


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the run table.

    Args:
        name: name of the run folder.
        status: true state and progress; of all networks together where there are several.
        method: method of the run's configuration, "" when it cannot be read.
        ap: Cityscapes AP in [0, 1] of student and teacher at `ap_step`, where evaluated.
        ap_step: step of the newest evaluation, or None.
        groups: category groups with a network each; none for a run of one network.
    """

    name: str
    status: RunStatus
    method: str = ""
    ap: Mapping[str, float | None] = field(default_factory=dict)
    ap_step: int | None = None
    groups: Sequence[str] = ()


class RunStore:
    """Reads the runs under one folder.

    Args:
        root: folder of the runs; need not exist yet.
        clock: unix seconds; replaced in tests.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self._cache = FileCache()

    def names(self) -> list[str]:
        """Return the names of all runs, the one that changed last first."""
        names = {path.name: _last_change(path) for path in self._folders()}
        for name in record_names(self.root):
            record = read_record(self.root, name)
            if record is not None:
                names[name] = max(names.get(name, 0.0), record.started)
        return sorted(names, key=lambda name: (-names[name], name))

    def folder(self, name: str) -> Path:
        """Return the folder of a run.

        Raises:
            UserError: the name is not one of a run folder, or there is no such run.
        """
        check_run_name(name)
        path = self.root / name
        if not path.is_dir():
            known = ", ".join(self.names()[:8]) or "none yet"
            raise UserError(
                f"run must be one of the runs in {self.root} ({known}), got {name!r}. "
                "Choose another run or start one on the Train page."
            )
        return path

    def groups(self, name: str) -> list[str]:
        """Return the category groups with a network each; none for a run of one network."""
        return groups_in(self.root / name, self.config(name))

    def modules(self, name: str) -> list[ModuleStatus]:
        """Return the networks of a run of several category groups, in the order they train."""
        return [ModuleStatus(g, self.status(module_of(name, g))) for g in self.groups(name)]

    def can_resume(self, name: str) -> bool:
        """Return whether there is something to go on from.

        A run of several groups always has it: a group without a checkpoint begins anew.
        """
        return bool(self.groups(name) or self.checkpoints(name))

    def is_free(self, name: str) -> bool:
        """Return whether a new run may have this name; a failed start leaves it free."""
        folder = self.root / check_run_name(name)
        written = any((folder / trace).exists() for trace in ("config.yaml", "status.json"))
        return not written and not (read_record(self.root, name) and self.status(name).live)

    def status(self, name: str) -> RunStatus:
        """Return the true state of a run or a module: what it wrote, checked against its process.

        Raises:
            UserError: the name cannot be that of a run.
        """
        check_name(name)
        run, group = split_name(name)
        written = self._written_status(name)
        if group is not None:
            return self._module_status(name, written, above=self.status(run))
        record = read_record(self.root, name)
        if record is not None:
            if written is not None and _took_over(record, written):
                forget(self.root, name)
            else:
                return _status_of_record(record, written)
        if written is None:
            return RunStatus(
                state="incomplete",
                error=f"status.json is missing in {self.root / name}: no trainer has written here. "
                "Delete the folder or start the run again under another name.",
            )
        return self._true_status(name, written)

    def summary(self, name: str) -> RunSummary:
        """Return the table line of a run."""
        folder = self.root / name
        ap, ap_step = self._newest_ap(folder)
        return RunSummary(
            name=name,
            status=self.status(name),
            method=str(self.setting(name, "method.name") or ""),
            ap=ap,
            ap_step=ap_step,
            groups=self.groups(name),
        )

    def summaries(self) -> list[RunSummary]:
        """Return the table lines of all runs, the one that changed last first."""
        return [self.summary(name) for name in self.names()]

    def config(self, name: str) -> Mapping[str, Any]:
        """Return the resolved configuration a run wrote; empty when it has none yet."""
        path = self.root / name / "config.yaml"
        try:
            value = self._cache.read(path, _parse_yaml)
        except FileNotFoundError:
            return {}
        return value if isinstance(value, dict) else {}

    def setting(self, name: str, key: str) -> Any:
        """Return one value of a run's configuration by dotted key, or None."""
        value: Any = self.config(name)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def checkpoints(self, name: str) -> list[int]:
        """Return the steps of the complete checkpoints of a run, oldest first."""
        return numbered(self.root / name / "checkpoints", holding="manifest.json")

    def tail(self, name: str, *, lines: int = 60) -> str:
        """Return the last lines of the run's log, or of its console before it has one."""
        folder = self.root / name
        record = read_record(self.root, name)
        # Before a trainer has taken over, the log is an earlier one's.
        logs = (folder / "console.txt",) if record else (folder / "log.txt", folder / "console.txt")
        texts = (tail_of(path, lines=lines) for path in logs if path.is_file())
        return next((text for text in texts if text), "")

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return [p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith(".")]

    def _written_status(self, name: str) -> RunStatus | None:
        path = self.root / name / "status.json"
        try:
            return self._cache.read(path, _parse_status)
        except FileNotFoundError:
            return None
        except UserError as error:
            return RunStatus(state="incomplete", error=str(error))

    def _true_status(self, name: str, status: RunStatus) -> RunStatus:
        if not status.live:
            return status
        age = self._clock() - status.heartbeat
        if status.host == this_host() and status.pid is not None:
            if is_alive(status.pid, signed_at=status.heartbeat):
                return status
            reason = f"process {status.pid} no longer runs"
        elif age <= FOREIGN_HEARTBEAT_SECONDS:
            return status
        else:
            reason = f"no sign of life from {status.host or 'its host'} for {age:.0f} s"
        remedy = (
            "Restart it from its last checkpoint."
            if self.can_resume(name)
            else "It had no checkpoint yet: start it again under another name."
        )
        return replace(
            status,
            state="dead",
            steps_per_second=None,
            eta_seconds=None,
            error=status.error or f"The trainer ended without a word: {reason}. {remedy}",
        )

    def _module_status(
        self, name: str, written: RunStatus | None, *, above: RunStatus
    ) -> RunStatus:
        """Return the state of a module; in a live run, what an earlier trainer left waits."""
        if written is None:
            count = len(self.groups(split_name(name)[0])) or 1
            return RunStatus(state="waiting", steps=above.steps // count)
        status = self._true_status(name, written)
        earlier = status.heartbeat < _start_time(above)
        if above.live and earlier and status.state in ("stopped", "dead", "failed"):
            return replace(status, state="waiting", error=None)
        return status

    def _newest_ap(self, folder: Path) -> tuple[Mapping[str, float | None], int | None]:
        steps = numbered(folder / "evaluation", suffix=".json")
        if not steps:
            return {}, None
        try:
            record = self._cache.read(folder / "evaluation" / f"{steps[-1]:08d}.json", _parse_json)
            results = record["results"]
            ap = {who: result.get("cityscapes", {}).get("AP") for who, result in results.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            logger.warning("evaluation of %s cannot be read: %s", folder, error)
            return {}, None
        return ap, steps[-1]


def numbered(folder: Path, *, suffix: str = "", holding: str | None = None) -> list[int]:
    """Return the sorted steps of a folder's entries named `<step:08d><suffix>`.

    Args:
        folder: need not exist.
        suffix: how the entries end.
        holding: a file without which an entry is not complete.
    """
    if not folder.is_dir():
        return []
    steps: list[int] = []
    for path in folder.iterdir():
        stem = path.name.removesuffix(suffix)
        complete = holding is None or (path / holding).is_file()
        if path.name == stem + suffix and stem.isdigit() and complete:
            steps.append(int(stem))
    return sorted(steps)


def tail_of(path: Path, *, lines: int, most_bytes: int = 32_768) -> str:
    """Return the last lines of a text file, reading only its end."""
    with path.open("rb") as file:
        file.seek(0, 2)
        start = max(file.tell() - most_bytes, 0)
        file.seek(start)
        text = file.read().decode("utf-8", errors="replace")
    # A progress bar rewrites its line: what follows the last carriage return is what one sees.
    rows = [row.rsplit("\r", 1)[-1].rstrip() for row in text.replace("\r\n", "\n").split("\n")]
    rows = rows[1:] if start else rows
    return "\n".join(rows[-lines - 1 :]).strip("\n")


def _took_over(record: QueueRecord, written: RunStatus) -> bool:
    """Whether the trainer of the record, or a later one, has signed the run folder."""
    return written.pid == record.pid or written.heartbeat > record.started


def _status_of_record(record: QueueRecord, written: RunStatus | None) -> RunStatus:
    base = written if written is not None and written.state != "incomplete" else None
    step, steps = (base.step, base.steps) if base is not None else (0, 0)
    common: dict[str, Any] = {
        "pid": record.pid,
        "host": record.host,
        "started": record.started_iso,
        "heartbeat": record.started,
        "step": step,
        "steps": steps,
    }
    if record.host == this_host() and is_alive(record.pid, signed_at=record.started):
        return RunStatus(state="queued", message="The trainer is starting.", **common)
    reason = tail_of(record.console, lines=12) if record.console.is_file() else ""
    return RunStatus(
        state="failed", error=reason or "The trainer ended before it wrote anything.", **common
    )


def _start_time(status: RunStatus) -> float:
    """Return when a run's trainer began (unix seconds), 0 where it does not say."""
    try:
        return datetime.fromisoformat(status.started).timestamp()
    except ValueError:
        return 0.0


def _last_change(folder: Path) -> float:
    try:
        return (folder / "status.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0  # not a run yet: behind all that are


def _parse_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _parse_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        logger.warning("%s cannot be read: %s", path, error)
        return {}


def _parse_status(path: Path) -> RunStatus:
    try:
        raw = _parse_json(path)
        if raw["state"] not in WRITTEN_STATES:
            raise ValueError(f"state {raw['state']!r}")
        known = {name: raw[name] for name in RunStatus.__dataclass_fields__ if name in raw}
        return RunStatus(**known)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(
            f"status.json must hold the state of the run, got something unreadable ({path}: "
            f"{error}). Restart the run from a checkpoint, or delete the folder."
        ) from error
