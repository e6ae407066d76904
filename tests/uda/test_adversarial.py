"""Terms of a discriminator of domains: by their formula, and who learns from which."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from uda4inst.uda.adversarial import adversarial_loss, discriminator_loss


def slow(logits: Tensor, label: int) -> float:
    """The mean of -log of the probability of what should be said."""
    losses = []
    for logit in logits.flatten().tolist():
        probability = 1 / (1 + math.exp(-logit))
        losses.append(-math.log(probability if label else 1 - probability))
    return sum(losses) / len(losses)


def test_adversarial_loss__is_that_target_says_source() -> None:
    logits = torch.randn(2, 1, 3, 5)
    assert float(adversarial_loss(logits)) == pytest.approx(slow(logits, 0), rel=1e-5)


def test_discriminator_loss__is_half_of_each_whatever_their_sizes() -> None:
    source, target = torch.randn(2, 1, 3, 5), torch.randn(1, 1, 8, 4)
    expected = slow(source, 0) / 2 + slow(target, 1) / 2
    assert float(discriminator_loss(source, target)) == pytest.approx(expected, rel=1e-5)


def test_terms__pull_target_in_opposite_directions() -> None:
    logits = torch.zeros(4, requires_grad=True)
    (fooling,) = torch.autograd.grad(adversarial_loss(logits), logits)
    (telling,) = torch.autograd.grad(discriminator_loss(torch.zeros(4), logits), logits)
    assert (fooling > 0).all()  # going down means source
    assert (telling < 0).all()


def test_terms__certain_logits_are_finite() -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = adversarial_loss(logits) + discriminator_loss(logits, -logits)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_terms__a_discriminator_learns_to_tell_the_domains() -> None:
    torch.manual_seed(0)
    discriminator = nn.Linear(2, 1)
    source, target = torch.randn(64, 2) + 1, torch.randn(64, 2) - 1
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        discriminator_loss(discriminator(source), discriminator(target)).backward()
        optimizer.step()
    assert (discriminator(source) < 0).float().mean() > 0.9
    assert (discriminator(target) > 0).float().mean() > 0.9
