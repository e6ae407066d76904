"""Target-trained upper bound: what the same network reaches with the target's own labels.

Paper: UDA4Inst (arXiv 2405.09682 v1), row "upper bound". The student learns from labelled target
crops alone, which no adaptation method may see; `DomainBatch.labelled` is filled for this method
only.

    L = L_task(f(x_T), y_T)

Departures: none known; the paper does not say how long its upper bound was trained. It works for
every task.
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
from uda4inst.methods.steps import sample_view, view_losses
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch
from uda4inst.tasks import TASKS


class Oracle:
    """Learns from labelled target crops. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, task.
        config: nothing in it matters to a step.
    """

    def __init__(self, context: MethodContext, config: OracleConfig) -> None:
        self.context = context
        self.config = config

    @property
    def networks(self) -> Mapping[str, Network]:
        """The student."""
        return {"student": self.context.student}

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
        return Views(labelled=batch.to(self.context.device).labelled)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Yield the task's terms of "target"."""
        del step
        labelled = sample_view("target", views.labelled, self.context.task)
        yield from view_losses([labelled], context=self.context, joint=True)

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


class OracleConfig(MethodConfig):
    """The upper bound."""

    name: Literal["oracle"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="oracle", description="Labelled target images alone: the upper bound."
    )

    @property
    def sees(self) -> Mode:
        """Labelled target images."""
        return "labelled"

    def hashed(self) -> dict[str, Any]:
        """Return the settings; with one that had a place here once, so that hashes stay."""
        return super().hashed() | {"lab_alignment": True}


SPEC = MethodSpec(Oracle, OracleConfig, tasks=frozenset(TASKS))
