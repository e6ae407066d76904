"""`metrics.jsonl`, one line a logged step, and the same numbers for TensorBoard."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uda4inst.atomic import disk_errors

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

# What depends on the machine and the moment; all else is repeated to the bit by a resumed run.
VARYING_FIELDS = ("time", "images_per_second", "memory_mib")


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
        with disk_errors("metrics", self._path, next_step="Make room, then resume the run."):
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

    A line that a killed process left half written goes too.
    """
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] >= first_step:
                break
            end += len(line)
    os.truncate(path, end)


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
