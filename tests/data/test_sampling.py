"""Order and random numbers: functions of (seed, draw), the same from wherever one starts."""

from __future__ import annotations

import itertools

import pytest

from uda4inst.data.sampling import StepSampler, Stream, shuffled_index, stream_generator


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
    assert len(first) == 16
