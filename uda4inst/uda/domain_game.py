"""A discriminator of domains beside a segmentation network: its settings, and both sides' terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor, nn

from uda4inst.errors import UserError
from uda4inst.models.discriminators import build_discriminator
from uda4inst.models.semantic.prediction import SemanticPrediction
from uda4inst.settings import Settings
from uda4inst.uda.adversarial import adversarial_loss, discriminator_loss


class DomainGameConfig(Settings):
    """The discriminator of domains."""

    discriminator: Literal["fcd", "dsc"] = Field(
        default="dsc",
        description="Which: fcd (2.8 M parameters) or dsc (depthwise separable, 0.19 M).",
    )
    weight: float = Field(
        default=0.001,
        ge=0,
        le=10,
        description="How much the student's target output should look like source (0.001).",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One round between a segmentation network and a discriminator.

    Args:
        adversarial: what the network learns: target output passes for source. No gradient of it
            reaches the discriminator.
        discriminator: what the discriminator learns. No gradient of it reaches the network.
        domains: what it says of the target images, the probability of being target; (B, h, w).
    """

    adversarial: Float32[Tensor, ""]
    discriminator: Float32[Tensor, ""]
    domains: Float32[Tensor, "B h w"]


class DomainGame:
    """A discriminator and how it is asked.

    Args:
        config: which one.
        num_classes: channels it looks at.
        wrap: makes what runs it (`uda4inst.methods.base.MethodContext`).
        device: where it lives.
    """

    def __init__(
        self,
        config: DomainGameConfig,
        *,
        num_classes: int,
        wrap: Callable[[nn.Module], Callable[[Tensor], Any]],
        device: torch.device,
    ) -> None:
        self.discriminator = build_discriminator(config.discriminator, num_classes=num_classes).to(
            device
        )
        self._judge = wrap(self.discriminator)

    def take_over(self, weights: Mapping[str, Any] | None) -> None:
        """Go on with a discriminator that has learned, if there is one.

        Args:
            weights: its `state_dict`; None leaves this one as it is.

        Raises:
            UserError: it is of another kind.
        """
        if weights is None:
            return
        try:
            self.discriminator.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                "stage 2 must go on with the discriminator of stage 1, got one of another kind. "
                "Set method.game.discriminator to what the run of training.stage2_from had."
            ) from error

    def play(self, source: SemanticPrediction, target: SemanticPrediction) -> Played:
        """Return both sides' losses on class probabilities of every pixel.

        Args:
            source: the network's prediction of source images, with gradient.
            target: of target images.
        """
        real, fake = (said.at_pixels().softmax(dim=1) for said in (source, target))
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        passed = torch.func.functional_call(self.discriminator, frozen, (fake,))
        told = self._judge(fake.detach())
        return Played(
            adversarial=adversarial_loss(passed),
            discriminator=discriminator_loss(self._judge(real.detach()), told),
            domains=told.detach().float().sigmoid()[:, 0],
        )
