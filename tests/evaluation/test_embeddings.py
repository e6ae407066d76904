"""Embeddings of images, and the gap between two sets of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from uda4inst.evaluation.embeddings import domain_gap, embed
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.network import Network
from uda4inst.models.semantic.build import build_semantic


def networks() -> list[Network]:
    torch.manual_seed(0)
    return [
        build_model("tiny", weights=None)[0],
        build_semantic("mit_tiny", weights=None)[0],
    ]


def cloud(seed: int, *, count: int = 200, moved: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, 5)) + moved).astype(np.float32)


def test_domain_gap__by_hand() -> None:
    # distances squared: 1 within each, 9, 16, 4, 9 across; median of 1, 1, 4, 9, 9, 16 is 6.5
    source, target = (np.array(a, np.float32) for a in ([[0], [1]], [[3], [4]]))
    across = np.exp(-np.array([9, 16, 4, 9]) / 6.5).mean()
    assert domain_gap(source, target) == pytest.approx(2 * np.exp(-1 / 6.5) - 2 * across)


def test_domain_gap__is_around_zero_for_one_distribution_and_grows_with_distance() -> None:
    same, near, far = (domain_gap(cloud(1), cloud(2, moved=m)) for m in (0.0, 0.5, 2.0))
    assert abs(same) < 0.01
    assert 0.02 < near < far < 2


def test_domain_gap__has_no_unit_and_no_side() -> None:
    source, target = cloud(1), cloud(2, moved=0.5)
    gap = domain_gap(source, target)
    assert domain_gap(100 * source + 7, 100 * target + 7) == pytest.approx(gap, rel=1e-3)
    assert domain_gap(target, source) == pytest.approx(gap)


def test_domain_gap__of_equal_points_is_none() -> None:
    assert domain_gap(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32)) == 0


def test_domain_gap__needs_pairs() -> None:
    with pytest.raises(ValueError, match="must have 2 embeddings, got 1, 5"):
        domain_gap(np.ones((1, 2), np.float32), np.ones((5, 2), np.float32))


@pytest.mark.parametrize("number", [0, 1], ids=["mask2former", "segformer"])
def test_features__end_with_the_image(number: int) -> None:
    network = networks()[number].eval()
    with torch.no_grad():
        maps = network.features(torch.rand(2, 3, 40, 65))
    assert maps.shape[0] == 2
    assert maps.shape[2:] == (2, 3)  # of cells of 32 pixels


@pytest.mark.parametrize("number", [0, 1], ids=["mask2former", "segformer"])
def test_embed__is_the_mean_of_the_features_in_evaluation_mode(number: int) -> None:
    network = networks()[number]
    assert isinstance(network, nn.Module)
    network.train()
    generator = np.random.default_rng(0)
    sizes = ((64, 96), (64, 96), (32, 64))
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

    found = list(embed(network, iter(images), device="cpu"))

    assert network.training
    network.eval()
    for image, vector in zip(images, found, strict=True):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            expected = network.features(pixels).mean(dim=(2, 3))[0].numpy()
        np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)
    assert len({vector.tobytes() for vector in found}) == 3
