"""What is known of a training process before it writes its run folder.

`<runs>/.queue/<name>/` holds the configuration the process was started with and `record.json`.
Once the process has signed the run folder, that folder says more and the record is deleted.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from uda4inst.atomic import write_json, write_whole
from uda4inst.reading import read_json

logger = logging.getLogger(__name__)

QUEUE = ".queue"
_RECORD = "record.json"
_WANTED = "wanted.yaml"


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A process that was started for a run.

    Args:
        name: name of the run.
        pid: process id on `host`.
        host: machine it was started on.
        started: unix seconds of its start.
        argv: the command.
    """

    name: str
    pid: int
    host: str
    started: float
    argv: tuple[str, ...]

    @property
    def started_iso(self) -> str:
        """The start as ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.started, tz=UTC).isoformat(timespec="seconds")


def queue_folder(root: Path, name: str) -> Path:
    """Return where the record of a run lies."""
    return root / QUEUE / name


def record_names(root: Path) -> list[str]:
    """Return the names of the runs that have a record."""
    folder = root / QUEUE
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if (path / _RECORD).is_file())


def read_record(root: Path, name: str) -> QueueRecord | None:
    """Return the record of a run, or None when there is none."""
    try:
        raw = read_json(queue_folder(root, name) / _RECORD)
        return QueueRecord(
            name=name,
            pid=int(raw["pid"]),
            host=str(raw["host"]),
            started=float(raw["started"]),
            argv=tuple(map(str, raw["argv"])),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        logger.warning("queue record of %s cannot be read: %s", name, error)
        return None


def config_path(root: Path, name: str) -> Path:
    """Return where the configuration lies that a new run is started with."""
    return queue_folder(root, name) / _WANTED


def write_config(root: Path, name: str, config_yaml: str) -> Path:
    """Write the configuration a new run is started with, and return where it lies."""
    path = config_path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, config_yaml)
    return path


def write_record(root: Path, record: QueueRecord) -> None:
    """Write the record of a run, whole or not at all."""
    folder = queue_folder(root, record.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _RECORD, asdict(record))


def forget(root: Path, name: str) -> None:
    """Delete the record of a run; harmless when another app has just done so."""
    shutil.rmtree(queue_folder(root, name), ignore_errors=True)
