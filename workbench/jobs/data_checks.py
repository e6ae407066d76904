"""Checks of data sets as processes of their own; what they say lies in the folder of the runs.

`<runs>/.checks/<key>/` holds `record.json` (what was started), `report.json` (what the command
wrote) and `console.txt` (how far it is, and why it failed). It outlives page and app.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from uda4inst.atomic import write_json
from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from uda4inst.reading import open_regular, read_json
from uda4inst.run_folder.alive import creation_time, is_alive, this_host
from uda4inst.run_folder.start import ask_to_end

logger = logging.getLogger(__name__)

CHECKER: Final[tuple[str, ...]] = (sys.executable, "-m", "uda4inst.cli")
FOLDER: Final = ".checks"
_CONSOLE: Final = "console.txt"
# The end of the console is enough to know how far a check is.
_TAIL_BYTES: Final = 4096
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STEPS: Final = re.compile(r"(\d[\d,]*) ?(?:/|of) ?(\d[\d,]*)")
_PERCENT: Final = re.compile(r"(\d{1,3}) ?%")
_BAR: Final = "━"


@dataclass(frozen=True, slots=True)
class Check:
    """What is known of a check.

    Args:
        state: none was asked for, it runs, it has reported, it ended without a report, or it was
            stopped.
        share: how much is done, 0..1, or None while that is not known.
        started: unix seconds.
        ended: unix seconds of the report.
        report: as `CheckReport.to_json` writes it.
        error: the last words of a failed check.
    """

    state: Literal["none", "running", "done", "failed", "stopped"]
    share: float | None = None
    started: float = 0.0
    ended: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class Checks:
    """Starts checks and reads what they found.

    Args:
        root: folder of the runs.
        checker: command that understands `data check`.
    """

    def __init__(self, root: Path, *, checker: Sequence[str] = CHECKER) -> None:
        self._root = root
        self._checker = tuple(checker)
        self._lock = threading.RLock()
        self._children: list[subprocess.Popen[bytes]] = []

    def command(self, ref: DatasetRef) -> list[str]:
        """Return the arguments that check a data set, after the program's name."""
        words = ["data", "check", ref.format, ref.root, "--split", ref.split, "--json"]
        for option, file in (("--annotations", ref.annotations), ("--class-map", ref.class_map)):
            words += [] if file is None else [option, str(file)]
        return words + ([] if ref.unnumbered == "ignore" else ["--unnumbered", ref.unnumbered])

    def start(self, ref: DatasetRef) -> None:
        """Start the check of a data set; what an earlier one found is forgotten.

        Raises:
            UserError: one is running already.
        """
        folder = self._folder(ref)
        with self._lock:
            if self.look(ref).state == "running":
                raise UserError(
                    f"a check must have ended before it is started again, got one at work "
                    f"({ref.root}, {ref.split}). Wait for it, or stop it."
                )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            argv = (*self._checker, *self.command(ref))
            with (
                (folder / "report.json").open("wb") as out,
                (folder / _CONSOLE).open("wb") as console,
            ):
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=console,
                    start_new_session=True,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **_SHOW_PROGRESS},
                )
            self._children.append(child)
            started = creation_time(child.pid) or time.time()
            record = {"pid": child.pid, "host": this_host(), "started": started, "argv": argv}
            write_json(folder / "record.json", record)
        logger.info("checking %s: process %d", ref.root, child.pid)

    def stop(self, ref: DatasetRef) -> None:
        """Stop the check of a data set and the processes it has started.

        Raises:
            UserError: none is running on this machine.
        """
        record = self._record(ref)
        if self.look(ref).state != "running" or record is None:
            raise UserError("a check to stop must be running, got none. Nothing was done.")
        write_json(self._folder(ref) / "record.json", {**record, "stopped": True})
        command = self.command(ref)
        if not ask_to_end(record["pid"], started=record["started"], any_of=[command], group=True):
            logger.debug("process %s has ended by itself, or is another one", record["pid"])

    def look(self, ref: DatasetRef) -> Check:
        """Return what is known of the check of a data set."""
        record = self._record(ref)
        if record is None:
            return Check("none")
        self.reap()
        folder, started = self._folder(ref), record["started"]
        tail = _tail(folder / _CONSOLE)
        if record.get("stopped"):
            return Check("stopped", started=started)
        if record.get("host") == this_host() and is_alive(
            record["pid"], signed_at=started, created=started
        ):
            return Check("running", share=progress_of(tail), started=started)
        path = folder / "report.json"
        try:
            report = read_json(path)
            return Check("done", started=started, ended=path.stat().st_mtime, report=report)
        except (OSError, ValueError, RecursionError):
            return Check("failed", started=started, error=last_words(tail))

    def reap(self, *, timeout: float | None = None) -> None:
        """Collect checks that ended, so that they do not look alive.

        Args:
            timeout: seconds to wait for each that has not; None does not wait.
        """
        with self._lock:
            if timeout is not None:
                for child in self._children:
                    child.wait(timeout)
            self._children = [child for child in self._children if child.poll() is None]

    def _record(self, ref: DatasetRef) -> Mapping[str, Any] | None:
        try:
            raw = read_json(self._folder(ref) / "record.json")
            return {**raw, "pid": int(raw["pid"]), "started": float(raw["started"])}
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def _folder(self, ref: DatasetRef) -> Path:
        """Return where the check of a data set lies: the same for the same words on one machine."""
        place = [this_host(), str(Path(ref.root).absolute()), *self.command(ref)[2:]]
        key = hashlib.sha256("\0".join(place).encode("utf-8", "surrogateescape")).hexdigest()
        return self._root / FOLDER / key[:24]


# The command draws its progress on terminals alone; this makes its output one.
_SHOW_PROGRESS: Final[Mapping[str, str]] = {
    "TTY_COMPATIBLE": "1",
    "TERM": "xterm",
    "COLUMNS": "100",
    "NO_COLOR": "1",
    "PYTHONIOENCODING": "utf-8",
}


def progress_of(console: str) -> float | None:
    """Return how much a command says it has done, 0..1, or None when it says nothing.

    Example:
        >>> progress_of("images 10%  images 25%"), progress_of("3 of 12"), progress_of("")
        (0.25, 0.25, None)
    """
    text = _ESCAPES.sub("", console)
    if steps := _STEPS.findall(text):
        done, total = (int(word.replace(",", "")) for word in steps[-1])
        return min(done / total, 1.0) if total else None
    if percents := _PERCENT.findall(text):
        return min(int(percents[-1]) / 100, 1.0)
    return None


def last_words(console: str) -> str:
    """Return the last lines a command wrote that are no progress."""
    lines = [line.strip() for line in _ESCAPES.sub("", console).replace("\r", "\n").splitlines()]
    words = [line for line in lines if line and _BAR not in line]
    return "\n".join(words[-6:]) or "The command ended without a word."


def _tail(path: Path) -> str:
    try:
        with open_regular(path) as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
