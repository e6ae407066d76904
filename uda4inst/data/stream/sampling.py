"""Which images a step sees and how they are augmented: functions of (seed, draw) alone.

A draw is a position in the endless stream of training items. Nothing is remembered between draws,
so resuming at a step needs no state, and the number of workers changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class Stream(IntEnum):
    """Purposes of random numbers; each has its own, so switching one off moves no other."""

    SOURCE_ORDER = 1
    TARGET_ORDER = 2
    SOURCE_AUGMENTATION = 3
    TARGET_AUGMENTATION = 4
    RARE_CLASS = 5
    COLOR_REFERENCE = 6
    CROP_AGAIN = 7


def stream_generator(stream: Stream, *, seed: int, number: int) -> np.random.Generator:
    """Return the random numbers of one purpose for one draw or epoch.

    Args:
        stream: what they are for.
        seed: the run's seed, at least 0.
        number: the draw or epoch, at least 0.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, stream, number))))


def shuffled_index(draw: int, *, count: int, stream: Stream, seed: int) -> int:
    """Return which of `count` images a draw shows; every epoch of `count` draws shows each once."""
    epoch, position = divmod(draw, count)
    return int(_order(count, stream, seed, epoch)[position])


@functools.lru_cache(maxsize=4)
def _order(count: int, stream: Stream, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of one epoch."""
    return stream_generator(stream, seed=seed, number=epoch).permutation(count)


class RareClassSampler:
    """Draws images by class, rarer classes more often.

    A draw picks a class with probability proportional to exp((1 - f) / T), f being the class's
    share of everything counted, then one of the images that show enough of it, both with
    replacement. A class that is counted nowhere is never drawn. Draw d is a function of (seed, d),
    so processes and resumed runs need no state.

    Args:
        counts: instances, or pixels, of every class in every image, (images, classes).
        temperature: T; the smaller, the more of the rarest class.
        seed: the run's seed.
        more_than: an image shows enough of a class with a larger count than this. DAFormer: 3000
            pixels; with instances one is enough.

    Raises:
        ValueError: nothing is counted, or no image shows enough of a class.

    Reference: Hoyer et al., DAFormer, CVPR 2022, sec. 3.3.
    """

    def __init__(
        self, counts: NDArray[np.int64], *, temperature: float, seed: int, more_than: int = 0
    ) -> None:
        totals = counts.sum(axis=0)
        if not totals.any():
            raise ValueError("counts must hold an instance or a pixel, got none in any image.")
        classes = np.flatnonzero(totals)
        highest = counts.max(axis=0)[classes]
        if (highest <= more_than).any():
            raise ValueError(
                f"counts of every class must exceed more_than ({more_than}) in an image, got at "
                f"most {highest.tolist()}."
            )
        logits = (1.0 - totals[classes] / totals.sum()) / temperature
        weights = np.exp(logits - logits.max())
        self.classes: NDArray[np.int64] = classes
        self.probabilities: NDArray[np.float64] = weights / weights.sum()
        self._images = [np.flatnonzero(counts[:, number] > more_than) for number in classes]
        self._seed = seed

    def __call__(self, draw: int) -> int:
        """Return which image a draw shows."""
        return self.choose(draw)[1]

    def choose(self, draw: int) -> tuple[int, int]:
        """Return the class of a draw, and which image shows it."""
        generator = stream_generator(Stream.RARE_CLASS, seed=self._seed, number=draw)
        place = int(generator.choice(len(self.classes), p=self.probabilities))
        return int(self.classes[place]), int(generator.choice(self._images[place]))


class StepSampler(Sampler[list[int]]):
    """The draws of every step from `start_step` on, without end, for one process.

    Step s of process r takes draws s * batch_size * world_size + r * batch_size onwards, so all
    processes together see each draw once.

    Args:
        batch_size: draws per step and process.
        start_step: first step to yield.
        rank: index of this process.
        world_size: number of processes.
    """

    def __init__(
        self, batch_size: int, *, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1 or start_step < 0 or not 0 <= rank < world_size:
            raise ValueError(
                "batch_size must be 1 or more, start_step 0 or more and rank below world_size, got "
                f"{batch_size}, {start_step}, {rank} and {world_size}."
            )
        self._batch_size = batch_size
        self._start_step = start_step
        self._rank = rank
        self._world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the draws of one step after the other."""
        step = self._start_step
        while True:
            first = (step * self._world_size + self._rank) * self._batch_size
            yield list(range(first, first + self._batch_size))
            step += 1
