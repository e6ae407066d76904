"""From predictions to scored detections, on the device, masks at the image's own size.

The library's post-processing resizes every mask through a fixed 384x384, which ruins thin objects
and 2:1 images; here a mask is upsampled bilinearly to the padded image and cropped.

Reference: the authors' `maskformer_model.py`, `instance_inference`: top 100 over (query, class),
mask = logit > 0, score = class probability x mean mask probability over the mask.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional as F

from uda4inst.models.mask2former.prediction import MASK_STRIDE, Prediction
from uda4inst.structures import Detections, Size

# Pixels upsampled at once. A GPU wants large pieces: two float32 temporaries of 16 Mi pixels are
# 128 MiB, little beside a forward pass at 1024x2048. On a CPU 4 MiB stay in the cache.
_CHUNK_PIXELS: Final = {"cpu": 2**20}
_CHUNK_PIXELS_ON_DEVICE: Final = 2**24


@torch.no_grad()
def decode(prediction: Prediction, *, top_k: int = 100) -> list[Detections]:
    """Return the best detections of every image, best score first, without a host sync.

    One query can be detected as several classes; its mask is kept and scored once. A detection
    whose mask is empty has mask score 0. Overlaps are not resolved.

    Args:
        prediction: all layers or the final one; the last is decoded.
        top_k: detections per image (100, the authors' `test_topk_per_image`), or as many as there
            are (query, class) pairs if these are fewer.

    Returns:
        One `Detections` per image, with mask logits and query indices.
    """
    class_logits, mask_logits = prediction.class_logits[-1], prediction.mask_logits[-1]
    with torch.autocast(class_logits.device.type, enabled=False):
        mask_logits = mask_logits.float()
        probability = class_logits.float().softmax(-1)[..., :-1]
        classes = probability.shape[-1]
        pairs = probability.flatten(1)
        class_scores, pair = pairs.topk(min(top_k, pairs.shape[1]), dim=1)
        query = pair.div(classes, rounding_mode="floor")
        mask_scores = _mask_scores(mask_logits, prediction.size).gather(1, query)
        order = (class_scores * mask_scores).argsort(dim=1, descending=True, stable=True)
        columns = ((pair % classes), class_scores, mask_scores, query)
        labels, class_scores, mask_scores, query = (c.gather(1, order) for c in columns)
    return [
        Detections(
            labels=labels[image],
            class_scores=class_scores[image],
            mask_scores=mask_scores[image],
            size=prediction.size,
            mask_logits=mask_logits[image],
            query=query[image],
        )
        for image in range(len(prediction))
    ]


@torch.no_grad()
def full_masks(detections: Detections) -> Bool[Tensor, "N H W"]:
    """Return the detections' masks at the image's own size (logit > 0 after upsampling)."""
    if detections.masks is not None:
        return detections.masks
    logits, query = detections.mask_logits, detections.query
    assert logits is not None  # Detections checks both
    assert query is not None
    if len(query) == 0:
        return torch.zeros((0, *detections.size), dtype=torch.bool, device=query.device)
    # never upsample a mask twice where there are fewer queries than detections
    shared = len(logits) <= len(query)
    chosen = logits if shared else logits[query]
    masks = torch.cat(
        [upsample(part, detections.size) > 0 for part in _chunks(chosen, detections.size)]
    )
    return masks[query] if shared else masks


def upsample(logits: Float[Tensor, "K h w"], size: Size) -> Float32[Tensor, "K H W"]:
    """Return mask logits at the image's own size: bilinear to the padded image, then cropped."""
    padded = (logits.shape[-2] * MASK_STRIDE, logits.shape[-1] * MASK_STRIDE)
    full = F.interpolate(logits[None].float(), size=padded, mode="bilinear", align_corners=False)
    return full[0, :, : size[0], : size[1]]


def _mask_scores(logits: Float32[Tensor, "B Q h w"], size: Size) -> Float32[Tensor, "B Q"]:
    """Return each query's mean probability over the pixels of its mask, 0 where it has none."""
    scores: list[Tensor] = []
    for part in _chunks(logits.flatten(0, 1), size):
        full = upsample(part, size)
        inside = full > 0
        mass = full.sigmoid_().mul_(inside).sum((1, 2))
        scores.append(mass / inside.sum((1, 2)).clamp(min=1))
    return torch.cat(scores).view(logits.shape[:2])


def _chunks(logits: Float32[Tensor, "K h w"], size: Size) -> tuple[Tensor, ...]:
    """Split maps so that a chunk, upsampled, stays within the memory bound."""
    limit = _CHUNK_PIXELS.get(logits.device.type, _CHUNK_PIXELS_ON_DEVICE)
    return logits.split(max(1, limit // (size[0] * size[1])))
