"""Source-only training: the lower bound, and stage 1 of UDA4Inst.

Paper: UDA4Inst (arXiv 2405.09682 v1), rows "w/o UDA" and stage 1. The student learns from labelled
source crops alone; target images lend their colour statistics when LAB alignment is on.

    L = L_M2F(f(x_S), y_S)

Departures. Paper and authors: 10k steps (paper), 40k (their later runs), one network per category
group; source images recoloured before training. Ours: one network; each source crop is aligned to
the target crop of its batch (see `uda4inst.py`). Without LAB alignment this is plain supervised
training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from uda4inst.methods.base import (
    Forward,
    LossTerm,
    Views,
    aligned_source,
    device_of,
    sample_view,
    view_losses,
)
from uda4inst.methods.config import MethodConfig
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.structures import DomainBatch


class SourceOnly:
    """Learns from labelled source crops. See `uda4inst.methods.base.Method`.

    Args:
        student: the network itself, never a wrapper.
        criterion: the loss.
        config: the method's configuration; only `lab_alignment` matters here.
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
        """Align the source crops."""
        del step
        batch = batch.to(device_of(self.student))
        source = aligned_source(batch, lab_alignment=self.config.lab_alignment)
        return Views(source=source, target=batch.target)

    def losses(self, batch: DomainBatch, step: int) -> Iterator[LossTerm]:
        """Yield "source/class", "source/mask" and "source/dice"."""
        views = self.last_views = self.prepare(batch, step)
        source = sample_view("source", views.source)
        yield from view_losses([source], forward=self.forward, criterion=self.criterion, joint=True)

    def after_update(self, step: int) -> None:
        """Nothing to do."""

    def pseudo_label_counts(self) -> None:
        """Return None: there are no pseudo-labels."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the student is all there is."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""
