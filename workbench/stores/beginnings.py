"""The state of runs whose trainer has written nothing yet: they wait, start, or ended too early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uda4inst.reading import open_regular
from uda4inst.run_folder.alive import is_alive, this_host
from uda4inst.run_folder.status import Status
from workbench.jobs.queue import Queue, why_not
from workbench.jobs.queue_records import QueueRecord


def took_over(record: QueueRecord, written: Status) -> bool:
    """Return whether the trainer of the record, or a later one, has signed the run folder."""
    return written.pid == record.pid or written.heartbeat > record.started


def status_in_queue(queue: Queue, place: int, written: Status | None, root: Path) -> Status:
    """Return the state of a run that waits, with why it cannot begin where it cannot.

    Args:
        queue: it waits in.
        place: its own, from 0.
        written: what an earlier trainer wrote; None for a new run.
        root: folder of the runs.
    """
    one = queue.waiting[place]
    return Status(
        state="queued",
        step=written.step if written else 0,
        steps=written.steps if written else 0,
        heartbeat=one.asked,
        error=why_not(root, one),
        message=f"place {place + 1} of {len(queue.waiting)} in the queue",
    )


def status_of_record(record: QueueRecord, written: Status | None, console: Path) -> Status:
    """Return the state of a run whose process has not signed yet, or ended before.

    Args:
        record: of the process.
        written: what an earlier trainer wrote; None for a new run.
        console: what the process said.
    """
    base = written if written is not None and written.state != "incomplete" else None
    known = Status(
        state="failed",
        step=base.step if base else 0,
        steps=base.steps if base else 0,
        pid=record.pid,
        process_started=record.started,
        host=record.host,
        started=record.started_iso,
        heartbeat=record.started,
    )
    since = record.started
    if record.host == this_host() and is_alive(record.pid, signed_at=since, created=since):
        return replace(known, state="starting", message="The trainer is starting.")
    reason = tail_of(console, lines=12) if console.is_file() else ""
    return replace(known, error=reason or "The trainer ended before it wrote anything.")


def tail_of(path: Path, *, lines: int, most_bytes: int = 32_768) -> str:
    """Return the last lines of a text file, reading only its end."""
    with open_regular(path) as file:
        file.seek(0, 2)
        start = max(file.tell() - most_bytes, 0)
        file.seek(start)
        text = file.read().decode("utf-8", errors="replace")
    # A progress bar rewrites its line: what follows the last carriage return is what one sees.
    rows = [row.rsplit("\r", 1)[-1].rstrip() for row in text.replace("\r\n", "\n").split("\n")]
    rows = rows[1:] if start else rows
    return "\n".join(rows[-lines - 1 :]).strip("\n")
