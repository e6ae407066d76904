"""Mask2Former's loss: bipartite matching, then class, mask and dice terms on all decoder layers.

Equal to the library's `Mask2FormerLoss` on the same points (see `tests/models/test_criterion.py`),
but built for fixed-size id maps on a device: no mask is materialised, all layers, images and views
are matched with one device-to-host transfer, and empty slots cost nothing.

Reference: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, sec. 3.3 and the authors'
`criterion.py` and `matcher.py`. Departures: matching points are drawn once an image instead of once
an image and layer; points that touch an ignore pixel have weight 0 (the original has no ignore).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce, get_world_size, is_available, is_initialized
from torch.nn import functional as F

from uda4inst.classes import NUM_THINGS
from uda4inst.models.matching import Match, assign
from uda4inst.models.points import neighbours, sample_logits
from uda4inst.models.prediction import Prediction
from uda4inst.structures import IGNORE_ID, InstanceMap, Size

View = tuple[Prediction, Sequence[InstanceMap]]


@dataclass(frozen=True, slots=True, eq=False)
class CriterionLosses:
    """The three terms of one view, unweighted, summed over the layers."""

    class_loss: Float32[Tensor, ""]
    mask_loss: Float32[Tensor, ""]
    dice_loss: Float32[Tensor, ""]
    total: Float32[Tensor, ""]


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """The id maps of one view, padded to the same number of slots.

    `table[b, id + 1]` would be the slot of an id; slots are `id - 1`, so only three kinds of id
    matter: ignore (-1), background (0, and every empty slot) and the slots themselves.
    """

    ids: Int64[Tensor, "B HW"]
    labels: Int64[Tensor, "B N"]
    alive: Bool[Tensor, "B N"]
    size: Size


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
        self, views: Sequence[View], *, generator: torch.Generator | None = None
    ) -> list[CriterionLosses]:
        """Return the losses of several views, each normalised on its own, with one host sync.

        Args:
            views: predictions with the id maps of their images. Slots with label -1 or without
                pixels are not matched; maps may be empty.
            generator: draws the points, on the predictions' device.

        Returns:
            One result per view. Zero instances give a finite loss with gradients. Non-finite
            logits give a non-finite loss, not an error.

        Raises:
            ValueError: a view has another number of targets than images, or sizes differ.
        """
        with torch.autocast(views[0][0].class_logits.device.type, enabled=False):
            prepared = [_pack(prediction, targets) for prediction, targets in views]
            with torch.no_grad():
                counts = _mean_over_processes(torch.stack([t.alive.sum() for t in prepared]))
                costs = [
                    self._costs(prediction, targets, generator)
                    for (prediction, _), targets in zip(views, prepared, strict=True)
                ]
                matches = assign(costs, [targets.alive for targets in prepared])
            return [
                self._losses(view[0], targets, match, count, generator)
                for view, targets, match, count in zip(
                    views, prepared, matches, counts.unbind(), strict=True
                )
            ]

    def _costs(
        self, prediction: Prediction, targets: _Targets, generator: torch.Generator | None
    ) -> Float32[Tensor, "L B Q N"]:
        """Return the matching costs of every layer, image, query and slot."""
        logits = prediction.mask_logits
        layers, images, queries = logits.shape[:3]
        points = _random((images, self.num_points, 2), logits.device, generator)
        truth, valid = _truth_per_slot(points, targets, prediction.padded_size)
        values = sample_logits(
            logits.flatten(0, 1), points.expand(layers, -1, -1, -1).flatten(0, 1)
        ).view(layers, images, queries, -1)
        # cross-entropy of logit x and target t is softplus(x) - x t: one product instead of two
        share = valid / valid.sum(-1, keepdim=True).clamp(min=1)
        cross_entropy = (F.softplus(values) * share[:, None]).sum(-1, keepdim=True)
        cross_entropy = cross_entropy - torch.matmul(values * share[:, None], truth)
        inside = values.sigmoid() * valid[:, None]
        overlap = 2 * torch.matmul(inside, truth)
        total = inside.sum(-1, keepdim=True) + (truth * valid[..., None]).sum(-2)[:, None]
        dice = 1 - (overlap + 1) / (total + 1)
        probability = prediction.class_logits.float().softmax(-1)
        wanted = targets.labels.clamp(min=0)[None, :, None].expand(layers, -1, queries, -1)
        return (
            self.mask_weight * cross_entropy
            + self.dice_weight * dice
            - self.class_weight * probability.gather(-1, wanted)
        )

    def _losses(
        self,
        prediction: Prediction,
        targets: _Targets,
        match: Match,
        count: Float32[Tensor, ""],
        generator: torch.Generator | None,
    ) -> CriterionLosses:
        """Return the three terms of one view."""
        class_loss = self._class_loss(prediction, targets, match)
        logits = prediction.mask_logits[match.layer, match.image, match.query].float()
        with torch.no_grad():
            points = self._uncertain_points(logits, generator)
            truth, valid = _truth_per_mask(points, targets, match, prediction.padded_size)
        values = sample_logits(logits[:, None], points)[:, 0]
        per_point = F.binary_cross_entropy_with_logits(values, truth, reduction="none")
        per_mask = (per_point * valid).sum(-1) / valid.sum(-1).clamp(min=1)
        inside, truth = values.sigmoid() * valid, truth * valid
        overlap = 2 * (inside * truth).sum(-1)
        dice = 1 - (overlap + 1) / (inside.sum(-1) + truth.sum(-1) + 1)
        # with nothing matched both sums are 0 but still depend on the mask logits
        anchor = prediction.mask_logits.sum() * 0 if len(match) == 0 else 0.0
        mask_loss = per_mask.sum() / count + anchor
        dice_loss = dice.sum() / count + anchor
        total = (
            self.class_weight * class_loss
            + self.mask_weight * mask_loss
            + self.dice_weight * dice_loss
        )
        return CriterionLosses(class_loss, mask_loss, dice_loss, total)

    def _class_loss(
        self, prediction: Prediction, targets: _Targets, match: Match
    ) -> Float32[Tensor, ""]:
        """Return the weighted cross-entropy, a mean per layer, summed over the layers."""
        logits = prediction.class_logits.float()
        wanted = torch.full(
            logits.shape[:-1], self.num_classes, dtype=torch.int64, device=logits.device
        )
        wanted[match.layer, match.image, match.query] = targets.labels[match.image, match.slot]
        weight = self._class_weights[wanted]
        surprise = -logits.log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
        return ((surprise * weight).sum((1, 2)) / weight.sum((1, 2))).sum()

    def _uncertain_points(
        self, logits: Float32[Tensor, "K h w"], generator: torch.Generator | None
    ) -> Float32[Tensor, "K P 2"]:
        """Draw points per mask, most of them where the logit is nearest to 0 (PointRend)."""
        masks = len(logits)
        candidates = _random(
            (masks, int(self.num_points * self.oversample_ratio), 2), logits.device, generator
        )
        certain = sample_logits(logits[:, None], candidates)[:, 0].abs()
        uncertain = int(self.importance_ratio * self.num_points)
        chosen = certain.topk(uncertain, dim=1, largest=False, sorted=False).indices
        picked = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        rest = _random((masks, self.num_points - uncertain, 2), logits.device, generator)
        return torch.cat([picked, rest], dim=1)


def _random(
    shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw points uniformly from the unit square."""
    return torch.rand(shape, device=device, generator=generator)


