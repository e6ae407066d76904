"""How sure the teacher is of every pixel, and what the loss makes of it.

Two label-free terms after MC-PanDA (arXiv 2407.14110), written from its description. Masks count by
the share of their pixels that the teacher is sure of, and pixels it is unsure of are no candidates
where the loss looks for the points a mask is least certain of.

The teacher of instances says nothing of background, so confidence is defined here. With class
probability c_k and mask probability m_k(p) of detection k, c_k m_k(p) is how much speaks for the
object at pixel p: the score of every other rule, before its mean over the mask. The confidence of
p is that of what the pseudo-labels say there,

    c_k m_k(p)             where p is pseudo-label k's
    1 - max_j c_j m_j(p)   where p is background, j over all detections of the classes learned
    1                      on the ego vehicle, where background is known

so a missed object is unsure background, the rim of a mask is unsure on both of its sides, and a
pixel's value is the larger the less its pseudo-label can be wrong. What comes from the source is
labelled: 1.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float16, Float32
from pydantic import Field
from torch import Tensor

from uda4inst.detections import Detections
from uda4inst.models.mask2former.decode import upsample
from uda4inst.settings import Settings
from uda4inst.structures import InstanceMap

# Pixels of mask probabilities at once: a GPU wants large pieces, a CPU's stay in its cache.
_CHUNK_PIXELS: Final = {"cpu": 2**20}
_CHUNK_PIXELS_ON_DEVICE: Final = 2**24


class ConfidenceConfig(Settings):
    """What the teacher's confidence in each pixel changes (after MC-PanDA, arXiv 2407.14110)."""

    mask_scaling: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Weigh mask and dice loss of a pseudo-label by the share of its pixels where "
        "the teacher's confidence exceeds this (MC-PanDA: 0.99). Empty: all alike (paper).",
    )
    point_filter: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Take no pixel where the teacher's confidence is less than this among the "
        "points a mask is least certain of (MC-PanDA: 0.8). Empty: take any (paper).",
    )

    @property
    def is_used(self) -> bool:
        """Whether confidence has to be known."""
        return self.mask_scaling is not None or self.point_filter is not None


@torch.no_grad()
def pixel_confidence(
    detections: Detections,
    pseudo_labels: InstanceMap,
    *,
    learned: Bool[Tensor, " C"],
    valid: Bool[Tensor, "H W"],
) -> Float16[Tensor, "H W"]:
    """Return how sure the teacher is of what the pseudo-labels say at each pixel, in [0, 1].

    See the module for what that is. Nothing is read back from the device.

    Args:
        detections: the teacher's, of one image, with logits.
        pseudo_labels: made of them; slot k is detection k.
        learned: which classes detections speak for objects of.
        valid: False on the ego vehicle.

    Returns:
        Rounded to the nearest float16, which near 1 is within 0.00025.
    """
    logits, query = detections.mask_logits, detections.query
    assert logits is not None, "the teacher's detections carry logits"
    if query is None:
        query = torch.arange(len(detections), device=logits.device)
    for_objects = torch.where(learned[detections.labels], detections.class_scores, 0.0)
    best = for_objects.new_zeros(len(logits)).scatter_reduce(0, query, for_objects, "amax")
    ids = pseudo_labels.ids.long()
    is_object = ids > 0
    slot = torch.where(is_object, ids - 1, len(detections))  # one more, for pixels of nobody
    stored = torch.cat([query, query.new_full((1,), -1)])[slot]
    own = torch.zeros(detections.size, device=logits.device)
    most = torch.zeros_like(own)
    limit = _CHUNK_PIXELS.get(logits.device.type, _CHUNK_PIXELS_ON_DEVICE)
    count = max(1, limit // max(1, own.numel()))
    for start in range(0, len(logits), count):
        inside = upsample(logits[start : start + count], detections.size).sigmoid_()
        place = stored - start
        is_here = (place >= 0) & (place < len(inside))
        here = inside.gather(0, place.clamp(0, len(inside) - 1)[None])[0]
        own = torch.where(is_here, here, own)
        speaks = inside.mul_(best[start : start + count, None, None]).amax(0)
        most = torch.maximum(most, speaks)
    class_score = torch.cat([detections.class_scores, own.new_zeros(1)])[slot]
    confidence = torch.where(is_object, class_score * own, 1 - most)
    return torch.where(valid, confidence, 1.0).half()


def confident_shares(
    instances: InstanceMap, confidence: Float16[Tensor, "H W"], *, above: float
) -> Float32[Tensor, " N"]:
    """Return the share of each slot's pixels whose confidence exceeds a value, 0 without pixels.

    Args:
        instances: of one image, pseudo-labels or others.
        confidence: of its pixels.
        above: in [0, 1).
    """
    slots = instances.ids.flatten().long() + 1  # ignore and background come first
    is_sure = (confidence.float() > above).flatten().long()
    pixels = slots.new_zeros(len(instances) + 2)
    areas = pixels.scatter_add(0, slots, torch.ones_like(slots))[2:]
    return pixels.scatter_add(0, slots, is_sure)[2:] / areas.clamp(min=1)


def confident_pixels(
    confidence: Float16[Tensor, "H W"], *, from_value: float
) -> Bool[Tensor, "H W"]:
    """Return where confidence is at least a value."""
    return confidence.float() >= from_value
