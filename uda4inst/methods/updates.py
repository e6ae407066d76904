"""Methods that train more than their student: which networks, by which optimizers, in what order.

Most methods make one update of one network a step, and say nothing here. One that has a
discriminator, or a teacher that learns, is a `TrainsOthers`: the loop makes its updates one after
the other, each with the losses, the gradients and the optimizers it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, runtime_checkable

from pydantic import Field
from torch import nn

from uda4inst.methods.base import LossTerm, Views
from uda4inst.settings import Settings

Algorithm = Literal["adamw", "adam", "sgd", "rmsprop"]
STUDENT: Final = "student"  # the name of the network that every method trains
Weights = Mapping[str, Mapping[str, Any]]  # of networks, by name


class OptimizerSettings(Settings):
    """The optimizer of a network beside the student; its rate falls as the student's does."""

    algorithm: Algorithm = Field(default="adam", description="Which optimizer.")
    lr: float = Field(default=1e-4, gt=0, le=1, description="Peak learning rate.")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Of sgd and rmsprop; the first beta of adam and adamw."
    )
    second_beta: float = Field(
        default=0.99, ge=0, lt=1, description="Of adam and adamw: decay of the squared gradients."
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Of weights.")


@dataclass(frozen=True, slots=True, eq=False)
class Other:
    """A network that is trained beside the student.

    Args:
        network: itself, on the student's device, never a wrapper.
        optim: how.
    """

    network: nn.Module
    optim: OptimizerSettings


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """One update of a step.

    Args:
        losses: as `Method.losses`.
        trains: names of the networks it moves: the student, or of `TrainsOthers.others`. The losses
            give every one of them a gradient, and no other network.
    """

    losses: Callable[[Views, int], Iterator[LossTerm]]
    trains: tuple[str, ...] = (STUDENT,)


@runtime_checkable
class TrainsOthers(Protocol):
    """A method that trains networks beside its student."""

    @property
    def others(self) -> Mapping[str, Other]:
        """Return those networks by name. Checkpoints hold them; judged are `Method.networks`."""
        ...

    @property
    def updates(self) -> Sequence[Update]:
        """Return the updates of a step, in their order; `Method.losses` is the first one's."""
        ...


@runtime_checkable
class BeginsAfresh(Protocol):
    """A method that does something when its stage begins, and not when a run goes on within it."""

    def begin(self, before: Weights) -> None:
        """Take the networks over as the stage before left them.

        Args:
            before: weights of what that stage trained beside the student, by name; empty where
                there was nothing, or no such stage.

        Raises:
            UserError: they are of other networks.
        """
        ...
