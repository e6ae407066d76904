"""Start and resume runs: folder, lock, log, and a true last status however it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from uda4inst.atomic import disk_errors, remove_folder
from uda4inst.data.tree import describe
from uda4inst.errors import UserError
from uda4inst.run_folder.checkpoints import Checkpoint, latest_step, open_checkpoint, return_to
from uda4inst.run_folder.control import Control
from uda4inst.run_folder.going_back import check_nothing_is_lost, results_after, set_aside
from uda4inst.run_folder.layout import (
    RunDir,
    check_is_new,
    command_entry,
    create_run,
    record_command,
)
from uda4inst.run_folder.metrics import MetricsLog, find_cut
from uda4inst.run_folder.status import StatusFile
from uda4inst.run_folder.trainer import locked
from uda4inst.structures import DomainBatch
from uda4inst.training.batches import RunData, open_batches, open_data
from uda4inst.training.config import Config, load_config, to_yaml
from uda4inst.training.gpu import announce_device, choose_settings
from uda4inst.training.journal import Journal, OtherProcessFailedError, RunFailedError
from uda4inst.training.loop import Outcome, Progress, Trainer
from uda4inst.training.memory import check_memory, out_of_memory, rehearse
from uda4inst.training.peers import end_now, losing_a_process
from uda4inst.training.places import circumstances, open_again, what_differs
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.trackers import Trackers, require_trackers

log = logging.getLogger(__name__)

Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What a run is made of before it has a folder."""

    session: Session
    data: RunData
    batches: Generator[DomainBatch]


def train(config: Config, *, data: RunData | None = None, watch: Watch | None = None) -> Outcome:
    """Start a new run and train it.

    Args:
        config: the whole configuration.
        data: its data sets where they are open already; files are checked in any case.
        watch: told about progress, on the first process.

    Raises:
        UserError: the run exists, or data or weights cannot be used (nothing is left behind); or,
            once it trains, a file cannot be read or written.
        RunFailedError: a loss is not finite.
    """
    run = RunDir(Path(config.run.root) / config.run.name)
    choose_settings(config)
    require_trackers(config.training.trackers)
    processes = Processes.join(config)
    try:
        processes.on_first(lambda: check_is_new(run))
        data = data or open_data(config)
        processes.on_first(data.check)
        parts = _build(config, processes, data, checkpoint=None)
        with ExitStack() as held:

            def open_folder() -> None:
                create_run(run, config_yaml=to_yaml(config))
                held.enter_context(locked(run))

            processes.on_first(open_folder)
            return _work(run, parts, watch=watch)
    finally:
        processes.leave()


def resume(
    run: RunDir,
    *,
    step: int | None = None,
    may_replace: bool = False,
    data: RunData | None = None,
    watch: Watch | None = None,
    control: Path | None = None,
    above: StatusFile | None = None,
) -> Outcome:
    """Go on with a run from a checkpoint, or from its beginning when it has none yet.

    Everything is read and checked before anything is moved or cut.

    Args:
        run: an existing run without a trainer.
        step: step of the checkpoint; None for the latest.
        may_replace: whether later checkpoints, snapshots and evaluations may be moved into
            RUN/replaced/, where there are any.
        data: its data sets where they are open, and checked, already.
        watch: told about progress, on the first process.
        control: folder of requests; None for the run's own.
        above: told about changes of state, on the first process.

    Raises:
        UserError: another trainer is at work; the checkpoint is damaged or of another network; or
            the run has results after the step, which may not be replaced.
        RunFailedError: a loss is not finite.
    """
    config = load_config(run.config)
    choose_settings(config)
    processes = Processes.join(config)
    try:
        with ExitStack() as held:
            processes.on_first(lambda: held.enter_context(locked(run)))
            checkpoint = None
            if step is not None or latest_step(run.checkpoints) is not None:
                checkpoint = open_checkpoint(run.checkpoints, step=step)
            if step is not None and not may_replace:
                processes.on_first(lambda: check_nothing_is_lost(run, step))
            if data is None:
                data = open_again(run, config)
                processes.on_first(data.check)
            parts = _build(config, processes, data, checkpoint=checkpoint)
            processes.on_first(lambda: _go_back(run, parts.session, keeps_later=may_replace))
            return _work(run, parts, watch=watch, control=control, above=above)
    finally:
        processes.leave()


def _build(
    config: Config, processes: Processes, data: RunData, *, checkpoint: Checkpoint | None
) -> _Parts:
    """Build the networks, or load them, on open data."""
    step = checkpoint.step if checkpoint else 0
    check_memory(config, processes.device)
    batches = open_batches(config, processes, data.trees, first_step=step)
    session = Session(config, processes, checkpoint=checkpoint)
    rehearse(session)
    return _Parts(session, data, batches)


