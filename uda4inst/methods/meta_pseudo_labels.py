"""Meta Pseudo Labels: a teacher that learns from what its labels did to the student.

Report: "Real-time Domain Adaptation in Semantic Segmentation" with Meta Pseudo Labels, row DSC +
MPL of its Table I, and its code (commit 1c64801); after Pham et al., "Meta Pseudo Labels", CVPR
2021. The teacher g is the network of `adversarial.py` with pseudo-labels, the student f begins
anew. One step, discriminators D_f and D_g, source (x_S, y_S), target x_T, progress e in epochs of
which there are 50::

    1  y'_T = argmax g(x_T) where max g(x_T) >= t_c,  t_c = min(0.9, median of c's confidences)
    2  f minimises CE(f(x_S), y_S) + 0.001 L_adv(f) + CE(f(x_T), y'_T);  D_f its own loss
    3  H = lr_f CE(f(x_T), y'_T) CE(f(x_S), y_S), both before the update of f
       H <- 1 for e < 1,  (exp(e / 40) - 1) H for e <= 25,  H after
    4  L_UDA = CE(g(x_T + noise in a rectangle), y'_T) on half of the steps, else 0
    5  g minimises CE(g(x_S), y_S) + L_adv(g) + H CE(g(x_T), y'_T) + L_UDA;  D_g its own loss

As an option (`feedback=improvement`) H is what Pham et al. define, which the product is not: how
much better the student does on labelled images after its update, CE(f(x_S), y_S) before less after.

The departures that change results ("code": the report's; all of them:
docs/methods/meta_pseudo_labels.md):

1. D_g learns from the teacher's outputs; the code's from the student's.
2. thresholds of absent classes: as in `adversarial.py`.
3. the last checkpoint is reported; the code keeps the best on target labels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor

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
from uda4inst.methods.updates import Algorithm, OptimizerSettings, Other, Update, Weights
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch
from uda4inst.uda.domain_game import DomainGame, DomainGameConfig
from uda4inst.uda.randomness import step_generator

_EPOCHS: Final = 50  # of the report's training, in which its ramp is written
_LAST_RAMPED: Final = 25  # the epoch after which the ramp ends
_RAMP: Final = 40.0
_NOISE: Final = 1 / 255  # standard deviation: 1 on the code's pictures of 0..255


class MetaPseudoLabels:
    """Trains student and teacher in turn. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, how others are wrapped, the network the run started from.
        config: values of the parts.
    """

    def __init__(self, context: MethodContext, config: MetaPseudoLabelsConfig) -> None:
        self.context = context
        self.config = config
        self.steps_done = 0
        self.teacher = copy.deepcopy(context.student)
        self.teacher_forward = context.wrap(self.teacher)
        self.game, self.teacher_game = (
            DomainGame(
                config.game,
                num_classes=len(context.task.class_names),
                wrap=context.wrap,
                device=context.device,
            )
            for _ in range(2)
        )
        self.others = {
            "discriminator": Other(self.game.discriminator, config.discriminator_optim),
            "teacher": Other(self.teacher, config.teacher_optim),
            "teacher_discriminator": Other(
                self.teacher_game.discriminator, config.discriminator_optim
            ),
        }
        self.updates = (
            Update(self.losses, ("student", "discriminator")),
            Update(self.teacher_losses, ("teacher", "teacher_discriminator")),
        )
        # The student's losses of this step, before its update: on source, on target.
        self._before: tuple[Tensor, Tensor] | None = None

    @property
    def networks(self) -> Mapping[str, Network]:
        """Student and teacher."""
        return {"student": self.context.student, "teacher": self.teacher}

    def begin(self, before: Weights) -> None:
        """Let the network of the stage before teach, with its discriminator; renew the student."""
        student = self.context.student
        self.teacher.load_state_dict(student.state_dict())
        student.load_state_dict(self.context.build_start().state_dict())
        self.teacher_game.take_over(before.get("discriminator"))

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do line 1."""
        del step
        batch = batch.to(self.context.device)
        labels = label_pixels_by_class(
            self.teacher,
            batch.target,
            context=self.context,
            highest=self.config.highest_threshold,
        )
        self.steps_done += 1
        return Views(
            source=batch.source,
            target=batch.target,
            pixel_labels=labels,
            facts={"pixel_threshold": self.config.highest_threshold},
        )

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do line 2."""
        del step
        context = self.context
        source = sample_view("source", views.source, context.task)
        target = pseudo_labelled_view("target", views)
        said = [context.forward(torch.stack(tuple(view.images))) for view in (source, target)]
        terms = [
            list(prediction_losses([view], [one], context=context))
            for view, one in zip((source, target), said, strict=True)
        ]
        self._before = (_main(terms[0]), _main(terms[1]))
        yield from (*terms[0], *terms[1])
        played = self.game.play(*said)
        views.shown["domains"] = tuple(played.domains)
        yield LossTerm("target/adversarial", played.adversarial, self.config.game.weight)
        yield LossTerm("discriminator", played.discriminator, 1.0)

    def teacher_losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do lines 3 to 5, the student being updated."""
        context, config = self.context, self.config
        self.teacher.train()
        source = sample_view("teacher_source", views.source, context.task)
        target = pseudo_labelled_view("teacher_target", views)
        said = [self.teacher_forward(torch.stack(tuple(v.images))) for v in (source, target)]
        yield from prediction_losses([source], [said[0]], context=context)
        played = self.teacher_game.play(*said)
        yield LossTerm("teacher_target/adversarial", played.adversarial, config.teacher_adversarial)
        yield LossTerm("teacher_discriminator", played.discriminator, 1.0)
        feedback = self._feedback(views)  # ...................................................... 3
        for term in prediction_losses([target], [said[1]], context=context):
            yield LossTerm(term.name, feedback * term.value, term.weight)
        yield LossTerm("feedback", feedback, 0.0)
        if self._is_noisy(step):
            noisy = pseudo_labelled_view("teacher_noisy", views)
            images = self._with_noise(torch.stack(tuple(noisy.images)))
            yield from prediction_losses([noisy], [self.teacher_forward(images)], context=context)

    def _feedback(self, views: Views) -> Float32[Tensor, ""]:
        """Return H; nothing is read back from the device."""
        assert self._before is not None, "the student's losses come first"
        on_source, on_target = self._before
        if self.config.feedback == "improvement":
            return on_source - self._on_source_now(views)
        epoch = _EPOCHS * (self.steps_done - 1) / max(1, self.context.steps)
        if epoch < 1:
            return torch.ones_like(on_source)
        product = self.context.learning_rate() * on_source * on_target
        return product if epoch > _LAST_RAMPED else (math.exp(epoch / _RAMP) - 1) * product

    @torch.no_grad()
    def _on_source_now(self, views: Views) -> Float32[Tensor, ""]:
        """Return the updated student's loss on the labelled images."""
        source = sample_view("source", views.source, self.context.task)
        said = self.context.infer(self.context.student, torch.stack(tuple(source.images)))
        return _main(list(prediction_losses([source], [said], context=self.context)))

    def _is_noisy(self, step: int) -> bool:
        """Whether this step has line 4; the same on every process."""
        coin = torch.rand((), generator=step_generator(seed=self.context.seed, rank=0, step=step))
        return float(coin) < self.config.noise_chance

    def _with_noise(self, images: Float32[Tensor, "B 3 H W"]) -> Float32[Tensor, "B 3 H W"]:
        """Return the images with Gaussian noise in one rectangle, the same for all."""
        height, width = images.shape[-2:]
        rows = sorted(int(v) for v in torch.randint(height, (2,)))
        columns = sorted(int(v) for v in torch.randint(width, (2,)))
        inside = torch.zeros_like(images[:1, :1])
        inside[..., rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = _NOISE
        return images + inside * torch.randn_like(images)

    def after_update(self, step: int) -> None:
        """Forget the losses of this step."""
        del step
        self._before = None

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return the share of target pixels that is labelled, and what the labels are of."""
        return pixel_figures(views)

    def state_dict(self) -> dict[str, Any]:
        """Return how many steps are done; networks and discriminators are kept beside."""
        return {"steps_done": self.steps_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.steps_done = state["steps_done"]


def _main(terms: list[LossTerm]) -> Float32[Tensor, ""]:
    """Return the value of a view's loss, its weighted parts together, without gradient."""
    return torch.stack([term.weight * term.value for term in terms]).sum().detach()


class TeacherOptimizerSettings(OptimizerSettings):
    """The teacher's optimizer, whose values of its own hold when only some of them are set."""

    algorithm: Algorithm = Field(default="sgd", description="Which optimizer (the code: sgd).")
    lr: float = Field(default=1.25e-2, gt=0, le=1, description="Peak learning rate.")
    weight_decay: float = Field(default=1e-4, ge=0, le=1, description="Of weights.")


class MetaPseudoLabelsConfig(MethodConfig):
    """Meta Pseudo Labels. Defaults are the report's code's."""

    name: Literal["meta_pseudo_labels"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="meta_pseudo_labels",
        description="A teacher that learns from what its pseudo-labels did to the student.",
    )
    game: DomainGameConfig = Field(
        default_factory=DomainGameConfig, description="The discriminator of domains."
    )
    discriminator_optim: OptimizerSettings = Field(
        default_factory=OptimizerSettings, description="The discriminator's optimizer."
    )
    teacher_optim: TeacherOptimizerSettings = Field(
        default_factory=TeacherOptimizerSettings,
        description="The teacher's optimizer (the code: SGD, 1.25e-2).",
    )
    highest_threshold: HighestThreshold = 0.9
    feedback: Literal["product", "improvement"] = Field(
        default="product",
        description="What tells the teacher how good its labels were: the product of the "
        "student's losses (the report), or how much better the student does on labelled images "
        "after its update (Pham et al.).",
    )
    teacher_adversarial: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="How much the teacher's target output should look like source (the code: 1).",
    )
    noise_chance: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="How often the teacher also learns from noisy target images (0.5).",
    )

    def student_images(self, batch_size: int) -> int:
        """Return two images a pair: source and target."""
        return 2 * batch_size


SPEC = MethodSpec(
    MetaPseudoLabels,
    MetaPseudoLabelsConfig,
    tasks=frozenset({"semantic"}),
    stage1="adversarial",
    networks=("student", "teacher"),
    stage1_settings={"pseudo_labels_from": 0.5},
)
