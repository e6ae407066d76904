"""Mask2Former's loss: bipartite matching, then class, mask and dice terms on all decoder layers.

Equal to the library's `Mask2FormerLoss` on the same points (its tests hold it to that), but built
for fixed-size id maps on a device: no mask is materialised, all layers, images and views are
matched with one device-to-host transfer, and empty slots cost nothing.

Reference: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, sec. 3.3 and the authors'
`criterion.py` and `matcher.py`. Departures, all in which points are looked at: matching points are
drawn once an image, not once an image and layer; the candidates of importance sampling are drawn
once a view, not once a mask (each mask still chooses its own); points that touch an ignore pixel
have weight 0, and so has the class term of an unmatched query whose mask lies mostly on ignored
pixels, as it may be right (the original has no ignore).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce, get_world_size, is_available, is_initialized
from torch.nn import functional as F

from uda4inst.classes import NUM_THINGS
from uda4inst.models.mask2former.mask_loss import (
    MaskTargets,
    PointPool,
    mask_losses,
    mask_losses_at,
)
from uda4inst.models.mask2former.matching import Match, assign
from uda4inst.models.mask2former.points import (
    pixels_at,
    random_points,
    sample_logits,
    sample_slots,
)
from uda4inst.models.mask2former.prediction import (
    MASK_STRIDE,
    MaskLogits,
    MaskProducts,
    Prediction,
)
from uda4inst.models.mask2former.targets import SlotWeights, Targets, Where, pack
from uda4inst.structures import IGNORE_ID, InstanceMap

View = tuple[Prediction, Sequence[InstanceMap]]


@dataclass(frozen=True, slots=True, eq=False)
class CriterionLosses:
    """The three terms of one view, unweighted, summed over the layers."""

    class_loss: Float32[Tensor, ""]
    mask_loss: Float32[Tensor, ""]
    dice_loss: Float32[Tensor, ""]
    total: Float32[Tensor, ""]


class Criterion(nn.Module):
    """The loss of Mask2Former over id maps.

    Args:
        num_classes: thing classes; class logits have one more, "no object".
        class_weight: weight of the class term, in matching and loss (2, Mask2Former).
        mask_weight: weight of the binary cross-entropy (5, Mask2Former).
        dice_weight: weight of the dice term (5, Mask2Former).
        no_object_weight: weight of "no object" in the class term (0.1, Mask2Former).
        num_points: points per image in matching and per mask in the loss (12,544 = 112x112,
            Mask2Former). A 128x256 image has 2,048 mask-logit cells, so far fewer do there.
        oversample_ratio: candidates per point (3, PointRend).
        importance_ratio: share of points taken where the mask is least certain (.75, PointRend).

    Example:
        >>> losses = Criterion(num_points=64)(prediction, targets)  # doctest: +SKIP
        >>> losses.total.backward()  # doctest: +SKIP
    """

    _class_weights: Tensor

    def __init__(
        self,
        num_classes: int = NUM_THINGS,
        class_weight: float = 2.0,
        *,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        weights = torch.ones(num_classes + 1)
        weights[-1] = no_object_weight
        self.register_buffer("_class_weights", weights, persistent=False)

    def forward(
        self,
        prediction: Prediction,
        targets: Sequence[InstanceMap],
        *,
        generator: torch.Generator | None = None,
    ) -> CriterionLosses:
        """Return the losses of one view; see `many`."""
        return self.many([(prediction, targets)], generator=generator)[0]

    def many(
        self,
        views: Sequence[View],
        *,
        slot_weights: Sequence[SlotWeights | None] | None = None,
        mask_scales: Sequence[SlotWeights | None] | None = None,
        candidates: Sequence[Where | None] | None = None,
        generator: torch.Generator | None = None,
    ) -> list[CriterionLosses]:
        """Return the losses of several views, each normalised on its own, with one host sync.

        Args:
            views: predictions with the id maps of their images. Slots with label -1 or without
                pixels are not matched; maps may be empty.
            slot_weights: per view, None or a weight for every slot of every map: what the matched
                slot adds to each term is multiplied by it, while the terms are normalised as if
                it were 1. None: all of them 1.
            mask_scales: per view, None or a factor in [0, 1] for every slot of every map: what the
                matched slot adds to mask and dice term is multiplied by it, and the sum of these
                factors takes the place of the number of masks in the normalisation (at least 1,
                as that is). None: all of them 1.
            candidates: per view, None or, for every image, the pixels where the points that a
                mask is least certain of are looked for; points drawn at random are not asked.
                Where too few candidates lie there, fewer points count. None: everywhere.
            generator: draws the points, on the predictions' device.

        Returns:
            One result per view. Zero instances give a finite loss with gradients. Non-finite
            logits give a non-finite loss, not an error.

        Raises:
            ValueError: a view has another number of targets, weights, scales or candidates than
                images, or sizes differ.
        """
        nothing = [None] * len(views)
        given = slot_weights or nothing, mask_scales or nothing, candidates or nothing
        with torch.autocast(views[0][0].class_logits.device.type, enabled=False):
            prepared = [pack(*view, *rest) for view, *rest in zip(views, *given, strict=True)]
            with torch.no_grad():
                counts = _mean_over_processes(torch.stack([t.count() for t in prepared]))
                costs = [
                    self._costs(prediction, targets, generator)
                    for (prediction, _), targets in zip(views, prepared, strict=True)
                ]
                matches = assign(costs, [t.alive for t in prepared], [t.ignores for t in prepared])
            return [
                self._losses(view[0], targets, match, count, generator)
                for view, targets, match, count in zip(
                    views, prepared, matches, counts.unbind(), strict=True
                )
            ]

    def _costs(
        self, prediction: Prediction, targets: Targets, generator: torch.Generator | None
    ) -> Float32[Tensor, "L B Q N"]:
        """Return the matching costs of every layer, image, query and slot."""
        points = random_points(
            len(prediction),
            self.num_points,
            device=prediction.class_logits.device,
            generator=generator,
        )
        truth, valid = _truth_at(points, targets, prediction)
        share = (valid / valid.sum(-1, keepdim=True).clamp(min=1))[:, None]
        truth_share, valid = truth * share, valid[:, None]
        truth = truth * valid
        costs: list[Tensor] = []
        for class_logits, values in zip(  # layer by layer, which bounds the memory
            prediction.class_logits, _logits_at(points, prediction.mask_logits), strict=True
        ):
            # cross-entropy of logit x and target t is softplus(x) - x t: one product, not two
            cross_entropy = F.softplus(values) @ share.mT - values @ truth_share.mT
            inside = values.sigmoid()
            area = inside @ valid.mT + truth.sum(-1)[:, None]
            dice = 1 - (2 * (inside @ truth.mT) + 1) / (area + 1)
            probability = class_logits.float().softmax(-1)
            wanted = targets.labels.clamp(min=0)[:, None].expand(-1, probability.shape[1], -1)
            costs.append(
                self.mask_weight * cross_entropy
                + self.dice_weight * dice
                - self.class_weight * probability.gather(-1, wanted)
            )
        return torch.stack(costs)

    def _losses(
        self,
        prediction: Prediction,
        targets: Targets,
        match: Match,
        count: Float32[Tensor, ""],
        generator: torch.Generator | None,
    ) -> CriterionLosses:
        """Return the three terms of one view."""
        class_loss = self._class_loss(prediction, targets, match)
        if len(match) > 0:
            sums = self._mask_losses(prediction, targets, match, generator)
        else:  # 0, and yet a function of the mask logits: every parameter gets a gradient
            masks = prediction.mask_logits
            parts = (masks.embeddings, masks.features) if isinstance(masks, MaskProducts) else masks
            everything = torch.stack([part.float().sum() for part in parts])
            sums = everything.sum() * torch.zeros_like(count).expand(2)
        mask_loss, dice_loss = (sums / count).unbind()
        total = (
            self.class_weight * class_loss
            + self.mask_weight * mask_loss
            + self.dice_weight * dice_loss
        )
        return CriterionLosses(class_loss, mask_loss, dice_loss, total)

    def _mask_losses(
        self,
        prediction: Prediction,
        targets: Targets,
        match: Match,
        generator: torch.Generator | None,
    ) -> Float32[Tensor, " 2"]:
        """Return cross-entropy and dice of the matched masks, summed over them."""
        with torch.no_grad():
            pool = PointPool.draw(
                self.num_points,
                oversample_ratio=self.oversample_ratio,
                importance_ratio=self.importance_ratio,
                device=prediction.class_logits.device,
                generator=generator,
            )
            points = pool.points.expand(len(prediction), -1, -1)
            truth, valid = _truth_at(points, targets, prediction)
            allowed = _candidates_at(points[:, : pool.candidates], targets, prediction)
            if allowed is not None:
                at_random = len(pool.points) - pool.candidates
                valid = valid * F.pad(allowed, (0, at_random), value=True)
        wanted = MaskTargets(
            truth=truth.flatten(0, 1),
            valid=valid if match.ignores or allowed is not None else None,
            row=match.image * truth.shape[1] + match.slot,
            image=match.image,
            weight=targets.mask_weights(match),
            allowed=allowed,
        )
        masks = prediction.mask_logits
        if isinstance(masks, MaskProducts):
            return mask_losses_at(_matched_at(points, masks, match), pool, wanted)
        return mask_losses(_matched(masks, match).float(), pool, wanted)

    def _class_loss(
        self, prediction: Prediction, targets: Targets, match: Match
    ) -> Float32[Tensor, ""]:
        """Return the weighted cross-entropy, a mean per layer, summed over the layers."""
        logits = prediction.class_logits.float()
        wanted = torch.full(
            logits.shape[:-1], self.num_classes, dtype=torch.int64, device=logits.device
        )
        wanted[match.layer, match.image, match.query] = targets.labels[match.image, match.slot]
        weight = self._class_weights[wanted]
        if match.ignores:
            unmatched = wanted == self.num_classes
            weight = weight.masked_fill(unmatched & _mostly_ignored(prediction, targets), 0.0)
        surprise = -logits.log_softmax(-1).gather(-1, wanted[..., None])[..., 0] * weight
        if targets.weights is not None:
            trust = torch.ones_like(weight)
            trust[match.layer, match.image, match.query] = targets.weights[match.image, match.slot]
            surprise = surprise * trust
        # every query of a layer may lie on ignored pixels
        total = weight.sum((1, 2)).clamp(min=torch.finfo(weight.dtype).tiny)
        return (surprise.sum((1, 2)) / total).sum()


@torch.no_grad()
def _mostly_ignored(prediction: Prediction, targets: Targets) -> Bool[Tensor, "L B Q"]:
    """Return which queries have more than half of their mask's area on ignored pixels.

    Each layer's own masks (logit > 0), at the resolution of the logits. Padding does not count.
    """
    height, width = targets.size
    ignored = (targets.ids == IGNORE_ID).view(-1, height, width)
    padding = (0, prediction.padded_size[1] - width, 0, prediction.padded_size[0] - height)
    pixels = F.pad(torch.stack([ignored, torch.ones_like(ignored)], dim=1).float(), padding)
    ignored, alive = F.avg_pool2d(pixels, MASK_STRIDE).flatten(2).unbind(1)  # of every mask cell
    # summed over a mask: above 0 where more than half is lost; sixteenths, so exact in bf16 too
    balance = (2 * ignored - alive)[:, :, None]
    found: list[Tensor] = []
    for logits in prediction.mask_logits:  # layer by layer, which bounds the memory
        inside = torch.gt(logits, 0, out=torch.empty_like(logits)).flatten(2)
        found.append((inside @ balance.to(inside.dtype))[..., 0] > 0)
    return torch.stack(found)


def _logits_at(
    points: Float32[Tensor, "B P 2"], masks: MaskLogits
) -> Iterator[Float32[Tensor, "B Q P"]]:
    """Yield every layer's logits at points that all queries of an image share."""
    if isinstance(masks, MaskProducts):
        features = masks.features_at(points)
        yield from (embeddings.float() @ features for embeddings in masks.embeddings)
    else:
        yield from (sample_logits(layer.float(), points) for layer in masks)


