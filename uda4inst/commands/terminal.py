"""Progress for people: a bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from uda4inst.training.loop import Progress

log = logging.getLogger("uda4inst")

# Seconds between lines where there is no terminal to draw on.
LINE_SECONDS: Final = 15.0


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows the progress of a run on standard error, along with its log."""
    if os.environ.get("RANK", "0") != "0":
        # One process of the run speaks; the others only when something is wrong.
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
        yield _ignore
        return
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as watch:
            yield watch
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    with _logging_to(handler):
        yield _Lines()


def _ignore(progress: Progress) -> None:
    del progress


class _Lines:
    """Logs where the run is, at the first step and then every few seconds."""

    def __init__(self) -> None:
        self._last = -LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.step == progress.steps and not progress.message
        if now - self._last < LINE_SECONDS and not ended:
            return
        self._last = now
        log.info("%s", describe(progress))


def describe(progress: Progress) -> str:
    """Return one line about where a run is."""
    text = f"step {progress.step}/{progress.steps}, stage {progress.stage}"
    if progress.message:
        return f"{text}: {progress.message}"
    if progress.loss is not None:
        text += f", loss {progress.loss:.3f}"
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        text += f", {minutes}:{seconds:02d} left"
    return text


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Give a function that shows (done, all, what) as a bar, on a terminal only."""
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total, what: None
        return
    with Bars(console=console, transient=True) as drawn:
        task = drawn.add_task(what, total=None)

        def show(done: int, total: int, what: str) -> None:
            drawn.update(task, completed=done, total=total, description=what)

        yield show


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Draw a bar with the loss, the pace and the time left; log lines appear above it."""
    from rich import progress as bars
    from rich.logging import RichHandler

    columns = (
        bars.TextColumn("stage {task.fields[stage]}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
    with bars.Progress(*columns, console=console) as drawn, _logging_to(handler):
        task = drawn.add_task("training", total=None, stage=1, note="")

        def watch(progress: Progress) -> None:
            loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
            drawn.update(
                task,
                total=progress.steps,
                completed=progress.step,
                stage=progress.stage,
                note=progress.message or loss,
            )

        yield watch


@contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    """Show what the package logs for as long as the block runs."""
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
