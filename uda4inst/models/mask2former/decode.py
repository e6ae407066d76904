"""From predictions to scored detections, on the device, masks at the image's own size.

The library's post-processing resizes every mask through a fixed 384x384, which ruins thin objects
and 2:1 images; here a mask is upsampled bilinearly to the padded image and cropped.

Reference: the authors' `maskformer_model.py`, `instance_inference`: top 100 over (query, class),
mask = logit > 0, score = class probability x mean mask probability over the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from uda4inst.detections import Detections
from uda4inst.models.mask2former.prediction import MASK_STRIDE, Prediction
from uda4inst.structures import Size

# Pixels upsampled at once. A GPU wants large pieces: two float32 temporaries of 16 Mi pixels are
# 128 MiB, little beside a forward pass at 1024x2048. On a CPU 4 MiB stay in the cache.
_CHUNK_PIXELS: Final = {"cpu": 2**20}
_CHUNK_PIXELS_ON_DEVICE: Final = 2**24


@torch.no_grad()
def decode(prediction: Prediction, *, top_k: int = 100) -> list[Detections]:
    """Return the best detections of every image, best score first, without a host sync.

    One query can be detected as several classes; its mask is made and scored once, and the masks
    of queries that are not detected are not made at all. A detection whose mask is empty has mask
    score 0. Overlaps are not resolved.

    Args:
        prediction: all layers or the final one; the last is decoded.
        top_k: detections per image (100, the authors' `test_topk_per_image`), or as many as there
            are (query, class) pairs if these are fewer.

    Returns:
        One `Detections` per image, with logits and masks; nothing of the prediction is held.
    """
    class_logits, mask_logits = prediction.class_logits[-1], prediction.mask_logits[-1]
    with torch.autocast(class_logits.device.type, enabled=False):
        probability = class_logits.float().softmax(-1)[..., :-1]
        classes = probability.shape[-1]
        pairs = probability.flatten(1)
        class_scores, pair = pairs.topk(min(top_k, pairs.shape[1]), dim=1)
        detected, query = _detected(pair.div(classes, rounding_mode="floor"), mask_logits.shape[1])
        logits = mask_logits[torch.arange(len(prediction), device=query.device)[:, None], detected]
        logits = logits.float()
        masks, mask_scores = _scored(logits.flatten(0, 1), prediction.size)
        mask_scores = mask_scores.view(detected.shape).gather(1, query)
        order = (class_scores * mask_scores).argsort(dim=1, descending=True, stable=True)
        columns = ((pair % classes), class_scores, mask_scores, query)
        labels, class_scores, mask_scores, query = (c.gather(1, order) for c in columns)
        masks = masks.unflatten(0, detected.shape)
    return [
        Detections(
            labels=labels[image],
            class_scores=class_scores[image],
            mask_scores=mask_scores[image],
            size=prediction.size,
            mask_logits=logits[image],
            query=query[image],
            masks=masks[image],
        )
        for image in range(len(prediction))
    ]


@torch.no_grad()
def with_masks(detections: Detections) -> Detections:
    """Return the detections with full-size masks (logit > 0 after upsampling)."""
    if detections.masks is not None:
        return detections
    logits = detections.mask_logits
    assert logits is not None  # Detections has one of the two
    masks = torch.empty((len(logits), *detections.size), dtype=torch.bool, device=logits.device)
    for part, inside in _chunks(logits, masks):
        torch.gt(upsample(part, detections.size), 0, out=inside)
    return replace(detections, masks=masks)


def full_masks(detections: Detections) -> Bool[Tensor, "N H W"]:
    """Return every detection's mask at the image's own size."""
    masks, query = with_masks(detections).masks, detections.query
    assert masks is not None
    return masks if query is None else masks[query]


def upsample(logits: Float[Tensor, "K h w"], size: Size) -> Float32[Tensor, "K H W"]:
    """Return mask logits at the image's own size: bilinear to the padded image, then cropped."""
    padded = (logits.shape[-2] * MASK_STRIDE, logits.shape[-1] * MASK_STRIDE)
    full = F.interpolate(logits[None].float(), size=padded, mode="bilinear", align_corners=False)
    return full[0, :, : size[0], : size[1]]


def _detected(
    query: Int64[Tensor, "B N"], queries: int
) -> tuple[Int64[Tensor, "B M"], Int64[Tensor, "B N"]]:
    """Return the queries that are detected, as many as there can be, and each detection's place.

    Those that are come first, in order; how many they are is not known on the host, so the rest
    of the places goes to others.
    """
    used = torch.zeros((len(query), queries), dtype=torch.uint8, device=query.device)
    used.scatter_(1, query, 1)
    places = used.cumsum(1).sub_(1).gather(1, query)
    detected = used.argsort(dim=1, descending=True, stable=True)
    return detected[:, : min(queries, query.shape[1])], places


def _scored(
    logits: Float32[Tensor, "M h w"], size: Size
) -> tuple[Bool[Tensor, "M H W"], Float32[Tensor, " M"]]:
    """Return masks, and the mean probability over the pixels of each, 0 where it has none."""
    masks = torch.empty((len(logits), *size), dtype=torch.bool, device=logits.device)
    scores: list[Tensor] = []
    for part, inside in _chunks(logits, masks):
        full = upsample(part, size)
        torch.gt(full, 0, out=inside)
        mass = full.sigmoid_().mul_(inside).sum((1, 2))
        scores.append(mass / inside.sum((1, 2)).clamp(min=1))
    return masks, torch.cat([*scores, logits.new_zeros(0)])


def _chunks(
    logits: Float32[Tensor, "M h w"], masks: Bool[Tensor, "M H W"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and their masks, some at a time: upsampled, these stay in the memory bound."""
    limit = _CHUNK_PIXELS.get(logits.device.type, _CHUNK_PIXELS_ON_DEVICE)
    count = max(1, limit // (masks.shape[1] * masks.shape[2]))
    for start in range(0, len(masks), count):
        yield logits[start : start + count], masks[start : start + count]
