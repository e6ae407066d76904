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
    copied: they hold no learned values in networks without batch norm (constants, index tables).

    Args:
        student: the network to follow, not wrapped for distribution.
        ema_decay: weight of the old teacher in an update, 0..1 (0.999, UDA4Inst sec. 4.1).
        own_buffers: keep buffers apart: running statistics of batch norm are then the teacher's own
            (see `use_batch_statistics`).

    Raises:
        ValueError: `ema_decay` outside [0, 1].
    """

    def __init__(
        self, student: Network, *, ema_decay: float = 0.999, own_buffers: bool = False
    ) -> None:
        if not 0.0 <= ema_decay <= 1.0:
            raise ValueError(f"ema_decay must lie in [0, 1], got {ema_decay}.")
        self.ema_decay = ema_decay
        self.own_buffers = own_buffers
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
        if buffers and not self.own_buffers:
            torch._foreach_copy_(buffers, list(student.buffers()))

    def use_batch_statistics(self) -> None:
        """Put the teacher into training mode but for dropout and stochastic depth.

        Its batch norms then normalise by the batch, and follow it with running statistics of their
        own, as the teachers of DACS and DAFormer do. The network itself stays in evaluation mode:
        it has no use for auxiliary heads. Evaluation sets all modes anew, so call this before every
        forward pass.
        """
        for module in self.model.modules():
            module.training = module is not self.model and not _drops(module)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights, named as the student's."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights saved by `state_dict`; every name must be there."""
        self.model.load_state_dict(state)


def _drops(module: nn.Module) -> bool:
    """Whether a module leaves out a part of its input at random."""
    dropout = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    return isinstance(module, dropout) or type(module).__name__.endswith("DropPath")
