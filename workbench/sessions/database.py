"""The project's own MongoDB: found, started or joined, and gone with the last process that uses it.

FiftyOne starts it behind a small process of its own, which ends it as soon as every process that
joined is gone, however those ended: also by SIGTERM and SIGKILL. Only when that process itself is
killed does a mongod stay; the next start in the same folder ends it.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil

from uda4inst.doctor import MONGOD_REMEDY, find_mongod
from uda4inst.errors import UserError
from uda4inst.reading import parse_json
from workbench.locks import one_at_a_time
from workbench.sessions.library import fo

_TRIES: Final = 3  # a database that is just ending holds its folder for a moment
_PATIENCE: Final = 20.0  # seconds to wait for that, and for another process that starts one
_LOG_LINES: Final = 3
_LOG_LETTERS: Final = 300  # of each
_log = logging.getLogger(__name__)


class _Apart(fo.core.service.Service):
    """A service that holds nothing of the process that started it, as it may outlive that one.

    FiftyOne's own keeps the standard output open: whoever reads what a process prints would wait
    until the last process that joined its database is gone too.
    """

    def start(self) -> None:
        main = Path(fo.__file__).parent / "service" / "main.py"
        self.child = psutil.Popen(
            [sys.executable, main, *self._service_args, *self.command],
            cwd=self.working_dir,
            stdin=subprocess.PIPE,  # closed when this process ends, which the service waits for
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"FIFTYONE_DISABLE_SERVICES": "1"},
        )


class _Database(fo.core.service.DatabaseService, _Apart):
    """The service of one folder's database.

    FiftyOne joins any database of the user's on this machine, whatever folder it keeps: by the name
    of the service, which is made the folder's.
    """


def connect() -> None:
    """Use the database of `FIFTYONE_DATABASE_URI`, else the project's own; again costs nothing.

    Raises:
        UserError: there is no mongod that works, its folder cannot be used, or the named database
            does not answer.
    """
    if fo.config.database_uri is not None:
        _ask(f"FIFTYONE_DATABASE_URI must name a MongoDB that answers ({fo.config.database_uri})")
        return
    folder = Path(fo.config.database_dir)
    mongod = _working_mongod()
    _Database.service_name = f"db-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    _Database.find_mongod = staticmethod(lambda: str(mongod))
    fo.core.service.DatabaseService = _Database
    with one_at_a_time(_made(folder) / "starting.lock"):  # the others then join it
        end_leftover(folder)
        _ask(f"the database must start ({folder})", folder)


def _working_mongod() -> Path:
    """Return a mongod that runs on this machine.

    Raises:
        UserError: there is none.
    """
    mongod = find_mongod()
    if mongod is None:
        raise UserError(f"inspection must have a mongod, got none. {MONGOD_REMEDY}")
    try:
        subprocess.run([mongod, "--version"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        reason = said.decode(errors="replace").strip().splitlines()[-1]
        raise UserError(f"mongod must run here, got {reason} ({mongod}). {MONGOD_REMEDY}") from None
    return mongod


def _made(folder: Path) -> Path:
    """Return a folder that can be written to.

    Raises:
        UserError: it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "starting.lock").touch()
    except OSError as error:
        raise UserError(
            f"the database's folder must be writable, got {error.strerror} ({folder}). Work in "
            "another folder, or name one in FIFTYONE_DATABASE_DIR."
        ) from error
    return folder


def _ask(rule: str, folder: Path | None = None) -> None:
    """Ask the database something, which makes FiftyOne start or join it.

    Raises:
        UserError: there is no answer.
    """
    library_log = logging.getLogger("fiftyone")
    level = library_log.level
    library_log.setLevel(logging.ERROR)  # which versions its makers will drop one day
    try:
        for tries_left in reversed(range(_TRIES if folder else 1)):
            try:
                fo.list_datasets()
                return
            except Exception as error:  # of pymongo, psutil and FiftyOne, as they come
                if not tries_left:
                    raise UserError(_no_answer(rule, error, folder)) from error
                _log.debug("database: %s", error)
                _forget_service()
                _wait_for_end(folder)
    finally:
        library_log.setLevel(level)


