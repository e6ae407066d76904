"""Add a method of your own, without touching the package: self-training in its plainest form.

L = L_M2F(f_w(x_S), y_S) + weight L_M2F(f_w(x_T), y'_T), y'_T being what the EMA teacher is sure of.
This file is `uda4inst` with one method more: alone it trains for a minute and evaluates, with
arguments (train toystreets_demo method.name=self_training) it does what they say. In a package of
yours an entry point is enough: group "uda4inst.methods", line self_training = "MODULE:SPEC".
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from uda4inst.classes import THING_NAMES
from uda4inst.cli import main
from uda4inst.methods import base, register
from uda4inst.methods.steps import count_labels, sample_view, view_losses
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.decode import decode
from uda4inst.structures import DomainBatch
from uda4inst.tasks.base import StudentView
from uda4inst.uda.pseudo_labels import PseudoLabeller


class SelfTrainingConfig(base.MethodConfig):
    name: Literal["self_training"] = "self_training"  # pyright: ignore[reportIncompatibleVariableOverride]
    score_threshold: base.ScoreThreshold = 0.9
    target_weight: float = Field(default=0.5, ge=0, description="Weight of the target's loss.")


class SelfTraining:
    def __init__(self, context: base.MethodContext, config: SelfTrainingConfig) -> None:
        self.context, self.config = context, config
        self.teacher = EmaTeacher(context.student, ema_decay=0.99)
        self.networks = {"student": context.student, "teacher": self.teacher.model}
        self.label = PseudoLabeller(config.class_labels, score_threshold=config.score_threshold)

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> base.Views:
        self.teacher.update(self.context.student, step)
        images = torch.stack([crop.image for crop in batch.target])
        found = decode(self.context.infer(self.teacher.model, images))
        labels = self.label(found, batch.target)
        return base.Views(
            source=batch.source,
            target=batch.target,
            detections=tuple(found),
            pseudo_labels=labels.maps,
            thresholds=labels.thresholds,
        )

    def losses(self, views: base.Views, step: int) -> Iterator[base.LossTerm]:
        images, weight = [crop.image for crop in views.target], self.config.target_weight
        source = sample_view("source", views.source, self.context.task)
        target = StudentView("target", weight, images, views.pseudo_labels)
        return view_losses([source, target], context=self.context, joint=True)

    def figures(self, views: base.Views) -> Mapping[str, base.Figure]:
        return {"pseudo_labels": base.Figure(count_labels(views.pseudo_labels), THING_NAMES)}

    def state_dict(self) -> dict[str, Any]:
        return {}  # networks and optimizer are kept anyway

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def after_update(self, step: int) -> None: ...


INSTANCES, NETWORKS = frozenset({"instances"}), ("student", "teacher")
SPEC = base.MethodSpec(SelfTraining, SelfTrainingConfig, INSTANCES, "source_only", NETWORKS)

if __name__ == "__main__":
    register(SPEC)
    with tempfile.TemporaryDirectory() as runs:
        alone = ["train", "toystreets_smoke", "method.name=self_training", f"run.root={runs}"]
        sys.argv += [] if sys.argv[1:] else alone
        main()
