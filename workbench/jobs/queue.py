"""Trainings that wait for their turn, in `<runs>/.queue/waiting.json`.

The file is the truth: it outlives the app, and two apps on one folder share it. Whoever changes it
holds `<runs>/.queue/lock`. The configuration of a new run lies in `.queue/<name>/wanted.yaml`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from uda4inst.atomic import write_json
from uda4inst.errors import UserError
from uda4inst.reading import read_json
from uda4inst.run_folder.checkpoints import complete_steps
from uda4inst.run_folder.layout import RUN_NAME, RunDir, read_config_values
from workbench.jobs.queue_records import QUEUE, config_path
from workbench.locks import one_at_a_time

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 16
_WAITING: Final = "waiting.json"
_MOST_WAITING: Final = 1000
_COMMANDS: Final = ("train", "resume")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A training that was asked for and has no process yet.

    Args:
        name: of the run.
        command: "train" for a new run, "resume" to go on with one.
        step: of the checkpoint to go on from; None for the latest.
        asked: when it was asked for, unix seconds.
    """

    name: str
    command: Literal["train", "resume"]
    step: int | None
    asked: float


@dataclass(frozen=True, slots=True)
class Queue:
    """Content of the file.

    Args:
        at_once: trainings of this machine at the same time.
        waiting: what comes first stands first.
    """

    at_once: int = 1
    waiting: Sequence[Waiting] = field(default_factory=tuple)

    def place(self, name: str) -> int | None:
        """Return the place of a run, 0 for the next; None where it does not wait."""
        names = [one.name for one in self.waiting]
        return names.index(name) if name in names else None

    def without(self, name: str) -> Queue:
        """Return the queue without a run."""
        return replace(self, waiting=tuple(one for one in self.waiting if one.name != name))

    def with_last(self, one: Waiting) -> Queue:
        """Return the queue with a training at its end.

        Raises:
            UserError: more wait than anybody can mean.
        """
        if len(self.waiting) >= _MOST_WAITING:
            raise UserError(
                f"queue must hold at most {_MOST_WAITING} runs, got one more. Cancel some, or run "
                "a suite: uda4inst suite"
            )
        return replace(self, waiting=(*self.waiting, one))

    def moved(self, name: str, by: int) -> Queue:
        """Return the queue with a run so many places later; beyond an end it stays there.

        Raises:
            UserError: it does not wait.
        """
        place = self.place(name)
        if place is None:
            raise no_place(name)
        order = list(self.waiting)
        order.insert(min(max(place + by, 0), len(order) - 1), order.pop(place))
        return replace(self, waiting=tuple(order))


def no_place(name: str) -> UserError:
    """Return what is told of a run that does not wait."""
    return UserError(
        f"a run to be moved or begun must wait in the queue, {name!r} does not. It has begun or "
        "was cancelled meanwhile; nothing was done."
    )


def queue_path(root: Path) -> Path:
    """Return where the queue of a folder of runs lies."""
    return root / QUEUE / _WAITING


def read_queue(path: Path) -> Queue:
    """Return the queue; an empty one where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        raw = read_json(path)
        at_once, waiting = raw["at_once"], tuple(map(_read, raw["waiting"]))
        if not _is_whole(at_once) or not 1 <= at_once <= MOST_AT_ONCE:
            raise ValueError(f"at_once {at_once!r}")
        if len({one.name for one in waiting}) < len(waiting):
            raise ValueError("a name twice")
    except FileNotFoundError:
        return Queue()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"queue must be as the app wrote it, got {type(error).__name__}: {error} ({path}). "
            "Delete the file and start again what waited."
        ) from error
    return Queue(at_once, waiting)


def _read(raw: Mapping[str, Any]) -> Waiting:
    name, command, step, asked = (raw[key] for key in ("name", "command", "step", "asked"))
    fits = isinstance(name, str) and RUN_NAME.fullmatch(name) and command in _COMMANDS
    if not fits or not (step is None or _is_whole(step)) or not isinstance(asked, int | float):
        raise ValueError(f"no run that waits: {raw!r}"[:200])
    return Waiting(name, command, step, float(asked))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def write_queue(root: Path, queue: Queue) -> None:
    """Write the queue, whole or not at all."""
    write_json(queue_path(root), {
        "at_once": queue.at_once, "waiting": [asdict(one) for one in queue.waiting],
    })  # fmt: skip


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Keep other apps from changing the queue while the block runs."""
    folder = root / QUEUE
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder / "lock"):
        yield


def why_not(root: Path, one: Waiting) -> str | None:
    """Return why a training that waits cannot begin, and what to do; None where it can."""
    run = RunDir(root / one.name)
    if one.command == "resume":
        if not run.config.is_file():
            return f"The run that was to go on is gone ({run.path}). Cancel it here."
        steps = complete_steps(run.checkpoints)
        if one.step is not None and one.step not in steps:
            return (
                f"The checkpoint of step {one.step:,} is gone ({run.checkpoints}). Cancel it here, "
                "then restart from another."
            )
        return None
    if run.config.exists() or run.status.exists():
        return f"A run of this name is there meanwhile ({run.path}). Cancel this one here."
    path = config_path(root, one.name)
    if not path.is_file():
        return f"Its configuration is gone ({path}). Cancel it here and start it again."
    return _missing_data(read_config_values(path))


def _missing_data(values: Mapping[str, Any]) -> str | None:
    data = values.get("data")
    parts = data if isinstance(data, Mapping) else {}
    for name in ("source", "target", "val"):
        part = parts.get(name)
        root = part.get("root") if isinstance(part, Mapping) else None
        if isinstance(root, str) and not Path(root).is_dir():
            return f"Its data.{name} is gone ({root}). Bring the folder back, or cancel it here."
    return None
