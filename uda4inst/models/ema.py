"""The teacher: an exponential moving average of the student's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EmaTeacher(Generic[Network]):
    """A copy of the student that follows it slowly; it is never trained.

    The copy is in evaluation mode and asks for no gradients. Parameters are averaged, buffers are
    copied: they hold no learned values in this network (constants and index tables).

    Args:
        student: the network to follow, not wrapped for distribution.
        ema_decay: weight of the old teacher in an update, 0..1 (0.999, UDA4Inst sec. 4.1).

    Raises:
        ValueError: `ema_decay` outside [0, 1].
    """

    def __init__(self, student: Network, *, ema_decay: float = 0.999) -> None:
        if not 0.0 <= ema_decay <= 1.0:
            raise ValueError(f"ema_decay must lie in [0, 1], got {ema_decay}.")
        self.ema_decay = ema_decay
        self.model: Network = copy.deepcopy(student).requires_grad_(False).eval()

    def decay_at(self, step: int) -> float:
        """Return the decay of an update: min(1 - 1/(step + 1), ema_decay).

        At step 0 the teacher becomes the student; early averages forget the start quickly.
        """
        return min(1.0 - 1.0 / (step + 1), self.ema_decay)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move the teacher towards the student.

        Args:
            student: same architecture; may be wrapped (parameters are taken in order).
            step: updates done before this one, from 0.
        """
        own = [parameter.data for parameter in self.model.parameters()]
        new = [parameter.data for parameter in student.parameters()]
        torch._foreach_lerp_(own, new, 1.0 - self.decay_at(step))
        buffers = list(self.model.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(student.buffers()))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights, named as the student's."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights saved by `state_dict`; every name must be there."""
        self.model.load_state_dict(state)
