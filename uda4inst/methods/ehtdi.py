"""EHTDI: mixing in both directions, and contrast between two views, by pixel and by class.

Paper: Li et al., "Exploring High-quality Target Domain Information for Unsupervised Domain Adaptive
Semantic Segmentation", ACM MM 2022. Its body was not at hand: formulas and numbers are those of the
authors' code (commit 862502b). One step, student f, source (x_S, y_S), target x_T; "s"
marks views of changed colours::

    1  y'_T = argmax f(x_T)                                  pseudo-labels, no threshold
    2  m = half of y_S's classes from pole on, pasted on x_T and x_T^s: x_ST, x_ST^s     S2T
    3  p = f(x_ST);  M = {max p > 0.95};  x_TS = x_ST^s in M, x_S^s elsewhere           T2S
       y_TS = argmax p in M, y_S elsewhere: labels are right at the borders of M
    4  L_S   = CE(f(x_S), y_S)
    5  L_S2T = 0.1 CE(f(x_ST^s), y_ST)
    6  L_T2S = 0.1 CE(f(x_TS), y_TS)
    7  L_pix = 0.01 InfoNCE of the positions of f(x_ST) and f(x_ST^s), temperature 0.05
    8  L_cls = 0.01 InfoNCE of the mean logits of every class there, temperature 0.143
    9  v <- a v + (1 - a) w                                  averaged weights, for evaluation alone

Auxiliary heads are trained on the source, and on x_ST^s with what both heads together say of x_ST.
With edges (the code's later variant) M is where max f(x_T) > 0.95 or the source was pasted, and the
rims of what was pasted count once more.
The departures that change results ("code": the authors'; all of them: docs/methods/ehtdi.md):

1. all images of a batch take part in lines 6 and 8; in the code only the first does.
2. classes are drawn from what the source crop shows; the code is off by one.
3. both views are the training crop; the code labels and trains on whole images, then cuts crops.
4. the last checkpoint is reported; the code keeps the best on target labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from uda4inst.methods.base import (
    EmaDecay,
    Figure,
    LossTerm,
    MethodConfig,
    MethodContext,
    MethodSpec,
    Views,
)
from uda4inst.methods.semantic_steps import pixel_figures
from uda4inst.methods.steps import prediction_losses, sample_view, view_losses
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.network import Network
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import DomainBatch, SemanticMap
from uda4inst.tasks.base import StudentView
from uda4inst.uda.class_mixing import ClassMixed
from uda4inst.uda.contrast import position_contrast, prototype_contrast
from uda4inst.uda.pixel_labels import PixelLabels, pixel_labels
from uda4inst.uda.two_way_class_mixing import (
    TwoViews,
    TwoViewsConfig,
    as_pasted,
    at_borders,
    known_classes,
    source_into_target,
    target_into_source,
)


class EHTDI:
    """Learns from source, both mixed views and their contrast. See `methods.base.Method`.

    Args:
        context: student, loss, seed.
        config: values of the parts.
    """

    def __init__(self, context: MethodContext, config: EHTDIConfig) -> None:
        self.context = context
        self.config = config
        self.updates = 0
        self.average = EmaTeacher(context.student, ema_decay=config.ema_decay)
        self.views = TwoViews(config.views, seed=context.seed, rank=context.rank)

    @property
    def networks(self) -> Mapping[str, Network]:
        """The student, and its average as the teacher, which teaches nothing here."""
        return {"student": self.context.student, "teacher": self.average.model}

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do lines 1 to 3."""
        batch = batch.to(self.context.device)
        source, target = batch.source, batch.target
        labels = self._say([sample.image for sample in target])  # ............................... 1
        drawn = self.views.draw(source, target, step=step)
        pairs = list(zip(source, target, labels, drawn, strict=True))
        weak = [source_into_target(s, t.image, p.learned, d) for s, t, p, d in pairs]  # ......... 2
        strong = [source_into_target(s, d.target, p.learned, d) for s, _, p, d in pairs]
        said = self._say([mixed.image for mixed in weak])
        sure = self.config.confidence
        taught = [as_pasted(s, p, d) for s, _, p, d in pairs] if self.config.edges else said
        t2s = [  # ............................................................................... 3
            target_into_source(s, mixed, one, d, confidence=sure)
            for (s, _, _, d), mixed, one in zip(pairs, strong, taught, strict=True)
        ]
        return Views(
            source=source,
            target=target,
            pixel_labels=labels,
            class_mixed={"s2t": tuple(strong), "t2s": tuple(t2s), "s2t_weak": tuple(weak)},
            class_maps=tuple(
                known_classes(s, one, d, confidence=sure)
                for (s, _, _, d), one in zip(pairs, said, strict=True)
            ),
            facts={"pixel_threshold": sure},
        )

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do lines 4 to 8."""
        del step
        context, config = self.context, self.config
        source = sample_view("source", views.source, context.task)
        yield from view_losses([source], context=context, joint=False)  # ........................ 4
        weak, strong = (self._forward(views.class_mixed[name]) for name in ("s2t_weak", "s2t"))
        yield from self._mixed_losses("s2t", views, strong, weight=config.s2t_weight)  # ......... 5
        if strong.aux:
            yield from self._agreed(views, weak, strong)
        if config.t2s_weight:
            t2s = self._forward(views.class_mixed["t2s"])
            yield from self._mixed_losses("t2s", views, t2s, weight=config.t2s_weight)  # ........ 6
        if config.position_weight:
            contrast = position_contrast(weak.logits, strong.logits)  # .......................... 7
            yield LossTerm("contrast/positions", contrast, config.position_weight)
        if config.prototype_weight:
            contrast = prototype_contrast(weak.logits, strong.logits, views.class_maps)  # ....... 8
            yield LossTerm("contrast/classes", contrast, config.prototype_weight)

    def _say(self, images: Sequence[Tensor]) -> tuple[PixelLabels, ...]:
        """Return what the student says of images, in training mode as it is."""
        student = self.context.student
        return pixel_labels(self.context.infer(student, torch.stack(tuple(images))))

    def _forward(self, mixed: Sequence[ClassMixed]) -> SemanticPrediction:
        return self.context.forward(torch.stack([one.image for one in mixed]))

    def _mixed_losses(
        self, name: str, views: Views, prediction: SemanticPrediction, *, weight: float
    ) -> Iterator[LossTerm]:
        """Yield the cross-entropy of the main head, and what edges add if asked for."""
        mixed, main = views.class_mixed[name], replace(prediction, aux=())
        whole = [one.semantic for one in mixed]
        asked = [(name, weight, whole, main)]
        if self.config.edges:
            rims = [at_borders(one) for one in mixed]
            weight *= _EDGE_SHARE[name]
            asked.append((f"{name}_edges", weight, rims, main))
            title, maps = (f"{name}_edges", rims) if name == "s2t" else (name, whole)
            asked += [
                (f"{title}_aux{number}", weight * head.weight, maps, head.prediction)
                for number, head in enumerate(prediction.aux)
            ]
        for title, counts, maps, head in asked:
            view = _view(title, counts, mixed, maps)
            yield from prediction_losses([view], [head], context=self.context)

    def _agreed(
        self, views: Views, weak: SemanticPrediction, strong: SemanticPrediction
    ) -> Iterator[LossTerm]:
        """Yield what the auxiliary heads learn: what all heads together say of the weak view."""
        heads = [weak, *(head.prediction for head in weak.aux)]
        together = torch.stack([head.at_pixels().detach().softmax(1) for head in heads]).mean(0)
        maps = [SemanticMap(ids) for ids in together.argmax(1).to(torch.uint8)]
        mixed = views.class_mixed["s2t"]
        for number, head in enumerate(strong.aux):
            weight = self.config.s2t_weight * head.weight
            view = _view(f"s2t_aux{number}", weight, mixed, maps)
            yield from prediction_losses([view], [head.prediction], context=self.context)

    def after_update(self, step: int) -> None:
        """Do line 9."""
        del step
        self.average.update(self.context.student, self.updates)
        self.updates += 1

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return what the pseudo-labels are of."""
        return pixel_figures(views)

    def state_dict(self) -> dict[str, Any]:
        """Return the update count."""
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.updates = state["updates"]


