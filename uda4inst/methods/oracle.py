"""Target-trained upper bound: what the same network reaches with the target's own labels.

Paper: UDA4Inst (arXiv 2405.09682 v1), row "upper bound". The student learns from labelled target
crops alone, which no adaptation method may see; `DomainBatch.labelled` is filled for this method
only.

    L = L_M2F(f(x_T), y_T)

Departures: none known; the paper does not say how long its upper bound was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from uda4inst.methods.base import Forward, LossTerm, Views, device_of, sample_view, view_losses
from uda4inst.methods.config import MethodConfig
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.structures import DomainBatch


class Oracle:
    """Learns from labelled target crops. See `uda4inst.methods.base.Method`.

    Args:
        student: the network itself, never a wrapper.
        criterion: the loss.
        config: the method's configuration; nothing in it matters here.
        forward: how the student is run; across processes, the wrapper. Default: the student.
        seed: unused, as there is nothing random in this method.
        rank: unused.
    """

    def __init__(
        self,
        student: nn.Module,
        criterion: Criterion,
        config: MethodConfig,
        *,
        forward: Forward | None = None,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        del seed, rank
        self.student = student
        self.forward: Forward = forward or student
        self.criterion = criterion
        self.config = config
        self.teacher: EmaTeacher[nn.Module] | None = None
        self.last_views: Views | None = None

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Take the labelled target crops as they are.

        Raises:
            ValueError: the batch has none.
        """
        del step
        if not batch.labelled:
            raise ValueError(
                "DomainBatch.labelled must hold labelled target samples for the oracle, got 0."
            )
        return Views(labelled=batch.to(device_of(self.student)).labelled)

    def losses(self, batch: DomainBatch, step: int) -> Iterator[LossTerm]:
        """Yield "target/class", "target/mask" and "target/dice"."""
        views = self.last_views = self.prepare(batch, step)
        labelled = sample_view("target", views.labelled)
        yield from view_losses(
            [labelled], forward=self.forward, criterion=self.criterion, joint=True
        )

    def after_update(self, step: int) -> None:
        """Nothing to do."""

    def pseudo_label_counts(self) -> None:
        """Return None: there are no pseudo-labels."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the student is all there is."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""