def _go_back(run: RunDir, session: Session, *, keeps_later: bool) -> None:
    """Take the run folder back to the session's step; what a run will do to the same bits goes."""
    step = session.step
    try:
        find_cut(run.metrics, step)
    except OSError as error:
        raise UserError(
            f"{run.metrics.name} must be a readable file, got {error}. Nothing was changed. Move "
            "it away, then resume again."
        ) from error
    aside = set_aside(run, step) if keeps_later else None
    if aside is not None:
        log.info("what came after step %d is in %s", step, aside)
    with disk_errors("run folder", run.path, then=f"`uda4inst resume {run.path}`"):
        return_to(run.checkpoints, step, kept=session.config.training.checkpoints_kept)
        later = results_after(run, step)
        for number in later.snapshots:
            remove_folder(run.snapshot_of(number))
        for number in later.evaluations:
            run.evaluation_of(number).unlink()
            remove_folder(run.predictions_of(number))


def _work(
    run: RunDir,
    parts: _Parts,
    *,
    watch: Watch | None,
    control: Path | None = None,
    above: StatusFile | None = None,
) -> Outcome:
    """Train with the run folder open, and leave a true last status."""
    session, processes = parts.session, parts.session.processes
    training = session.config.training
    requests = control or run.control
    listener = Control(requests if processes.is_first else None, group=processes.group)
    with ExitStack() as stack:
        stack.callback(parts.batches.close)
        stack.enter_context(listener.listening())
        status = metrics = trackers = None
        if processes.is_first:
            with disk_errors("run folder", run.path, then=f"`uda4inst resume {run.path}`"):
                stack.enter_context(logging_to(run.log))
                _record(run, parts)
                metrics = stack.enter_context(closing(_open_metrics(run, session)))
            trackers = Trackers(session.config, run, step=session.step)
            stack.callback(trackers.close)
            status = StatusFile(
                run.status,
                steps=training.total_steps,
                every=training.heartbeat_seconds,
                above=above,
            )
            status.update(step=session.step, stage=session.stage.number)
        journal = Journal(
            processes,
            metrics,
            log_every=training.log_every,
            failed_batch=run.failed_batch,
            trackers=trackers,
        )
        trainer = Trainer(
            session,
            run,
            batches=parts.batches,
            validation=parts.data.validation,
            control=listener,
            journal=journal,
            status=status,
            watch=watch if processes.is_first else None,
        )
        _announce(run, parts)
        return _run_to_its_end(trainer)


def _record(run: RunDir, parts: _Parts) -> None:
    """Keep how and where the run is trained now, and say what differs from before."""
    session = parts.session
    entry = command_entry(circumstances(session.config, session.processes, parts.data))
    if session.written_by and (differs := what_differs(run, entry, written_by=session.written_by)):
        log.warning("%s", differs)
    record_command(run, entry)


def _open_metrics(run: RunDir, session: Session) -> MetricsLog:
    """Open the metrics at the session's step."""
    every = session.config.training.tensorboard_every
    return MetricsLog(
        run.metrics,
        first_step=session.step,
        tensorboard=run.tensorboard if every else None,
        tensorboard_every=every,
    )


def _run_to_its_end(trainer: Trainer) -> Outcome:
    """Run the loop; whatever ends it is written to the status and told to other processes."""
    if trainer.status:
        trainer.status.start()
    peers = trainer.session.processes.peers
    if peers is not None and trainer.status is not None:
        peers.end = partial(_end_alone, trainer.status)
    try:
        outcome = _loop(trainer)
    except BaseException as error:
        if isinstance(error, UserError | RunFailedError):
            message = str(error)
            log.error("%s", message)
        else:
            message = f"{type(error).__name__}: {error}"
            log.exception("the run ended by an error of the program")
        if not trainer.in_step and not isinstance(error, OtherProcessFailedError):
            with suppress(RuntimeError):  # the others may have ended already
                trainer.control.announce_failure()
        if trainer.status:
            trainer.status.close("failed", error=message)
        raise
    log.info("%s at step %d", outcome.state, outcome.step)
    if trainer.status:
        trainer.status.update(step=outcome.step)
        trainer.status.close(outcome.state)
    return outcome


def _end_alone(status: StatusFile, message: str) -> None:
    """Leave a true last status, and end while the main thread waits for a process that is lost."""
    log.error("%s", message)
    status.close("failed", error=message)
    end_now(message)


def _loop(trainer: Trainer) -> Outcome:
    """Run the loop; what torch says of memory or connections becomes one message."""
    try:
        with losing_a_process():
            return trainer.loop()
    except torch.OutOfMemoryError as error:
        saved = latest_step(trainer.run.checkpoints)
        message = out_of_memory(trainer.session, error, saved, config=trainer.run.config)
        raise RunFailedError(message) from error


def _announce(run: RunDir, parts: _Parts) -> None:
    """Log what is about to happen."""
    session = parts.session
    config = session.config
    log.info(
        "run %s: %s, seed %d, configuration %s, steps %d to %d, on %s%s",
        run.path,
        config.method.name,
        config.seed,
        session.config_hash,
        session.step,
        config.training.total_steps,
        session.processes.device,
        f" and {session.processes.count - 1} more" if session.processes.count > 1 else "",
    )
    announce_device(config)
    log.info("%s", session.load_report)
    validation = parts.data.validation
    judged = describe(validation) if validation else "none, data.val has no instances"
    log.info("validation: %s", judged)


class _Log(logging.FileHandler):
    """A log file that a full disk leaves incomplete, without a word about it at every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the line go; the run itself says what is wrong."""


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append what the package logs to the run's log."""
    handler = _Log(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("uda4inst")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