# What edges add counts beside the whole, by direction (the authors' later code).
_EDGE_SHARE: Mapping[str, float] = {"s2t": 1.0, "t2s": 0.1}


def _view(
    name: str, weight: float, mixed: Sequence[ClassMixed], maps: Sequence[SemanticMap]
) -> StudentView:
    return StudentView(name, weight, [one.image for one in mixed], list(maps))


class EHTDIConfig(MethodConfig):
    """EHTDI. Defaults are those of the authors' code for GTA5."""

    name: Literal["ehtdi"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="ehtdi",
        description="Class mixing both ways, with contrast between two views.",
    )
    ema_decay: EmaDecay = 0.999
    confidence: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="A pixel surer than this is pasted into the source (EHTDI: 0.95).",
    )
    edges: bool = Field(
        default=False,
        description="Count the rims of what is pasted once more (the authors' later variant).",
    )
    s2t_weight: float = Field(
        default=0.1, ge=0, le=10, description="Of the loss on source classes pasted into target."
    )
    t2s_weight: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="Of the loss on sure target pixels pasted into source.",
    )
    position_weight: float = Field(
        default=0.01,
        ge=0,
        le=10,
        description="Of the contrast of positions (EHTDI: 0.01, of SYNTHIA 0.008).",
    )
    prototype_weight: float = Field(
        default=0.01,
        ge=0,
        le=10,
        description="Of the contrast of classes (EHTDI: 0.01, of SYNTHIA 0.008).",
    )
    views: TwoViewsConfig = Field(default_factory=TwoViewsConfig, description="The strong views.")

    def student_images(self, batch_size: int) -> int:
        """Return four images a pair: source, two mixed into target, one into source."""
        return batch_size * (3 + bool(self.t2s_weight))


SPEC = MethodSpec(
    EHTDI,
    EHTDIConfig,
    tasks=frozenset({"semantic"}),
    stage1="source_only",
    stage1_settings={"lab_alignment": False},
    networks=("student", "teacher"),
)
