"""Add a method of your own: self-training in its plainest form, without touching the package.

    L = L_M2F(f_w(x_S), y_S) + weight L_M2F(f_w(x_T), y'_T),   y'_T what the EMA teacher is sure of

This file is `uda4inst` with one method more: alone it trains for a minute and evaluates, and
`python examples/add_a_method.py train toystreets_demo method.name=self_training` is a whole run.
In a package of yours `uda4inst` itself and the app find it by an entry point:
[project.entry-points."uda4inst.methods"] with the line self_training = "MODULE:SPEC".
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from uda4inst.classes import THING_NAMES
from uda4inst.cli import app, main
from uda4inst.methods import register
from uda4inst.methods.base import Figure, LossTerm, MethodConfig, MethodContext, MethodSpec, Views
from uda4inst.methods.steps import count_labels, sample_view, view_losses
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.decode import decode
from uda4inst.structures import DomainBatch
from uda4inst.tasks.base import StudentView
from uda4inst.uda.pseudo_labels import PseudoLabeller


class SelfTrainingConfig(MethodConfig):
    name: Literal["self_training"] = "self_training"  # pyright: ignore[reportIncompatibleVariableOverride]
    score_threshold: float = 0.8
    target_weight: float = 0.5


class SelfTraining:
    def __init__(self, context: MethodContext, config: SelfTrainingConfig) -> None:
        self.context, self.config, self.updates = context, config, 0
        self.teacher = EmaTeacher(context.student, ema_decay=0.99)
        self.networks = {"student": context.student, "teacher": self.teacher.model}
        self.label = PseudoLabeller(config.class_labels, score_threshold=config.score_threshold)

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        self.teacher.update(self.context.student, self.updates)
        self.updates += 1
        images = torch.stack([crop.image for crop in batch.target])
        found = self.label(decode(self.context.infer(self.teacher.model, images)), batch.target)
        maps, limits = found.maps, found.thresholds
        return Views(batch.source, batch.target, pseudo_labels=maps, thresholds=limits)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        images, weight = [crop.image for crop in views.target], self.config.target_weight
        source = sample_view("source", views.source, self.context.task)
        target = StudentView("target", weight, images, views.pseudo_labels)
        return view_losses([source, target], context=self.context, joint=True)

    def figures(self, views: Views) -> Mapping[str, Figure]:
        return {"pseudo_labels": Figure(count_labels(views.pseudo_labels), THING_NAMES)}

    def after_update(self, step: int) -> None: ...

    def state_dict(self) -> dict[str, Any]:  # beside networks and optimizer, which are kept anyway
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]


INSTANCES, NETWORKS = frozenset({"instances"}), ("student", "teacher")
SPEC = MethodSpec(SelfTraining, SelfTrainingConfig, INSTANCES, "source_only", NETWORKS)

if __name__ == "__main__":
    register(SPEC)
    if len(sys.argv) > 1:
        sys.exit(main())
    with tempfile.TemporaryDirectory() as runs:
        mine = [f"run.root={runs}", "run.name=mine", "method.name=self_training"]
        app(["train", "toystreets_smoke", *mine], standalone_mode=False)
