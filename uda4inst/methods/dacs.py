"""DACS: self-training on images into which half of a source image's classes are pasted.

Paper: Tranheden, Olsson, Pinto, Svensson, "DACS: Domain Adaptation via Cross-domain Mixed
Sampling", WACV 2021 (arXiv 2007.08702). One step t, student f_w, teacher f_v, source (x_S, y_S),
target x_T; lines 1 to 3 are `semantic_steps.ClassMixStep`::

    1  v <- a_t v + (1 - a_t) w,  a_t = min(1 - 1/(t + 1), 0.99)              EMA teacher
    2  y'_T = argmax f_v(x_T),  q = share of pixels with max f_v(x_T) >= 0.968  pseudo-labels
    3  M = pixels of ceil(n / 2) of the n classes in y_S, drawn at random     ClassMix:
       x_M = M x_S + (1 - M) x_T,  y_M the same of y_S and y'_T; colours jittered, blurred
    4  L = CE(f_w(x_S), y_S) + q-weighted CE(f_w(x_M), y_M), weights 1 in M and q outside

The departures that change results ("code": the authors'; all of them: docs/methods/dacs.md):

1. q is each image's own (paper); the code's is the whole batch's (`quality.over`).
2. ignored pixels are no class that can be drawn; in the code 255 is one.
3. means are over the pixels that are not ignored; the code's are over all.
4. the last checkpoint is reported; the code keeps the best on target labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

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
from uda4inst.methods.steps import sample_view, view_losses
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch
from uda4inst.uda.class_mixing import StrongViewConfig
from uda4inst.uda.pixel_labels import QualityConfig


class DACS:
    """Learns from source and mixed images. See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, seed.
        config: values of the parts.
    """

    def __init__(self, context: MethodContext, config: DACSConfig) -> None:
        self.context = context
        self.config = config
        self.mixing = ClassMixStep(
            context,
            ema_decay=config.ema_decay,
            quality=config.quality,
            class_mixing=config.class_mixing,
        )

    @property
    def networks(self) -> Mapping[str, Network]:
        """Student and teacher."""
        return {"student": self.context.student, "teacher": self.mixing.teacher.model}

    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do lines 1 to 3."""
        return self.mixing.prepare(batch, step)

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do line 4: "source/pixels" and "s2t/pixels"; of a network with more heads, theirs too."""
        del step
        source = sample_view("source", views.source, self.context.task)
        mixed = class_mixed_view("s2t", views, weight=self.config.mixed_weight)
        yield from view_losses([source, mixed], context=self.context, joint=False)  # ............ 4

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


class DACSConfig(MethodConfig):
    """DACS. Defaults are its paper's; of the jitter's strength DAFormer's (DACS: 0.25)."""

    name: Literal["dacs"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="dacs", description="Self-training on images mixed by class."
    )
    ema_decay: EmaDecay = 0.99
    quality: QualityConfig = Field(
        default_factory=QualityConfig, description="How much pseudo-labels of pixels count."
    )
    class_mixing: StrongViewConfig = Field(
        default_factory=StrongViewConfig, description="Class mixing."
    )
    mixed_weight: MixedWeight = 1.0

    def student_images(self, batch_size: int) -> int:
        """Return two images a pair: source and mixed."""
        return 2 * batch_size


SPEC = MethodSpec(DACS, DACSConfig, tasks=frozenset({"semantic"}), networks=("student", "teacher"))
