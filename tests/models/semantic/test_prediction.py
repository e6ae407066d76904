"""A prediction's cells, its pixels, and what a slice of it holds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uda4inst.models.semantic.prediction import Auxiliary, SemanticPrediction


def slow_pixels(found: SemanticPrediction) -> Tensor:
    """Bilinear by the definition: where a pixel lies between the centres of cells, side by side."""
    logits, (height, width) = found.logits.double(), found.size
    rows, columns = logits.shape[-2:]
    pixels = torch.zeros(*logits.shape[:2], height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            if found.align_corners:
                place = y / found.cell, x / found.cell
            else:
                place = (y + 0.5) / found.cell - 0.5, (x + 0.5) / found.cell - 0.5
            for row in range(rows):
                for column in range(columns):
                    near = [
                        max(0.0, 1 - abs(min(max(at, 0.0), cells - 1.0) - cell))
                        for at, cell, cells in zip(
                            place, (row, column), (rows, columns), strict=True
                        )
                    ]
                    pixels[..., y, x] += near[0] * near[1] * logits[..., row, column]
    return pixels


@pytest.mark.parametrize("cell", [4, 8])
@pytest.mark.parametrize("align_corners", [False, True], ids=["squares", "corners"])
def test_at_pixels__equals_the_loop(cell: int, align_corners: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4)
    size = (2 * cell + 1, 3 * cell - 2)
    found = SemanticPrediction(logits, size, cell=cell, align_corners=align_corners)
    assert found.at_pixels().shape == (2, 3, *size)
    torch.testing.assert_close(found.at_pixels().double(), slow_pixels(found), rtol=0, atol=1e-5)


def test_at_pixels__with_corners_aligned_each_cell_is_one_pixel() -> None:
    logits = torch.randn(1, 2, 3, 4)
    found = SemanticPrediction(logits, (17, 25), cell=8, align_corners=True)
    torch.testing.assert_close(found.at_pixels()[..., ::8, ::8], logits)


def test_classes__are_the_likeliest_at_every_pixel() -> None:
    torch.manual_seed(0)
    found = SemanticPrediction(torch.randn(2, 5, 4, 4), (13, 15))
    expected = found.at_pixels().argmax(dim=1)
    assert [c.dtype for c in found.classes()] == [torch.uint8] * 2
    assert torch.equal(torch.stack(found.classes()).long(), expected)


def test_select__takes_features_and_auxiliary_heads_along() -> None:
    logits, features, other = (
        torch.randn(3, 2, 4, 4),
        torch.randn(3, 5, 1, 1),
        torch.randn(3, 2, 2, 2),
    )
    head = Auxiliary(SemanticPrediction(other, (16, 16), cell=8), 0.1)
    found = SemanticPrediction(logits, (16, 16), features=features, aux=(head,))
    part = found.select(slice(1, 3))
    assert len(part) == 2
    assert torch.equal(part.logits, logits[1:3])
    assert part.features is not None
    assert torch.equal(part.features, features[1:3])
    (own,) = part.aux
    assert torch.equal(own.prediction.logits, other[1:3])
    assert (own.prediction.cell, own.weight) == (8, 0.1)
