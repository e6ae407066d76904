"""A network that predicts what it is told to, and what tests of methods ask of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uda4inst.methods.base import Views
from uda4inst.methods.uda4inst import UDA4Inst
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.models.network import Network
from uda4inst.uda.mixing import Mixed

CAR = 2


class Painter(Network):
    """Predicts fixed masks, brighter images a little more surely: all a method needs of a network.

    Args:
        boxes: (top, left, bottom, right) in pixels, one query each.
        labels: thing index of each query.
        sureness: logit of every class and mask; 8 gives scores above 0.99.
    """

    def __init__(
        self,
        boxes: Sequence[tuple[int, int, int, int]] = ((0, 0, 16, 16),),
        labels: Sequence[int] = (CAR,),
        *,
        sureness: float = 8.0,
    ) -> None:
        super().__init__()
        classes, masks = torch.zeros(len(boxes), 9), torch.full((len(boxes), 8, 16), -1.0)
        for query, (top, left, bottom, right) in enumerate(boxes):
            classes[query, labels[query]] = 1.0
            masks[query, top // 4 : bottom // 4, left // 4 : right // 4] = 1.0
        self.classes = nn.Parameter(sureness * classes)
        self.masks = nn.Parameter(sureness * masks)
        self.mix = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.mix.weight, 0.1)
        self.sizes: list[int] = []

    @property
    def architecture(self) -> Mapping[str, Any]:
        return {"preset": "painter", "num_classes": 8}

    def forward(self, images: Tensor) -> Prediction:
        self.sizes.append(len(images))
        look = F.avg_pool2d(self.mix(images), 4)
        masks = self.masks + look
        classes = self.classes + look.mean((2, 3))[:, :, None] * self.classes
        return Prediction(
            torch.stack([classes / 2, classes]),
            (masks / 2, masks),
            (images.shape[-2], images.shape[-1]),
        )

    def features(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(self.mix(images), 4)


def painter_of(method: UDA4Inst) -> Painter:
    """Return the student of a method built around a painter."""
    student = method.context.student
    assert isinstance(student, Painter)
    return student


def made(mixed: Mixed | None) -> Mixed:
    """Return a mixed image that must be there."""
    assert mixed is not None
    return mixed


def mixed_of(views: Views, direction: str) -> tuple[Mixed, ...]:
    """Return the images of a direction in which every pair was mixed."""
    return tuple(made(mixed) for mixed in views.mixed[direction])
