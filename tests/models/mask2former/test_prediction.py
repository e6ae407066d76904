from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.prediction import MaskProducts, Prediction
from uda4inst.structures import IGNORE_ID, InstanceMap

LAYERS, IMAGES, QUERIES, WIDTH = 3, 2, 6, 8
SIZE = (32, 48)


@pytest.fixture
def products() -> MaskProducts:
    torch.manual_seed(0)
    return MaskProducts(
        torch.randn(LAYERS, IMAGES, QUERIES, WIDTH, requires_grad=True),
        torch.randn(IMAGES, WIDTH, 8, 12, requires_grad=True),
    )


def targets_of(*ignored: int) -> list[InstanceMap]:
    """Two instances in an image and one in the other; some images have ignored pixels."""
    ids = torch.zeros((IMAGES, *SIZE), dtype=torch.int32)
    ids[0, 4:20, 4:20], ids[0, 10:30, 25:40], ids[1, 2:12, 8:44] = 1, 2, 1
    for image in ignored:
        ids[image, 24:] = IGNORE_ID
    labels = [torch.tensor([3, 5]), torch.tensor([1])]
    return [InstanceMap(*each) for each in zip(ids, labels, strict=True)]


def test_products__are_a_sequence_of_logits(products: MaskProducts) -> None:
    layer = torch.einsum("bqd,bdhw->bqhw", products.embeddings[1], products.features)

    assert len(products) == LAYERS
    torch.testing.assert_close(products[1], layer)
    torch.testing.assert_close(products[-2:][0], layer)
    torch.testing.assert_close(products.select(slice(1, 2))[1], layer[1:2])
    assert [tuple(masks.shape) for masks in products] == [(IMAGES, QUERIES, 8, 12)] * LAYERS


@pytest.mark.parametrize("ignored", [(), (1,)], ids=["all counts", "ignored pixels"])
def test_criterion__is_the_same_on_products_and_on_logits(
    products: MaskProducts, ignored: tuple[int, ...]
) -> None:
    classes = torch.randn(LAYERS, IMAGES, QUERIES, 9)
    factors = [products.embeddings, products.features]

    sure = [torch.ones(SIZE, dtype=torch.bool) for _ in range(IMAGES)]
    sure[0][:, : SIZE[1] // 2] = False

    found: list[tuple[Tensor, ...]] = []
    for masks in (products, tuple(products)):
        prediction = Prediction(classes, masks, SIZE)
        losses = Criterion(num_points=64).many(
            [(prediction, targets_of(*ignored)), (prediction, targets_of(*ignored))],
            slot_weights=[None, [torch.tensor([0.5, 1.0]), torch.tensor([0.7])]],
            mask_scales=[[torch.tensor([0.2, 1.0]), torch.tensor([0.7])], None],
            candidates=[sure, None],
            generator=torch.Generator().manual_seed(1),
        )
        total = losses[0].total + losses[1].total
        found.append((total.detach(), *torch.autograd.grad(total, factors, retain_graph=True)))

    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_criterion__on_products_without_instances_reaches_every_factor(
    products: MaskProducts,
) -> None:
    prediction = Prediction(torch.randn(LAYERS, IMAGES, QUERIES, 9), products, SIZE)
    empty = [InstanceMap.empty(SIZE)] * IMAGES

    Criterion(num_points=64)(prediction, empty).total.backward()

    assert products.embeddings.grad is not None
    assert products.features.grad is not None
    assert not products.features.grad.any()
