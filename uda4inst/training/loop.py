"""The training loop.

Each turn: occasional work first (requests, checkpoint, evaluation, the change of stage), then one
step, then its record. `train` and `resume` in `launch.py` prepare a `Trainer` and report how it
ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from uda4inst.atomic import disk_errors
from uda4inst.data.tree import ImageTree
from uda4inst.methods.base import Views
from uda4inst.run_folder.checkpoints import save_checkpoint
from uda4inst.run_folder.control import Control, Wishes
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.snapshots import write_snapshot
from uda4inst.run_folder.status import StatusFile
from uda4inst.structures import DomainBatch
from uda4inst.training.journal import (
    Journal,
    OtherProcessFailedError,
    StepFacts,
    check_weights,
)
from uda4inst.training.session import Session
from uda4inst.training.step import take_step
from uda4inst.training.validation import (
    Interrupted,
    choose_networks,
    evaluate_networks,
    evaluation_is_due,
)

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, when it ended well.

    Args:
        state: finished, or stopped by request.
        step: optimizer updates done.
        signal: the signal that stopped it, or 0.
    """

    state: Literal["finished", "stopped"]
    step: int
    signal: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, for whoever watches the terminal."""

    step: int
    steps: int
    stage: int
    loss: float | None = None
    seconds_left: float | None = None
    message: str = ""


class Trainer:
    """A session with its run folder: everything the loop needs.

    Args:
        session: networks, method, optimizer.
        run: the run folder.
        batches: this process's batches from the session's step on.
        validation: labelled target images; None evaluates nothing.
        control: requests and signals.
        journal: metrics.
        status: `status.json`; None on every process but the first, as is `watch`.
        watch: told about progress.
    """

    def __init__(
        self,
        session: Session,
        run: RunDir,
        *,
        batches: Iterator[DomainBatch],
        validation: ImageTree | None,
        control: Control,
        journal: Journal,
        status: StatusFile | None,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        self.session = session
        self.run = run
        self.batches = batches
        self.validation = validation
        self.control = control
        self.journal = journal
        self.status = status
        self.watch = watch
        self.saved_step = session.step
        self.evaluated_step: int | None = None
        self.in_step = False
        self.snapshot_wanted = False

    def loop(self) -> Outcome:
        """Train until the end of the run, or until asked to stop.

        Raises:
            RunFailedError: a loss is not finite, or another process failed.
            UserError: an image cannot be read, the disk is full.
        """
        session, config = self.session, self.session.config
        training = config.training
        while True:
            # Occasional work -------------------------------------------------------------------
            stage = session.stage
            wishes = self._wishes()
            stage_end = session.step == stage.last
            due = evaluation_is_due(config, step=session.step, stage_end=stage_end)
            if wishes.stop or stage_end or due or session.step % training.checkpoint_every == 0:
                self._save()
            is_over = session.step == training.total_steps == self.evaluated_step
            if is_over and not (wishes.stop and self._evaluation_is_owed()):
                return Outcome("finished", session.step)
            if wishes.stop:
                return Outcome("stopped", session.step, wishes.signal)
            if due and self.evaluated_step != session.step:
                self._evaluate()
                continue
            if stage_end:
                session.enter_stage_2()
                stage = session.stage
            # -----------------------------------------------------------------------------------

            # One step --------------------------------------------------------------------------
            started, self.in_step = time.monotonic(), True
            batch = next(self.batches)
            taken = take_step(session, batch)
            self.in_step = False
            # -----------------------------------------------------------------------------------

            # Its record ------------------------------------------------------------------------
            facts = StepFacts(
                step=session.step,
                stage=stage.number,
                lr=taken.lr,
                batch=batch,
                ended=time.time(),
                seconds=time.monotonic() - started,
            )
            figures = stage.method.figures(taken.views)
            self.journal.record(facts, taken.terms, grad_norm=taken.grad_norm, figures=figures)
            if self._snapshot_is_due():
                self._write_snapshot(taken.views)
            del taken  # what its networks saw would outlive it into the next step
            session.step += 1
            self._report()
            # -----------------------------------------------------------------------------------

    def _wishes(self) -> Wishes:
        """Return what is wanted now; waits here while paused.

        Raises:
            OtherProcessFailedError: it did not fail here.
        """
        while (wishes := self.control.ask()).paused:
            if self.status:
                self.status.enter("paused", message=f"Paused before step {self.session.step}.")
            time.sleep(PAUSE_SECONDS)
        if wishes.failed:
            raise OtherProcessFailedError("another process of the run failed; see its message")
        if self.status:
            self.status.enter("running")
        self.snapshot_wanted |= wishes.snapshot
        return wishes

    def _save(self) -> None:
        """Write a checkpoint of this step unless there is one."""
        if self.saved_step == self.session.step:
            return
        self.journal.settle()
        check_weights(self.session.stage.method.networks, self.session.step)
        contents = self.session.contents()
        if contents is not None:
            self.journal.sync()
            kept = self.session.config.training.checkpoints_kept
            folder = save_checkpoint(self.run.checkpoints, contents, kept=kept)
            log.info("step %d: checkpoint in %s", self.session.step, folder)
        self.saved_step = self.session.step

    def _evaluation_is_owed(self) -> bool:
        """Whether this step's evaluation was given up, so that a resumed run has to do it."""
        result = self.run.evaluation_of(self.session.step)
        return self.validation is not None and not result.exists()

    def _evaluate(self) -> None:
        """Evaluate on the first process, unless a run cut short has done so already."""
        session = self.session
        self.evaluated_step = session.step
        if self.validation is None or self.status is None:
            return
        if self.run.evaluation_of(session.step).exists():
            return
        networks = choose_networks(
            session.stage.method.networks, session.config.evaluation.networks
        )

        def progress(name: str, done: int, total: int) -> None:
            if self.control.interrupted:
                raise Interrupted
            self._say(f"Evaluating the {name}: image {done} of {total}.")

        try:
            evaluate_networks(
                networks,
                self.validation,
                self.run,
                config=session.config,
                config_hash=session.config_hash,
                step=session.step,
                device=session.processes.device,
                progress=progress,
            )
        except Interrupted:
            log.info("step %d: evaluation given up, the run was asked to stop", session.step)
        self._say("")

    def _snapshot_is_due(self) -> bool:
        """Whether this step's training images are kept for people to see."""
        if self.status is None:
            return False
        every = self.session.config.training.snapshot_every
        step, first = self.session.step, self.session.stage.first
        return self.snapshot_wanted or (every > 0 and (step % every == 0 or step == first))

    def _write_snapshot(self, views: Views) -> None:
        session = self.session
        self.snapshot_wanted = False
        with disk_errors("snapshot", self.run.snapshots, then="resume the run"):
            write_snapshot(
                self.run.snapshots,
                views,
                step=session.step,
                stage=session.stage.number,
                method=session.stage.name,
                kept=session.config.training.snapshots_kept,
                things=session.config.method.thing_classes,
            )

    def _report(self) -> None:
        """Tell the status file and whoever watches how far the run is."""
        if self.status is None:
            return
        session, seconds = self.session, self.journal.seconds_per_step
        steps = session.config.training.total_steps
        left = None if seconds is None else seconds * (steps - session.step)
        self.status.update(
            step=session.step,
            stage=session.stage.number,
            steps_per_second=None if not seconds else 1 / seconds,
            eta_seconds=left,
        )
        if self.watch:
            loss = self.journal.last_loss
            self.watch(Progress(session.step, steps, session.stage.number, loss, left))

    def _say(self, message: str) -> None:
        """Show what takes long."""
        if self.status:
            self.status.update(message=message)
        if self.watch and message:
            session = self.session
            steps = session.config.training.total_steps
            self.watch(Progress(session.step, steps, session.stage.number, message=message))
