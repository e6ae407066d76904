"""What the class term makes of queries on ignored pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.models.mask2former import targets as targets_module
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

SIZE = (32, 64)
LEFT, RIGHT = slice(0, 8), slice(8, 16)  # mask-logit columns: 4 pixels each


def predict(*columns: slice, size: tuple[int, int] = SIZE, cells: tuple[int, int] = (8, 16)):
    """One layer and image; every query claims these columns, and is a car by a little."""
    masks = torch.full((1, 1, len(columns), *cells), -9.0)
    for query, where in enumerate(columns):
        masks[0, 0, query, :, where] = 9.0
    classes = torch.zeros(1, 1, len(columns), 9)
    classes[..., 2] = 1.0
    return Prediction(classes.requires_grad_(), masks.requires_grad_().unbind(), size)


def half_ignored(*, car: bool = False) -> InstanceMap:
    """The left half is ignored; the right half is a car or background."""
    ids = torch.zeros(SIZE, dtype=torch.int32)
    ids[:, :32] = -1
    ids[:, 32:] = int(car)
    return InstanceMap(ids, torch.full((int(car),), 2))


def taught(prediction: Prediction, target: InstanceMap) -> list[bool]:
    """Return which queries get a gradient from the class term."""
    loss = Criterion(num_points=64)(prediction, [target]).class_loss
    (gradient,) = torch.autograd.grad(loss, [prediction.class_logits])
    return (gradient[0, 0].abs().sum(-1) > 0).tolist()


@pytest.mark.parametrize("compact_on", [{"cpu"}, set()], ids=["as on CPU", "as on GPU"])
def test_class_loss__leaves_unmatched_queries_on_ignored_pixels_alone(
    monkeypatch: pytest.MonkeyPatch, compact_on: set[str]
) -> None:
    monkeypatch.setattr(targets_module, "_COMPACT_ON", compact_on)
    nowhere = slice(0, 0)
    found = taught(predict(LEFT, RIGHT, nowhere), half_ignored())
    assert found == [False, True, True]


def test_class_loss__needs_more_than_half_of_the_mask() -> None:
    found = taught(predict(slice(4, 12), slice(3, 12), slice(4, 13)), half_ignored())
    assert found == [True, False, True]


def test_class_loss__teaches_a_matched_query_on_ignored_pixels() -> None:
    ids = torch.full(SIZE, -1, dtype=torch.int32)
    ids[:, 32:36] = 1
    found = taught(predict(slice(4, 9)), InstanceMap(ids, torch.tensor([2])))
    assert found == [True]


def test_class_loss__is_the_mean_over_the_other_queries() -> None:
    criterion = Criterion(num_points=64)
    generator = torch.Generator().manual_seed(0)
    with_lost = criterion(predict(RIGHT, LEFT, LEFT), [half_ignored(car=True)], generator=generator)
    without = criterion(predict(RIGHT), [half_ignored(car=True)], generator=generator)
    torch.testing.assert_close(with_lost.class_loss, without.class_loss)


def test_class_loss__of_ignored_queries_alone_is_zero_and_has_gradients() -> None:
    prediction = predict(LEFT, LEFT)
    losses = Criterion(num_points=64)(prediction, [half_ignored()])
    gradients = torch.autograd.grad(
        losses.total, [prediction.class_logits, *prediction.mask_logits]
    )
    assert losses.total == 0
    assert all(bool((g == 0).all()) for g in gradients)


def test_class_loss__does_not_count_padding() -> None:
    # 60 of 64 columns are image; the query has one cell in the ignored part, two in the padding.
    ids = torch.zeros((32, 60), dtype=torch.int32)
    ids[:, 56:] = -1
    cells = (8, 17)
    found = taught(
        predict(slice(14, 17), slice(13, 17), size=(32, 60), cells=cells),
        InstanceMap(ids, torch.zeros(0, dtype=torch.int64)),
    )
    assert found == [False, True]


def test_class_loss__looks_at_every_layers_own_masks() -> None:
    left, right = predict(LEFT), predict(RIGHT)
    both = Prediction(
        torch.cat([left.class_logits, right.class_logits]),
        (*left.mask_logits, *right.mask_logits),
        SIZE,
    )
    loss = Criterion(num_points=64)(both, [half_ignored()]).class_loss
    gradients: list[Tensor] = [
        g for g in torch.autograd.grad(loss, [left.class_logits, right.class_logits])
    ]
    assert [bool(g.abs().sum() > 0) for g in gradients] == [False, True]
