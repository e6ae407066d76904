"""Adversarial adaptation of a real-time network, then pseudo-labels by class medians.

Report: "Real-time Domain Adaptation in Semantic Segmentation" with Meta Pseudo Labels, rows FCD,
DSC and DSC + PL of its Table I, and its code (commit 1c64801). One step, student f, discriminator D
of class probabilities, source (x_S, y_S), target x_T::

    1  L_seg = CE(f(x_S), y_S), auxiliary heads included
    2  L_adv = BCE(D(softmax f(x_T)), "source")
    3  L_D   = (BCE(D(softmax f(x_S)), "source") + BCE(D(softmax f(x_T)), "target")) / 2
    4  f minimises L_seg + 0.001 L_adv,  D minimises L_D

and once pseudo-labels are there (`pseudo_labels_from`), made by f as it was then, g::

    5  y'_T = argmax g(x_T) where max g(x_T) >= t_c,  t_c = min(0.9, median of c's confidences)
    6  f minimises L_seg + 0.001 L_adv + CE(f(x_T), y'_T)

The departures that change results ("code": the report's; all of them: docs/methods/adversarial.md):

1. a class that an image does not show has no threshold; in the code it shifts those of all later
   ones.
2. pseudo-labels are made of the training crop, step by step; the code makes them of whole images,
   once. With whole images and no augmentation, as there, they are the same.
3. the rate falls step by step; the code's by epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field

from uda4inst.methods.base import (
    Figure,
    LossTerm,
    MethodConfig,
    MethodContext,
    MethodSpec,
    Views,
)
from uda4inst.methods.semantic_steps import (
    HighestThreshold,
    label_pixels_by_class,
    pixel_figures,
    pseudo_labelled_view,
)
from uda4inst.methods.steps import prediction_losses, sample_view
from uda4inst.methods.updates import OptimizerSettings, Other, Update, Weights
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch, TargetSample
from uda4inst.uda.domain_game import DomainGame, DomainGameConfig
from uda4inst.uda.pixel_labels import PixelLabels


class Adversarial:
    """Learns from source images and a discriminator. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, how others are wrapped, length of the stage.
        config: values of the parts.
    """

    def __init__(self, context: MethodContext, config: AdversarialConfig) -> None:
        self.context = context
        self.config = config
        self.game = DomainGame(
            config.game,
            num_classes=len(context.task.class_names),
            wrap=context.wrap,
            device=context.device,
        )
        self.others = {"discriminator": Other(self.game.discriminator, config.discriminator_optim)}
        self.updates = (Update(self.losses, ("student", "discriminator")),)
        self.steps_done = 0
        # Labels the target images from some step on; until then it is the student.
        self.labeller: Network | None = None
        if config.pseudo_labels_from is not None:
            self.labeller = copy.deepcopy(context.student).requires_grad_(False).eval()

    def begin(self, before: Weights) -> None:
        """Keep the discriminator of the stage before."""
        self.game.take_over(before.get("discriminator"))
        self._copy_student()

    @property
    def networks(self) -> Mapping[str, Network]:
        """The student, and what labels the target images, if anything does."""
        networks = {"student": self.context.student}
        return networks if self.labeller is None else {**networks, "teacher": self.labeller}

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do line 5, once it is time."""
        del step
        batch = batch.to(self.context.device)
        labels = self._label(batch.target)
        self.steps_done += 1
        return Views(
            source=batch.source,
            target=batch.target,
            pixel_labels=labels,
            facts={"pixel_threshold": self.config.highest_threshold} if labels else {},
        )

    def _label(self, target: Sequence[TargetSample]) -> tuple[PixelLabels, ...]:
        """Return the pseudo-labels; none before their time."""
        labeller = self.labeller
        if labeller is None or self.steps_done < self._first_labels:
            return ()
        highest = self.config.highest_threshold
        return label_pixels_by_class(labeller, target, context=self.context, highest=highest)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do lines 1 to 4, or 6."""
        del step
        context = self.context
        source = sample_view("source", views.source, context.task)
        said_of_source = context.forward(torch.stack(tuple(source.images)))
        said_of_target = context.forward(torch.stack([t.image for t in views.target]))
        yield from prediction_losses([source], [said_of_source], context=context)  # ............. 1
        played = self.game.play(said_of_source, said_of_target)
        views.shown["domains"] = tuple(played.domains)
        yield LossTerm("target/adversarial", played.adversarial, self.config.game.weight)  # ..... 2
        yield LossTerm("discriminator", played.discriminator, 1.0)  # ............................ 3
        if views.pixel_labels:
            labelled = pseudo_labelled_view("target", views)
            yield from prediction_losses([labelled], [said_of_target], context=context)  # ....... 6

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        """Let what will label be the student, until it does."""
        del step
        if self.steps_done <= self._first_labels:
            self._copy_student()

    @property
    def _first_labels(self) -> int:
        """Steps done before the first pseudo-labels."""
        return round((self.config.pseudo_labels_from or 0.0) * self.context.steps)

    def _copy_student(self) -> None:
        if self.labeller is not None:
            self.labeller.load_state_dict(self.context.student.state_dict())

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return the share of target pixels that is labelled, and what the labels are of."""
        return pixel_figures(views)

    def state_dict(self) -> dict[str, Any]:
        """Return how many steps are done; networks and discriminator are kept beside."""
        return {"steps_done": self.steps_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.steps_done = state["steps_done"]


class AdversarialConfig(MethodConfig):
    """Adversarial adaptation, with pseudo-labels or without. Defaults are the report's code's."""

    name: Literal["adversarial"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="adversarial", description="A discriminator of domains, then pseudo-labels."
    )
    game: DomainGameConfig = Field(
        default_factory=DomainGameConfig, description="The discriminator of domains."
    )
    discriminator_optim: OptimizerSettings = Field(
        default_factory=OptimizerSettings, description="The discriminator's optimizer."
    )
    pseudo_labels_from: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the stage after which the student, as it is then, labels the target "
        "images (rows + PL: 0.5, as both halves have 50 epochs). Empty: never.",
    )
    highest_threshold: HighestThreshold = 0.9

    def student_images(self, batch_size: int) -> int:
        """Return two images a pair: source and target."""
        return 2 * batch_size


SPEC = MethodSpec(
    Adversarial,
    AdversarialConfig,
    tasks=frozenset({"semantic"}),
    networks=("student", "teacher"),
)
