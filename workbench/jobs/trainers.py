"""Start trainers as processes of their own and send them requests through the run folder."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from uda4inst.errors import UserError
from uda4inst.run_folder.alive import creation_time, this_host
from uda4inst.run_folder.control import Request, leave_request, pending_requests
from uda4inst.run_folder.going_back import results_after
from uda4inst.run_folder.layout import RunDir, check_run_name
from uda4inst.run_folder.start import (
    TRAINER,
    TrainerProcess,
    ask_to_end,
    resume_arguments,
    start,
    train_arguments,
)
from uda4inst.run_folder.status import Status
from uda4inst.training.forks import fork
from workbench.jobs.queue import (
    MOST_AT_ONCE,
    Queue,
    Waiting,
    changing,
    no_place,
    queue_path,
    read_queue,
    why_not,
    write_queue,
)
from workbench.jobs.queue_records import (
    QueueRecord,
    config_path,
    forget,
    read_record,
    write_config,
    write_record,
)
from workbench.stores.groups import group_text, module_of
from workbench.stores.runs import RunStore

logger = logging.getLogger(__name__)

# States in which a request means something.
REQUESTABLE: dict[Request, frozenset[str]] = {
    "pause": frozenset({"running"}),
    "resume": frozenset({"paused"}),
    "stop": frozenset({"queued", "starting", "running", "paused"}),
    "snapshot": frozenset({"running"}),
}
# Two clicks that far apart are one wish, over a slow line too.
CLICKS_SECONDS = 3.0
RESTARTABLE: frozenset[str] = frozenset({"stopped", "dead", "failed"})
# One that has ended may still be begun again from an earlier checkpoint, as another run.
FORKABLE: frozenset[str] = RESTARTABLE | {"finished"}


def live_groups(store: RunStore, name: str) -> list[str]:
    """Return the category groups of a run whose networks are at work.

    With several at once each has a process of its own, which lives on when the run's is killed.
    """
    return [module.group for module in store.modules(name) if module.status.live]


class Jobs:
    """Starts, resumes and controls training processes.

    A trainer gets its own session, so it lives on when the app or the page ends. What it does is
    read from its run folder alone; the processes are kept only to be reaped.

    Args:
        store: the runs.
        trainer: command that understands `train CONFIG` and `resume RUN`.
    """

    def __init__(self, store: RunStore, *, trainer: Sequence[str] = TRAINER) -> None:
        self._store = store
        self._trainer = tuple(trainer)
        self._lock = threading.Lock()
        self._children: list[TrainerProcess] = []
        self._newest, self._newest_since = ("", ""), 0.0

    def start(self, name: str, config_yaml: str, *, content: str = "") -> str:
        """Start training a new run with a complete configuration, and return its name.

        Where as many train already as may at once, it waits in the queue.

        Args:
            name: of the run.
            config_yaml: its configuration.
            content: what it trains, whatever its name. What is starting already is not started
                again by a further click: the name is that of the run that is.

        Raises:
            UserError: the name is no folder name or is taken.
        """
        run = self._store.dir(check_run_name(name))
        with self._alone():
            started, newest = self._newest
            if content and content == started and self._is_starting(newest):
                return newest
            if not self._store.is_free(name):
                raise UserError(
                    f"run.name must be new, got {name!r}, which exists in {self._store.root}. "
                    "Choose another name, or restart that run from a checkpoint."
                )
            write_config(self._store.root, name, config_yaml)
            run.console.unlink(missing_ok=True)  # of an earlier start that failed
            self._ask(Waiting(name, "train", None, time.time()))
            self._newest, self._newest_since = (content, name), time.monotonic()
            return name

    def resume(self, name: str, *, step: int | None = None) -> str:
        """Start a trainer that continues a run from a checkpoint, or let it wait its turn.

        From one with results after it a new run begins, NAME_from_STEP, and the run stays as it is.

        Args:
            name: an existing run without a living trainer.
            step: step of the checkpoint; None takes the latest. A run of several category groups
                goes on from the latest alone.

        Returns:
            The name of the run that is trained.

        Raises:
            UserError: the run, or a network of it, is at work, or has no such checkpoint.
        """
        run = RunDir(self._store.folder(name))
        with self._alone():
            state = self._store.status(name).state
            groups = self._store.groups(name)
            if groups and state in RESTARTABLE:
                self._check_whole(name, groups, step)
            known = self._store.checkpoints(name)
            forks = not groups and step in known and results_after(run, step).is_lost
            if state not in (FORKABLE if forks else RESTARTABLE):
                raise UserError(
                    f"a run to restart must be stopped, dead or failed, {name!r} is {state}. "
                    + (
                        "A new run can begin at an earlier checkpoint: choose one."
                        if state == "finished"
                        else "Stop it first, or start a new run."
                    )
                )
            if not groups and (not known or (step is not None and step not in known)):
                steps = ", ".join(str(s) for s in known) or "none"
                raise UserError(
                    f"checkpoint must be one of those of {name!r} (steps: {steps}), got "
                    f"{'the latest' if step is None else step}. Choose another, or start a new run."
                )
            if forks:
                asked, (started, newest) = f"{step} of {name}", self._newest
                if asked == started and self._is_starting(newest):
                    return newest
                name = self._store.free_name(f"{name}_from_{step}")
                run, step = fork(run, name, root=self._store.root, step=step)[0], None
                self._newest, self._newest_since = (asked, name), time.monotonic()
            self._ask(Waiting(name, "resume", step, time.time()))
            return name

    def request(self, name: str, what: Request) -> None:
        """Ask the trainer of a run for something; it obeys after the step it is in.

        Raises:
            UserError: no trainer is in a state to obey.
        """
        status = self._store.status(name)
        left = () if status.live else live_groups(self._store, name)
        if what == "stop" and left:
            for group in left:
                self._leave(module_of(name, group), what)
            return
        if status.state not in REQUESTABLE[what]:
            raise UserError(
                f"a run to {what} must be {' or '.join(sorted(REQUESTABLE[what]))}, "
                f"{name!r} is {status.state}. Nothing was done."
            )
        if self._store.queue().place(name) is not None:
            self.cancel(name)
            return
        if status.state in ("queued", "starting"):
            # A trainer that is starting throws away what it finds in its mailbox.
            self._terminate(name, status)
            return
        self._leave(name, what)

    # The queue ----------------------------------------------------------------------------------

    def advance(self) -> None:
        """Begin what waits and has a place, in the order of the queue.

        What cannot begin, because its folder or its data went away, is passed over and says why.

        Raises:
            UserError: the queue's file is damaged.
        """
        if not read_queue(queue_path(self._store.root)).waiting:
            return
        with self._alone():
            queue = self._queue()
            for one in queue.waiting:
                record = read_record(self._store.root, one.name)
                if record is None or record.started < one.asked:  # else it has just begun
                    if self._at_work() >= queue.at_once:
                        return
                    if why_not(self._store.root, one) is not None:
                        continue
                    self._begin(one)
                queue = queue.without(one.name)
                write_queue(self._store.root, queue)

    def move(self, name: str, by: int) -> None:
        """Move a run that waits so many places later, or earlier if negative.

        Raises:
            UserError: it does not wait.
        """
        with self._alone():
            write_queue(self._store.root, self._queue().moved(name, by))

    def cancel(self, name: str) -> None:
        """Take a run out of the queue; one that was to go on stays as it was.

        Raises:
            UserError: it does not wait.
        """
        with self._alone():
            self._waiting(name)
            write_queue(self._store.root, self._queue().without(name))
            forget(self._store.root, name)

    def start_now(self, name: str) -> None:
        """Begin a run that waits at once, beside those at work.

        Raises:
            UserError: it does not wait, or cannot begin.
        """
        with self._alone():
            one = self._waiting(name)
            reason = why_not(self._store.root, one)
            if reason is not None:
                raise UserError(f"a run to begin must have all that it needs: {reason}")
            self._begin(one)
            write_queue(self._store.root, self._queue().without(name))

    def set_at_once(self, count: float) -> None:
        """Set how many trainings of this machine run at the same time; kept with the queue.

        Raises:
            UserError: it is no number from 1 to `MOST_AT_ONCE`.
        """
        if isinstance(count, bool) or not 1 <= count <= MOST_AT_ONCE or int(count) != count:
            raise UserError(
                f"runs at once must be a whole number from 1 to {MOST_AT_ONCE}, got {count!r}."
            )
        with self._alone():
            write_queue(self._store.root, replace(self._queue(), at_once=int(count)))

    def keep_advancing(self, *, every: float = 1.0) -> Callable[[], None]:
        """Look after the queue in the background, whether a browser is open or not.

        Args:
            every: seconds between looks.

        Returns:
            What ends it, and waits until it has.
        """
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(every):
                try:
                    self.reap()
                    self.advance()
                except Exception:  # a full disk, a damaged file: it may be better next time
                    logger.exception("the queue of %s could not go on", self._store.root)

        thread = threading.Thread(target=work, name="queue", daemon=True)
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()

        return end

    def _ask(self, one: Waiting) -> None:
        """Begin a training if there is a place and nothing before it; else let it wait."""
        queue = self._queue()
        ready = any(why_not(self._store.root, other) is None for other in queue.waiting)
        if ready or self._at_work() >= queue.at_once:
            write_queue(self._store.root, queue.with_last(one))
        else:
            self._begin(one)

    def _begin(self, one: Waiting) -> None:
        if one.command == "train":
            self._spawn(one.name, train_arguments(config_path(self._store.root, one.name)))
        else:
            run = self._store.dir(one.name)
            self._spawn(one.name, resume_arguments(run, step=one.step))

    def _at_work(self) -> int:
        """Return how many runs of the folder this machine trains, whoever began them."""
        states = map(self._store.status, self._store.names())
        return sum(s.live and s.state != "queued" and s.host == this_host() for s in states)

    def _waiting(self, name: str) -> Waiting:
        queue = self._queue()
        place = queue.place(name)
        if place is None:
            raise no_place(name)
        return queue.waiting[place]

    def _queue(self) -> Queue:
        return read_queue(queue_path(self._store.root))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other handlers, and other apps on this folder, from starting anything."""
        with self._lock, changing(self._store.root):
            yield

    def pending(self, name: str) -> list[Request]:
        """Return the requests a run's trainer has not obeyed yet."""
        return pending_requests(self._store.dir(name).control)

    def reap(self) -> None:
        """Collect trainers that ended, so that they do not stay as zombies."""
        with self._lock:
            self._children = [child for child in self._children if child.poll() is None]

    def _is_starting(self, newest: str) -> bool:
        """Whether the newest run was asked for a moment ago, or its trainer has not signed yet."""
        just_now = time.monotonic() - self._newest_since < CLICKS_SECONDS
        return just_now or self._store.status(newest).state == "starting"

    def _leave(self, name: str, what: Request) -> None:
        leave_request(self._store.dir(name).control, what)

    def _check_whole(self, name: str, groups: Sequence[str], step: int | None) -> None:
        """Raise unless all groups of a run can go on together."""
        if step is not None:
            raise UserError(
                "a run of several category groups goes on from their latest checkpoints, got step "
                f"{step} for {name!r}. Choose the latest; a single group can be taken back by "
                f"uda4inst resume {self._store.dir(name).module(groups[0]).path} --from {step} "
                "--replace"
            )
        live = live_groups(self._store, name)
        if live:
            raise UserError(
                f"a run to restart must have no network at work, {name!r} still trains "
                f"{' and '.join(map(group_text, live))}. Stop it first."
            )

    def _terminate(self, name: str, status: Status) -> None:
        """Signal a trainer that is starting: the process started for this run, and no other."""
        if status.pid is None or status.host != this_host():
            raise UserError(
                f"a trainer that is starting can be stopped on its own machine only, "
                f"{status.host or 'unknown'}. Stop it there, or wait until it runs."
            )
        started = status.process_started or 0.0
        commands = (
            train_arguments(config_path(self._store.root, name)),
            resume_arguments(self._store.dir(name)),
        )
        if not ask_to_end(status.pid, started=started, any_of=commands):
            raise UserError(
                f"a process to stop must be the trainer of {name!r}, got another one, or none any "
                f"more (pid {status.pid}). Nothing was done; look again in a moment."
            )

    def _spawn(self, name: str, arguments: tuple[str, ...]) -> None:
        argv = (*self._trainer, *arguments)
        console = self._store.dir(name).console
        child = start(argv, console=console, environment={"PYTHONUNBUFFERED": "1"})
        started = creation_time(child.pid) or time.time()
        self._children.append(child)
        record = QueueRecord(
            name=name,
            pid=child.pid,
            host=this_host(),
            started=started,
            argv=argv,
        )
        write_record(self._store.root, record)
        logger.info("started %s: process %d", name, child.pid)
