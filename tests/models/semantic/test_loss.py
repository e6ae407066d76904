"""Pixel cross-entropy against a slow loop; what is ignored and weighted."""

from __future__ import annotations

import math

import pytest
import torch

from uda4inst.models.semantic.loss import pixel_cross_entropy
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.structures import SemanticMap

SIZE = (6, 7)


def prediction(images: int = 2) -> SemanticPrediction:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, 19, 8, 8, generator=generator).requires_grad_()
    return SemanticPrediction(logits, SIZE)


def random_map(seed: int, weights: torch.Tensor | None = None) -> SemanticMap:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 21, SIZE, generator=generator)
    return SemanticMap(torch.where(ids > 18, 255, ids).to(torch.uint8), weights)


def by_hand(found: SemanticPrediction, targets: list[SemanticMap]) -> float:
    total, counted = 0.0, 0
    full = found.at_pixels().detach()
    for image, target in enumerate(targets):
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                true_class = int(target.ids[row, column])
                if true_class == 255:
                    continue
                scores = full[image, :, row, column].double()
                weight = 1.0 if target.weights is None else float(target.weights[row, column])
                share = float(scores[true_class] - torch.logsumexp(scores, 0))
                total -= weight * share
                counted += 1
    return total / counted


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_pixel_cross_entropy__equals_the_loop(weighted: bool) -> None:
    weights = torch.rand(SIZE, generator=torch.Generator().manual_seed(9)) if weighted else None
    targets = [random_map(1), random_map(2, weights)]
    found = prediction()
    assert float(pixel_cross_entropy(found, targets).detach()) == pytest.approx(
        by_hand(found, targets), rel=1e-5
    )


def test_pixel_cross_entropy__nothing_to_learn_is_a_zero_with_gradient() -> None:
    found = prediction(1)
    ignored = SemanticMap(torch.full(SIZE, 255, dtype=torch.uint8))
    loss = pixel_cross_entropy(found, [ignored])
    loss.backward()
    assert float(loss.detach()) == 0
    assert found.logits.grad is not None
    assert not found.logits.grad.any()


def test_pixel_cross_entropy__a_uniform_guess_costs_the_logarithm_of_the_classes() -> None:
    found = SemanticPrediction(torch.zeros(1, 19, 8, 8), SIZE)
    assert float(pixel_cross_entropy(found, [random_map(4)])) == pytest.approx(math.log(19))
