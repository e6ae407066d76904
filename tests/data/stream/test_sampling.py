"""Order and random numbers: functions of (seed, draw), the same from wherever one starts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from uda4inst.data.stream.sampling import (
    RareClassSampler,
    StepSampler,
    Stream,
    shuffled_index,
    stream_generator,
)


def steps(count: int, **arguments: int) -> list[list[int]]:
    return list(itertools.islice(StepSampler(2, **arguments), count))


def test_step_sampler__counts_on() -> None:
    assert steps(3) == [[0, 1], [2, 3], [4, 5]]


def test_step_sampler__resumes_where_it_was() -> None:
    assert steps(5)[3:] == steps(2, start_step=3)


def test_step_sampler__processes_share_the_draws() -> None:
    ranks = [steps(2, rank=rank, world_size=3) for rank in range(3)]
    assert ranks == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]


@pytest.mark.parametrize("arguments", [{"rank": 2, "world_size": 2}, {"start_step": -1}])
def test_step_sampler__refuses(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="rank below world_size"):
        StepSampler(2, **arguments)


def order(seed: int, stream: Stream = Stream.SOURCE_ORDER, draws: int = 21) -> list[int]:
    return [shuffled_index(d, count=7, stream=stream, seed=seed) for d in range(draws)]


def test_shuffled_index__every_epoch_shows_each_once() -> None:
    drawn = order(0)
    assert all(sorted(drawn[e : e + 7]) == list(range(7)) for e in (0, 7, 14))


def test_shuffled_index__epochs_seeds_and_streams_differ() -> None:
    drawn = order(0)
    assert drawn[:7] != drawn[7:14] != drawn[14:]
    assert drawn != order(1)
    assert drawn != order(0, Stream.TARGET_ORDER)


def test_shuffled_index__does_not_depend_on_what_was_asked_before() -> None:
    drawn = order(3)
    backwards = [
        shuffled_index(d, count=7, stream=Stream.SOURCE_ORDER, seed=3) for d in range(20, -1, -1)
    ]
    assert backwards[::-1] == drawn


def test_stream_generator__streams_are_apart() -> None:
    first = {
        stream_generator(stream, seed=seed, number=number).random()
        for stream in Stream
        for seed in (0, 1)
        for number in (0, 1)
    }
    assert len(first) == 4 * len(Stream)


COUNTS = np.array([[6, 0, 0], [2, 1, 0], [1, 0, 0]], dtype=np.int64)  # shares .9, .1, 0


def test_rare_class_sampler__probabilities_by_the_formula() -> None:
    sampler = RareClassSampler(COUNTS, temperature=0.5, seed=0)
    weights = np.exp((1 - np.array([0.9, 0.1])) / 0.5)
    np.testing.assert_allclose(sampler.probabilities, weights / weights.sum())
    assert sampler.classes.tolist() == [0, 1]


def test_rare_class_sampler__draws_follow_the_probabilities() -> None:
    sampler = RareClassSampler(COUNTS, temperature=0.5, seed=0)
    drawn = np.array([sampler(d) for d in range(3000)])
    common, rare = sampler.probabilities
    expected = np.array([common / 3, common / 3 + rare, common / 3])
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 3000, expected, atol=0.03)


def test_rare_class_sampler__a_draw_needs_no_history() -> None:
    one, two = (RareClassSampler(COUNTS, temperature=1.0, seed=4) for _ in range(2))
    drawn = [one(d) for d in range(20)]
    assert [two(d) for d in reversed(range(20))] == drawn[::-1]
    assert [RareClassSampler(COUNTS, temperature=1.0, seed=5)(d) for d in range(20)] != drawn


def test_rare_class_sampler__low_temperature_is_the_rarest_class() -> None:
    sampler = RareClassSampler(COUNTS, temperature=0.01, seed=0)
    assert {sampler(d) for d in range(50)} == {1}


def test_rare_class_sampler__refuses_a_set_without_instances() -> None:
    with pytest.raises(ValueError, match="must hold an instance or a pixel"):
        RareClassSampler(np.zeros((2, 3), dtype=np.int64), temperature=1.0, seed=0)


PIXELS = np.array([[90, 5, 0, 40], [80, 0, 0, 12], [70, 30, 0, 41]], dtype=np.int64)


def slow_choice(draw: int, counts: np.ndarray, more_than: int) -> tuple[int, int]:
    """The class and the image of a draw, written as in the paper."""
    everything = sum(int(value) for row in counts for value in row)
    shares = {c: sum(int(row[c]) for row in counts) / everything for c in range(4)}
    there = [c for c in range(4) if shares[c] > 0]
    weights = [math.exp((1 - shares[c]) / 0.5) for c in there]
    bounds = list(itertools.accumulate(weight / sum(weights) for weight in weights))
    generator = stream_generator(Stream.RARE_CLASS, seed=2, number=draw)
    number = generator.random()
    chosen = there[next(i for i, bound in enumerate(bounds) if number < bound)]
    images = [i for i in range(len(counts)) if counts[i, chosen] > more_than]
    return chosen, images[int(generator.integers(len(images)))]


def test_rare_class_sampler__by_pixels_is_the_papers_rule() -> None:
    sampler = RareClassSampler(PIXELS, temperature=0.5, seed=2, more_than=12)
    drawn = [sampler.choose(draw) for draw in range(60)]
    assert drawn == [slow_choice(draw, PIXELS, 12) for draw in range(60)]
    assert [sampler(draw) for draw in range(60)] == [image for _, image in drawn]
    assert set(drawn) == {(0, 0), (0, 1), (0, 2), (1, 2), (3, 0), (3, 2)}


def test_rare_class_sampler__refuses_a_class_no_image_shows_enough_of() -> None:
    with pytest.raises(ValueError, match=r"exceed more_than \(30\) in an image, .*\[90, 30, 41\]"):
        RareClassSampler(PIXELS, temperature=0.5, seed=2, more_than=30)