def _pack(prediction: Prediction, targets: Sequence[InstanceMap]) -> _Targets:
    """Stack the id maps of one view and pad their slots with empty ones."""
    if len(targets) != len(prediction):
        raise ValueError(
            f"targets must number {len(prediction)}, one per image, got {len(targets)}."
        )
    sizes = {target.size for target in targets}
    if sizes != {prediction.size}:
        raise ValueError(f"targets must have the images' size {prediction.size}, got {sizes}.")
    slots = max(len(target) for target in targets)
    labels = torch.stack(
        [F.pad(target.labels, (0, slots - len(target)), value=-1) for target in targets]
    )
    ids = torch.stack([target.ids for target in targets]).flatten(1).long()
    owned = torch.zeros((len(targets), slots + 2), dtype=torch.bool, device=ids.device)
    owned.scatter_(1, ids - IGNORE_ID, True)
    return _Targets(ids, labels, owned[:, 2:] & (labels >= 0), prediction.size)


def _truth_per_slot(
    points: Float32[Tensor, "B P 2"], targets: _Targets, padded: Size
) -> tuple[Float32[Tensor, "B P N"], Float32[Tensor, "B P"]]:
    """Return every slot's mask at the points of its image, and 0 where a point is ignored."""
    near = neighbours(points, targets.size, padded)
    images, count = points.shape[:2]
    ids = targets.ids.gather(1, near.index.flatten(1)).view(images, count, 4)
    shares = near.weight.new_zeros((images, count, targets.labels.shape[1] + 2))
    shares.scatter_add_(2, ids - IGNORE_ID, near.weight)
    return shares[..., 2:], (shares[..., 0] == 0).float()


def _truth_per_mask(
    points: Float32[Tensor, "K P 2"], targets: _Targets, match: Match, padded: Size
) -> tuple[Float32[Tensor, "K P"], Float32[Tensor, "K P"]]:
    """Return each matched slot's mask at its own points, and 0 where a point is ignored."""
    near = neighbours(points, targets.size, padded)
    pixels = targets.ids.shape[1]
    flat = near.index + (match.image * pixels)[:, None, None]
    ids = targets.ids.flatten().take(flat)
    truth = (near.weight * (ids == (match.slot + 1)[:, None, None])).sum(-1)
    ignored = (near.weight * (ids == IGNORE_ID)).sum(-1)
    return truth, (ignored == 0).float()


def _mean_over_processes(counts: Int64[Tensor, " V"]) -> Float32[Tensor, " V"]:
    """Return masks per process, at least 1: the library's normalisation, one collective."""
    totals = counts.float()
    if is_available() and is_initialized():
        all_reduce(totals, op=ReduceOp.SUM)
        totals = totals / get_world_size()
    return totals.clamp(min=1)
