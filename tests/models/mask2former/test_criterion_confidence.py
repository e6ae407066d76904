"""Masks that are scaled, and points that are no candidates."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from uda4inst.models.mask2former import targets as targets_module
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.models.mask2former.mask_loss import MaskTargets, PointPool, mask_losses_at
from uda4inst.models.mask2former.points import pixels_at
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

SIZE = (64, 96)
POINTS = 200


@pytest.fixture(params=[{"cpu"}, set()], ids=["as on CPU", "as on GPU"])
def _compact_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "_COMPACT_ON", request.param)


def losses_of(
    prediction: Prediction,
    target: InstanceMap,
    *,
    weights: list[float] | None = None,
    scales: list[float] | None = None,
    candidates: Tensor | None = None,
    importance_ratio: float = 0.75,
) -> CriterionLosses:
    per_slot = [None if v is None else [torch.tensor(v)] for v in (weights, scales)]
    (losses,) = Criterion(num_points=POINTS, importance_ratio=importance_ratio).many(
        [(prediction, [target])],
        slot_weights=per_slot[:1],
        mask_scales=per_slot[1:],
        candidates=[None if candidates is None else [candidates]],
        generator=torch.Generator().manual_seed(3),
    )
    return losses


def flat_prediction(*logits: float) -> Prediction:
    """Return one layer of one image: a query for each constant mask, sure of its own class."""
    classes = 9.0 * torch.eye(9)[None, None, : len(logits)]
    masks = torch.tensor(logits)[None, None, :, None, None].expand(1, 1, -1, 16, 24)
    return Prediction(classes, masks.clone().requires_grad_().unbind(), SIZE)


def two_halves() -> InstanceMap:
    ids = torch.ones(SIZE, dtype=torch.int32)
    ids[:, SIZE[1] // 2 :] = 2
    return InstanceMap(ids, torch.tensor([0, 1]))


# Mask scaling


@pytest.mark.usefixtures("_compact_on")
def test_mask_scales__of_one_change_nothing(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, -1, 2))
    plain = losses_of(prediction, target)
    ones = losses_of(prediction, target, scales=[1.0, 1.0, 1.0])
    for name in ("class_loss", "mask_loss", "dice_loss", "total"):
        assert torch.equal(getattr(plain, name), getattr(ones, name))


@pytest.mark.usefixtures("_compact_on")
@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ([1.0, 1.0], log(2)),
        ([0.75, 0.5], log(2)),  # 1.25 ln 2, divided by 1.25
        ([0.25, 0.5], 0.75 * log(2)),  # divided by 1, the least
        ([0.0, 0.0], 0.0),
    ],
)
def test_mask_scales__normalise_the_cross_entropy(scales: list[float], expected: float) -> None:
    # A logit of 0 has cross-entropy ln 2 at every point.
    losses = losses_of(flat_prediction(0.0, 0.0), two_halves(), scales=scales)
    assert float(losses.mask_loss.detach()) == pytest.approx(expected)


def test_mask_scales__of_the_dice_term_by_hand() -> None:
    whole = InstanceMap(torch.ones(SIZE, dtype=torch.int32), torch.tensor([0]))
    prediction, full = flat_prediction(0.0), 0.0
    for scale in (1.0, 0.5):
        losses = losses_of(prediction, whole, scales=[scale])
        # half of every one of the points is inside, all of it should be; points on the rim of
        # the image see part of it
        full = full or float(losses.dice_loss.detach())
        assert float(losses.dice_loss.detach()) == pytest.approx(scale * full)
    by_hand = 1 - (2 * 0.5 * POINTS + 1) / (0.5 * POINTS + POINTS + 1)
    assert full == pytest.approx(by_hand, abs=0.01)


def test_mask_scales__are_weights_but_for_the_normalisation(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (4, -1, 2))
    plain = losses_of(prediction, target)
    weighted = losses_of(prediction, target, weights=[0.5, 1.0, 1.0])
    scaled = losses_of(prediction, target, scales=[0.5, 0.3, 1.0])  # the second has no object
    for name in ("mask_loss", "dice_loss"):
        expected = getattr(weighted, name) * 2 / 1.5
        torch.testing.assert_close(getattr(scaled, name), expected)
    assert torch.equal(scaled.class_loss, plain.class_loss)


def test_mask_scales__and_weights_multiply(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (4, 2))
    both = losses_of(prediction, target, weights=[0.5, 1.0], scales=[0.5, 1.0])
    product = losses_of(prediction, target, weights=[0.25, 1.0])
    torch.testing.assert_close(both.mask_loss, product.mask_loss * 2 / 1.5)


def test_mask_scales__of_zero_leave_a_mask_alone() -> None:
    prediction = flat_prediction(0.5, -0.5)
    losses = losses_of(prediction, two_halves(), scales=[0.0, 1.0])
    (masks,) = prediction.mask_logits
    (gradient,) = torch.autograd.grad(losses.mask_loss + losses.dice_loss, [masks])
    assert not gradient[0, 0].any()
    assert gradient[0, 1].any()


def test_mask_scales__belong_to_one_view_each(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, 2))
    plain, scaled = Criterion(num_points=POINTS).many(
        [(prediction, [target])] * 2,
        mask_scales=[None, [torch.zeros(2)]],
        generator=torch.Generator().manual_seed(0),
    )
    assert plain.mask_loss > 0
    assert scaled.mask_loss == scaled.dice_loss == 0


def test_mask_scales__must_match_the_slots(make_prediction, make_map) -> None:
    with pytest.raises(ValueError, match=r"mask_scales must number \[2\], one per slot"):
        losses_of(make_prediction(SIZE, images=1), make_map(SIZE, (0, 2)), scales=[1.0])


# Point filtering


def test_pixels_at__is_the_pixel_a_point_lies_in() -> None:
    # 2x2 pixels at the top left of 2x4: each is half a unit wide and one high.
    values = torch.tensor([[True, False, False, True]])
    xy = [[-0.9, -0.5], [-0.4, -0.5], [-0.9, 0.5], [-0.1, 0.9], [0.1, 0.5], [0.9, -0.9]]
    found = pixels_at(values, torch.tensor([xy]), size=(2, 2), padded=(2, 4))
    assert found.tolist() == [[True, False, False, True, True, True]]


def pool_of(candidates: int, chosen: int, at_random: int) -> PointPool:
    return PointPool(torch.zeros(candidates + at_random, 2), candidates, chosen)


def test_choose__never_takes_what_is_not_allowed() -> None:
    values = torch.tensor([[0.1, -0.2, 0.3, -0.4], [-0.4, 0.3, 0.2, 0.1]])
    allowed = torch.tensor([[False, True, False, True], [True, True, False, False]])
    index = pool_of(4, 2, 1).choose(values, allowed)
    assert [sorted(row) for row in index.tolist()] == [[1, 3, 4], [0, 1, 4]]
    plain = pool_of(4, 2, 1).choose(values)
    assert [sorted(row) for row in plain.tolist()] == [[0, 1, 4], [2, 3, 4]]


def test_mask_losses__of_too_few_candidates_count_these_and_the_random() -> None:
    values = torch.tensor([[0.1, -0.2, 0.3, -0.4, 2.0]], requires_grad=True)
    wanted = MaskTargets(
        truth=torch.ones(1, 5),
        valid=torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]]),
        row=torch.tensor([0]),
        image=torch.tensor([0]),
        allowed=torch.tensor([[False, True, False, False]]),
    )
    found = mask_losses_at(values, pool_of(4, 2, 1), wanted)
    counted = torch.tensor([-0.2, 2.0])
    inside = float(counted.sigmoid().sum())
    expected = [float(F.softplus(-counted).mean()), 1 - (2 * inside + 1) / (inside + 2 + 1)]
    assert found.tolist() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(found.sum(), [values])
    assert (gradient[0] != 0).tolist() == [False, True, False, False, True]


def left_is_unsure() -> Tensor:
    where = torch.ones(SIZE, dtype=torch.bool)
    where[:, : SIZE[1] // 2] = False
    return where


@pytest.mark.usefixtures("_compact_on")
def test_candidates__bar_the_uncertain_points_alone() -> None:
    # All of the mask is as uncertain; cells of four columns, so two see over the border.
    def gradient(importance_ratio: float, candidates: Tensor | None) -> Tensor:
        prediction = flat_prediction(0.0, 0.0)
        losses = losses_of(
            prediction, two_halves(), candidates=candidates, importance_ratio=importance_ratio
        )
        masks = prediction.mask_logits[0]
        return torch.autograd.grad(losses.mask_loss, [masks])[0].abs().sum((0, 1, 2))

    uncertain = gradient(1.0, left_is_unsure())
    assert not uncertain[:11].any()
    assert bool((uncertain[13:] > 0).all())
    assert bool((gradient(1.0, None)[:11] > 0).all())
    at_random = gradient(0.0, left_is_unsure())
    torch.testing.assert_close(at_random, gradient(0.0, None))
    assert bool((at_random[:11] > 0).any())


def test_candidates__everywhere_change_nothing(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, 2))
    plain = losses_of(prediction, target)
    given = losses_of(prediction, target, candidates=torch.ones(SIZE, dtype=torch.bool))
    for name in ("class_loss", "mask_loss", "dice_loss"):
        torch.testing.assert_close(getattr(given, name), getattr(plain, name))


def test_candidates__nowhere_leave_the_random_points(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, 2))
    losses = losses_of(prediction, target, candidates=torch.zeros(SIZE, dtype=torch.bool))
    assert bool(torch.isfinite(losses.total))
    assert losses.mask_loss > 0


def test_candidates__must_have_the_images_size(make_prediction, make_map) -> None:
    with pytest.raises(ValueError, match=r"candidates must be 1 of size \(64, 96\), one per image"):
        losses_of(
            make_prediction(SIZE, images=1),
            make_map(SIZE, (0, 2)),
            candidates=torch.ones(8, 8, dtype=torch.bool),
        )