def _matched(masks: Sequence[Float[Tensor, "B Q h w"]], match: Match) -> Float[Tensor, "K h w"]:
    """Return the mask logits of the matched pairs."""
    images, queries = match.image.split(match.counts), match.query.split(match.counts)
    layers = zip(masks, images, queries, strict=True)
    return torch.cat([layer[image, query] for layer, image, query in layers])


def _matched_at(
    points: Float32[Tensor, "B P 2"], masks: MaskProducts, match: Match
) -> Float32[Tensor, "K P"]:
    """Return the logits of the matched pairs at points that all masks of an image share."""
    matched = masks.embeddings[match.layer, match.image, match.query].float()
    where = match.image, match.rank  # image by image, for one product each
    rows = matched.new_zeros((len(points), match.most, matched.shape[1])).index_put(where, matched)
    return (rows @ masks.features_at(points))[where]


def _truth_at(
    points: Float32[Tensor, "B P 2"], targets: Targets, prediction: Prediction
) -> tuple[Float32[Tensor, "B N P"], Float32[Tensor, "B P"]]:
    """Return every slot's mask at points of its image, and 0 where a point is ignored."""
    return sample_slots(
        targets.ids,
        points,
        slots=targets.labels.shape[1],
        size=targets.size,
        padded=prediction.padded_size,
    )


def _candidates_at(
    points: Float32[Tensor, "B P 2"], targets: Targets, prediction: Prediction
) -> Bool[Tensor, "B P"] | None:
    """Return which points of an image lie where candidates are looked for; None: everywhere."""
    if targets.candidates is None:
        return None
    where, padded = targets.candidates, prediction.padded_size
    return pixels_at(where, points, size=targets.size, padded=padded)


def _mean_over_processes(counts: Tensor) -> Float32[Tensor, " V"]:
    """Return masks per process, at least 1: the library's normalisation, one collective."""
    totals = counts.float()
    if is_available() and is_initialized():
        all_reduce(totals, op=ReduceOp.SUM)
        totals = totals / get_world_size()
    return totals.clamp(min=1)
