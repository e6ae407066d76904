"""Source-only training: the lower bound, and stage 1 of self-training.

Paper: UDA4Inst (arXiv 2405.09682 v1), rows "w/o UDA" and stage 1. The student learns from labelled
source crops alone; target images lend their colour statistics when LAB alignment is on.

    L = L_task(f(x_S), y_S)

Departures. Paper and authors: 10k steps (paper), 40k (their later runs); source images recoloured
before training. Ours: each source crop is aligned to the target crop of its batch (see
`uda4inst.py`). Without LAB alignment this is plain supervised
training. It works for every task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from uda4inst.methods.base import (
    Figure,
    LossTerm,
    MethodConfig,
    MethodContext,
    MethodSpec,
    Mode,
    Views,
)
from uda4inst.methods.steps import aligned_source, sample_view, view_losses
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch
from uda4inst.tasks import TASKS


class SourceOnly:
    """Learns from labelled source crops. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, task.
        config: whether colours are aligned.
    """

    def __init__(self, context: MethodContext, config: SourceOnlyConfig) -> None:
        self.context = context
        self.config = config

    @property
    def networks(self) -> Mapping[str, Network]:
        """The student."""
        return {"student": self.context.student}

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Align the source crops."""
        del step
        batch = batch.to(self.context.device)
        source = aligned_source(batch, lab_alignment=self.config.lab_alignment)
        return Views(source=source, target=batch.target)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Yield the task's terms of "source"."""
        del step
        source = sample_view("source", views.source, self.context.task)
        yield from view_losses([source], context=self.context, joint=True)

    def after_update(self, step: int) -> None:
        """Nothing to do."""

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return nothing: there are no pseudo-labels to count."""
        del views
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the student is all there is."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""


class SourceOnlyConfig(MethodConfig):
    """The lower bound."""

    name: Literal["source_only"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="source_only", description="Labelled source images alone: the lower bound."
    )
    lab_alignment: bool = Field(
        default=True,
        description="Give each source crop the LAB colour statistics of its target crop.",
    )

    @property
    def sees(self) -> Mode:
        """Pairs where colours are aligned, else source images alone."""
        return "pair" if self.lab_alignment else "source"

    @property
    def aligns_colours(self) -> bool:
        """Whether source crops are recoloured while training."""
        return self.lab_alignment


SPEC = MethodSpec(SourceOnly, SourceOnlyConfig, tasks=frozenset(TASKS))
