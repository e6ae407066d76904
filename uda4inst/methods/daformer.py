"""DAFormer: DACS with rare classes sampled more often and features held to their start.

Paper: Hoyer, Dai, Van Gool, "DAFormer: Improving Network Architectures and Training Strategies for
Domain-Adaptive Semantic Segmentation", CVPR 2022 (arXiv 2111.14887). One step t, student f_w,
teacher f_v, source (x_S, y_S), target x_T; f_0 is the student as it began; lines 1 to 3 are DACS's
(`semantic_steps.ClassMixStep`)::

    0  x_S drawn by class, P(c) ~ exp((1 - f_c) / 0.01)     `data.rare_class_temperature`
    1  v <- a_t v + (1 - a_t) w,  a_t = min(1 - 1/(t + 1), 0.999)             EMA teacher
    2  y'_T = argmax f_v(x_T),  q = share of pixels with max f_v(x_T) >= 0.968  pseudo-labels
    3  M = pixels of half of the classes in y_S;  (x_M, y_M) mixed by M       ClassMix
    4  L_S = CE(f_w(x_S), y_S)
    5  L_FD = mean of |F_w(x_S) - F_0(x_S)| where things are                  feature distance
    6  L = L_S + 0.005 L_FD + q-weighted CE(f_w(x_M), y_M)

Its network is a preset of its own (`model.preset=daformer_b5`), its warm-up a setting of the
optimizer's (`optim.warmup_steps`). The departures that change results ("code": the authors'; all of
them: docs/methods/daformer.md):

1. q is each image's own (paper); the code's is the whole batch's (`quality.over`).
2. ignored pixels are no class that can be drawn; in the code 255 is one, and the classes of the
   whole batch are drawn from.
3. means are over the pixels that are not ignored; the code's are over all.
4. a map without things adds nothing to L_FD; the code's mean is then not a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from uda4inst.methods.base import (
    EmaDecay,
    Figure,
    LossTerm,
    MethodConfig,
    MethodContext,
    MethodSpec,
    Views,
)
from uda4inst.methods.semantic_steps import (
    ClassMixStep,
    MixedWeight,
    class_mixed_view,
    pixel_figures,
)
from uda4inst.methods.steps import prediction_losses, sample_view, view_losses
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch
from uda4inst.uda.class_mixing import StrongViewConfig
from uda4inst.uda.feature_hold import FeatureDistanceConfig, FeatureHold
from uda4inst.uda.pixel_labels import QualityConfig


class DAFormer:
    """Learns from source and mixed images. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, seed, the network the run started from.
        config: values of the parts.
    """

    def __init__(self, context: MethodContext, config: DAFormerConfig) -> None:
        self.context = context
        self.config = config
        self.mixing = ClassMixStep(
            context,
            ema_decay=config.ema_decay,
            quality=config.quality,
            class_mixing=config.class_mixing,
        )
        self.hold: FeatureHold | None = None
        distance = config.feature_distance
        if distance.weight:
            self.hold = FeatureHold(context.build_start(), infer=context.infer, config=distance)

    @property
    def networks(self) -> Mapping[str, Network]:
        """Student and teacher."""
        return {"student": self.context.student, "teacher": self.mixing.teacher.model}

    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do lines 1 to 3."""
        return self.mixing.prepare(batch, step)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do lines 4 to 6: "source/pixels", "source/features" and "s2t/pixels"."""
        del step
        context, config = self.context, self.config
        source = sample_view("source", views.source, context.task)
        images = torch.stack(tuple(source.images))
        prediction = context.forward(images)
        yield from prediction_losses([source], [prediction], context=context)  # ................. 4
        if self.hold is not None:
            maps = [sample.known_semantic() for sample in views.source]
            distance = self.hold(prediction, images, maps)  # .................................... 5
            yield LossTerm("source/features", distance, config.feature_distance.weight)
        mixed = class_mixed_view("s2t", views, weight=config.mixed_weight)
        yield from view_losses([mixed], context=context, joint=False)  # ......................... 6

    def after_update(self, step: int) -> None:
        """Nothing to do: the teacher moves at the start of the next step."""

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return the mean weight of target pixels, and what the pseudo-labels are of."""
        return pixel_figures(views)

    def state_dict(self) -> dict[str, Any]:
        """Return the update count."""
        return self.mixing.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.mixing.load_state_dict(state)


class DAFormerConfig(MethodConfig):
    """DAFormer. Defaults are the paper's.

    Example: without feature distance `method.feature_distance.weight=0`; without rare-class
    sampling `data.rare_class_temperature=null`; without warm-up `optim.warmup_steps=0`; its network
    alone is another `model.preset`.
    """

    name: Literal["daformer"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="daformer",
        description="Self-training on images mixed by class, features held to their start.",
    )
    ema_decay: EmaDecay = 0.999
    quality: QualityConfig = Field(
        default_factory=QualityConfig, description="How much pseudo-labels of pixels count."
    )
    class_mixing: StrongViewConfig = Field(
        default_factory=StrongViewConfig, description="Class mixing."
    )
    mixed_weight: MixedWeight = 1.0
    feature_distance: FeatureDistanceConfig = Field(
        default_factory=FeatureDistanceConfig,
        description="Distance of source features from the start's.",
    )

    def student_images(self, batch_size: int) -> int:
        """Return two images a pair: source and mixed."""
        return 2 * batch_size


SPEC = MethodSpec(
    DAFormer, DAFormerConfig, tasks=frozenset({"semantic"}), networks=("student", "teacher")
)
