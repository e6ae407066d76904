"""Slots that count less than others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.models.mask2former import targets as targets_module
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

SIZE = (64, 96)
POINTS = 200


def losses_of(
    prediction: Prediction, target: InstanceMap, weights: list[float] | None
) -> CriterionLosses:
    given = None if weights is None else [[torch.tensor(weights, dtype=torch.float32)]]
    generator = torch.Generator().manual_seed(3)
    criterion = Criterion(num_points=POINTS)
    (losses,) = criterion.many([(prediction, [target])], slot_weights=given, generator=generator)
    return losses


@pytest.fixture(params=[{"cpu"}, set()], ids=["as on CPU", "as on GPU"])
def _compact_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "_COMPACT_ON", request.param)


@pytest.mark.usefixtures("_compact_on")
def test_slot_weights__of_one_change_nothing(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, -1, 2))
    plain = losses_of(prediction, target, None)
    ones = losses_of(prediction, target, [1.0, 1.0, 1.0])
    for name in ("class_loss", "mask_loss", "dice_loss", "total"):
        assert torch.equal(getattr(plain, name), getattr(ones, name))


@pytest.mark.usefixtures("_compact_on")
def test_slot_weights__scale_the_terms_of_their_slots(make_prediction, make_map) -> None:
    # Every term is linear in the weights: f(a, b) - f(0, 0) is the sum of the slots' own parts.
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (4, -1, 2))
    none, first, second = (
        losses_of(prediction, target, w)
        for w in ([0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0])
    )
    mixed = losses_of(prediction, target, [0.25, 0.7, 0.5])
    for name in ("class_loss", "mask_loss", "dice_loss"):
        base = getattr(none, name)
        expected = (
            base + 0.25 * (getattr(first, name) - base) + 0.5 * (getattr(second, name) - base)
        )
        torch.testing.assert_close(getattr(mixed, name), expected)
    assert none.mask_loss == none.dice_loss == 0
    assert none.class_loss > 0


def test_slot_weights__of_the_class_term_by_hand() -> None:
    classes = torch.tensor([[[[2.0] + [0.0] * 8, [0.0] * 9]]])
    masks = torch.full((1, 1, 2, 16, 24), -9.0)
    masks[0, 0, 0] = 9.0
    whole = InstanceMap(torch.ones(SIZE, dtype=torch.int32), torch.tensor([0]))
    losses = losses_of(Prediction(classes, masks.unbind(), SIZE), whole, [0.5])
    surprise: Tensor = -classes[0, 0].log_softmax(-1)
    expected = (0.5 * surprise[0, 0] + 0.1 * surprise[1, 8]) / 1.1
    torch.testing.assert_close(losses.class_loss, expected)


def test_slot_weights__belong_to_one_view_each(make_prediction, make_map) -> None:
    prediction, target = make_prediction(SIZE, images=1), make_map(SIZE, (0, 2))
    criterion, weights = Criterion(num_points=POINTS), [torch.tensor([0.5, 0.5])]
    plain, soft = criterion.many(
        [(prediction, [target])] * 2,
        slot_weights=[None, weights],
        generator=torch.Generator().manual_seed(0),
    )
    assert soft.class_loss < plain.class_loss
    assert soft.mask_loss < 0.75 * plain.mask_loss


def test_slot_weights__must_match_the_slots(make_prediction, make_map) -> None:
    with pytest.raises(ValueError, match=r"slot_weights must number \[2\], one per slot"):
        losses_of(make_prediction(SIZE, images=1), make_map(SIZE, (0, 2)), [1.0])
