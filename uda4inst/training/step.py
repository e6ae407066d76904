"""One training step, and its first half for who only tries it.

Seed and learning rates -> batch to views -> losses -> backward -> clip -> update -> what the method
does after it (its teacher follows). A method that trains others beside its student may make
several updates, each with losses of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from uda4inst.methods.base import LossTerm, Views
from uda4inst.methods.updates import STUDENT, Update
from uda4inst.structures import DomainBatch
from uda4inst.training.session import Session, Stage

Phase = Literal["prepare", "losses", "backward", "update"]
# Told of every phase before it begins.
Enter = Callable[[Phase], None]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a step leaves behind beside its update.

    Args:
        views: what the networks saw.
        terms: of the loss.
        lr: the learning rate it was made with.
        grad_norm: of the gradient before it was clipped; nan where nobody knows.
    """

    views: Views
    terms: list[LossTerm]
    lr: float
    grad_norm: Tensor


def take_step(session: Session, batch: DomainBatch, *, enter: Enter | None = None) -> Step:
    """Do one step of a run; counting it is left to the caller.

    Args:
        session: networks, method and optimizer, which are updated.
        batch: of this process.
        enter: told of every phase before it begins; gradients are whole at "update".
    """
    enter = enter or _tell_nobody
    stage, accelerator = session.stage, session.processes.accelerator
    lr = session.prepare_step()
    enter("prepare")
    views = stage.method.prepare(batch, session.step)
    terms: list[LossTerm] = []
    clip_norm, grad_norm = session.config.optim.clip_norm, torch.tensor(float("nan"))
    for update in stage.updates:
        terms += _go_backward(session, update, views, enter=enter)
        enter("update")
        for name in update.trains:
            trained = stage.trained[name]
            if name == STUDENT:
                norm = accelerator.clip_grad_norm_(trained.parameters, clip_norm)
                grad_norm = grad_norm if norm is None else torch.as_tensor(norm)
            trained.optimizer.step()
            trained.optimizer.zero_grad(set_to_none=True)
    stage.method.after_update(session.step)
    return Step(views, terms, lr, grad_norm)


def find_gradients(
    session: Session, stage: Stage, batch: DomainBatch, *, enter: Enter | None = None
) -> tuple[Views, list[LossTerm]]:
    """Do a step of a stage but for its updates; the networks keep their weights.

    Args:
        session: whose student gets the gradients, as do others that the stage trains.
        stage: its own, or one that is still to come.
        batch: of this process.
        enter: as in `take_step`.

    Returns:
        what the networks saw, and the terms of the loss.
    """
    enter = enter or _tell_nobody
    enter("prepare")
    views = stage.method.prepare(batch, session.step)
    terms: list[LossTerm] = []
    for update in stage.updates:
        terms += _go_backward(session, update, views, enter=enter)
    return views, terms


def _go_backward(session: Session, update: Update, views: Views, *, enter: Enter) -> list[LossTerm]:
    """Find the losses of an update and their gradients; return the losses."""
    enter("losses")
    terms = list(update.losses(views, session.step))
    enter("backward")
    session.processes.accelerator.backward(sum(term.weight * term.value for term in terms))
    return terms


def _tell_nobody(_: Phase) -> None:
    """Stand for a listener."""
