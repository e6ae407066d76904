"""`metrics.jsonl`, one line a logged step, and the same numbers for TensorBoard."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from uda4inst.atomic import disk_errors
from uda4inst.reading import open_regular

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

# Ten thousand lines come through here before a page first shows.
_decode: Final = msgspec.json.Decoder().decode


class MetricsLog:
    """Appends lines; a reader sees every complete one at once.

    Args:
        path: the file.
        first_step: lines of this step and later are cut away first: they belong to steps that a
            resumed run will do again.
        tensorboard: folder of event files, or None.
        tensorboard_every: steps between its points.
    """

    def __init__(
        self,
        path: Path,
        *,
        first_step: int = 0,
        tensorboard: Path | None = None,
        tensorboard_every: int = 10,
    ) -> None:
        cut_metrics(path, first_step)
        self._path = path
        # Unbuffered: a line is there at once, and a full disk is met at the line it refuses.
        self._file = path.open("ab", buffering=0)
        self._every = tensorboard_every
        self._events: SummaryWriter | None = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(tensorboard), purge_step=first_step)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            UserError: the disk is full or fails.
        """
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        with disk_errors("metrics", self._path, then="resume the run"):
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._events is not None and line["step"] % self._every == 0:
                for name, value in flat_numbers(line).items():
                    self._events.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Wait until every line is on the disk; a checkpoint's lines must outlive a crash."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files; what a full disk refuses of TensorBoard's is given up."""
        self._file.close()
        if self._events is not None:
            with suppress(OSError):
                self._events.close()


def cut_metrics(path: Path, first_step: int) -> None:
    """Cut the first line of `first_step` or later, and everything after it.

    A line that a killed process left half written goes too; one that cannot be read stays.

    Raises:
        OSError: it is no readable file.
    """
    if path.exists():
        os.truncate(path, find_cut(path, first_step))


def find_cut(path: Path, first_step: int) -> int:
    """Return where `cut_metrics` would cut, in bytes; nothing is changed.

    Raises:
        OSError: it is no readable file.
    """
    end = 0
    if not path.exists():
        return end
    with open_regular(path) as file:
        for line in file:
            step = _step_of(_content(line))
            if not line.endswith(b"\n") or (step is not None and step >= first_step):
                break
            end += len(line)
    return end


def flat_numbers(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of a line by slash-joined name, without step, stage and time.

    Example:
        >>> flat_numbers({"step": 3, "loss": 1.5, "losses": {"s2t/mask": 0.5}})
        {'loss': 1.5, 'losses/s2t/mask': 0.5}
    """
    numbers: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            numbers |= flat_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name not in ("step", "stage", "time"):
            numbers[prefix + name] = value
    return numbers


@dataclass(frozen=True, slots=True)
class NewLines:
    """What was logged since the last look.

    Args:
        lines: (step, content) in the order of the file, to be gone through once; a resumed run
            may repeat steps.
        anew: the file is not the one known so far; everything from before is void.
    """

    lines: Iterable[tuple[int, Mapping[str, object]]] = ()
    anew: bool = False


class MetricsReader:
    """Follows one `metrics.jsonl`: every look reads what was appended since the last one.

    A file that was cut or replaced (a resumed run drops the lines after its checkpoint) is noticed
    by its last known line and read again. Half a line waits for its rest; a line that is no
    object with a step is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._last_line = b""

    def read_new(self) -> NewLines:
        """Return what is new; everything at the first look."""
        anew = False
        try:
            with open_regular(self.path) as file:
                anew = not self._continues(file)
                if anew:
                    self._offset, self._last_line = 0, b""
                file.seek(self._offset)
                new = file.read()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("%s cannot be read: %s", self.path, error)
            anew = self._offset > 0
            self._offset, self._last_line = 0, b""
            return NewLines(anew=anew)
        # The trainer may be in the middle of a line.
        complete = new[: new.rfind(b"\n") + 1]
        if not complete:
            return NewLines(anew=anew)
        self._offset += len(complete)
        lines = complete.split(b"\n")[:-1]
        self._last_line = lines[-1] + b"\n"
        return NewLines(self._parsed(lines), anew)

    def _continues(self, file: BinaryIO) -> bool:
        """Whether the file still holds, at the known place, the line that was read last."""
        file.seek(self._offset - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line

    def _parsed(self, lines: Sequence[bytes]) -> Iterator[tuple[int, Mapping[str, object]]]:
        for line in lines:
            found = _content(line)
            if (step := _step_of(found)) is not None:
                yield step, found
            else:
                log.warning("a line of %s cannot be read: %.80r", self.path, line)


def _content(line: bytes) -> dict[str, object]:
    """Return the object that a line is; an empty one where it is none."""
    try:
        found = _decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):  # the second of no UTF-8
        return {}
    return found if isinstance(found, dict) else {}


def _step_of(content: Mapping[str, object]) -> int | None:
    step = content.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) else None