def lost(error: Exception) -> UserError:
    """Return what to tell of a database that went away while it was used."""
    own = fo.config.database_uri is None
    folder = Path(fo.config.database_dir) if own else None
    place = folder if own else fo.config.database_uri
    rule = f"the database must stay while it is used ({place})"
    return UserError(_no_answer(rule, error, folder))


def reason_of(error: Exception) -> str:
    """Return the first words of an error of the database, without what it was configured to."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first.partition(" (configured")[0]


def _no_answer(rule: str, error: Exception, folder: Path | None) -> str:
    if folder is None:
        remedy = "Start it, or unset the variable to use the project's own."
        return f"{rule}, got {reason_of(error)}. {remedy}"
    complaints = _complaints(folder)
    free = ""
    if folder.is_dir():
        free = f", with {shutil.disk_usage(folder).free >> 20:,} MiB free there"
    room = "Free space on the disk, or put the folder away to begin anew."
    if any(os.strerror(errno.ENOSPC) in complaint for complaint in complaints):
        return f"{rule}, got a full disk{free}. {room}"
    log = "".join(f"\n  {complaint}" for complaint in complaints)
    return f"{rule}{log}, got {reason_of(error)}{free}. {room} {MONGOD_REMEDY}"


def _complaints(folder: Path) -> list[str]:
    """Return what mongod complained about last, in its words."""
    try:
        lines = (folder / "log" / "mongo.log").read_text(errors="replace").splitlines()
    except OSError:
        return []
    grave = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line]
    return list(dict.fromkeys(_said(line)[:_LOG_LETTERS] for line in grave[-_LOG_LINES:]))


def _said(line: str) -> str:
    """Return the words of a line of mongod's log, which is JSON."""
    try:
        values = parse_json(line)
        words, details = values["msg"], values.get("attr", {})
        inner = details.get("message", details.get("error", ""))
        if isinstance(inner, dict):
            inner = " ".join(str(inner[key]) for key in ("msg", "error_str") if key in inner)
        return f"{words}: {inner}" if inner else str(words)
    except (ValueError, TypeError, KeyError, AttributeError):
        return line


def _forget_service() -> None:
    """Make FiftyOne begin anew after a start that failed."""
    database = fo.core.odm.database
    database._db_service = None
    database._connection_kwargs.pop("port", None)
    os.environ.pop("FIFTYONE_PRIVATE_DATABASE_PORT", None)


def end_leftover(folder: Path) -> None:
    """End the mongod of a folder whose guardian was killed, so that nobody uses it any more."""
    process = _mongod_of(folder)
    if process is None:
        return
    try:
        parent = process.parent()
        if parent is not None and "--51-service" in parent.cmdline():
            return
        _log.warning("ending a database left behind (pid %d, %s)", process.pid, folder)
        process.terminate()
        process.wait(_PATIENCE)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_PATIENCE)
    except psutil.NoSuchProcess:
        pass


def _wait_for_end(folder: Path | None) -> None:
    """Wait a while for the process that holds a folder to let it go."""
    process = None if folder is None else _mongod_of(folder)
    if process is None:
        return
    try:
        process.wait(_PATIENCE / _TRIES)
    except (psutil.TimeoutExpired, psutil.NoSuchProcess):
        time.sleep(0)


def _mongod_of(folder: Path) -> psutil.Process | None:
    """Return the mongod that keeps its data in a folder."""
    try:
        process = psutil.Process(int((folder / "mongod.lock").read_text()))
        words = process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    is_ours = "--dbpath" in words and Path(words[words.index("--dbpath") + 1]) == folder
    return process if is_ours else None
