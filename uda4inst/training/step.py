"""One training step, and its first half for who only tries it.

Seed and learning rate -> batch to views -> losses -> backward -> clip -> update -> what the method
does after it (its teacher follows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from uda4inst.methods.base import LossTerm, Views
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
    views, terms = find_gradients(session, stage, batch, enter=enter)
    enter("update")
    parameters = trained_parameters(session)
    norm = accelerator.clip_grad_norm_(parameters, session.config.optim.clip_norm)
    grad_norm = torch.as_tensor(norm if norm is not None else float("nan"))
    stage.optimizer.step()
    stage.optimizer.zero_grad(set_to_none=True)
    stage.method.after_update(session.step)
    return Step(views, terms, lr, grad_norm)


def find_gradients(
    session: Session, stage: Stage, batch: DomainBatch, *, enter: Enter | None = None
) -> tuple[Views, list[LossTerm]]:
    """Do a step of a stage up to its gradients; the student keeps its weights.

    Args:
        session: whose student gets the gradients.
        stage: its own, or one that is still to come.
        batch: of this process.
        enter: as in `take_step`.

    Returns:
        what the networks saw, and the terms of the loss.
    """
    enter = enter or _tell_nobody
    enter("prepare")
    views = stage.method.prepare(batch, session.step)
    enter("losses")
    terms = list(stage.method.losses(views, session.step))
    enter("backward")
    session.processes.accelerator.backward(sum(term.weight * term.value for term in terms))
    return views, terms


def trained_parameters(session: Session) -> list[nn.Parameter]:
    """Return the student's parameters that are not frozen."""
    return [p for p in session.student.parameters() if p.requires_grad]


def _tell_nobody(_: Phase) -> None:
    """Stand for a listener."""
