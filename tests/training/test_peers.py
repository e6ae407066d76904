"""Processes that look after one another, on a store in memory."""

from __future__ import annotations

import threading

import pytest
from torch import distributed

from uda4inst.errors import UserError
from uda4inst.training import peers
from uda4inst.training.peers import MISSED_LOOKS, Peers, losing_a_process


class Memory:
    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.is_there = True

    def add(self, key: str, amount: int) -> int:
        if not self.is_there:
            raise RuntimeError("Broken pipe")
        self.numbers[key] = self.numbers.get(key, 0) + amount
        return self.numbers[key]


def unexpected(message: str) -> None:
    raise AssertionError(message)


def pair(store: Memory) -> tuple[Peers, Peers]:
    one, other = (Peers(store, rank=r, count=2, meeting=1, end=unexpected) for r in (0, 1))
    return one, other


def looks(one: Peers, count: int) -> list[str | None]:
    return [one.look() for _ in range(count)]


def test_look__says_nothing_while_all_count() -> None:
    one, other = pair(Memory())
    assert {word for _ in range(3 * MISSED_LOOKS) for word in (one.look(), other.look())} == {None}


def test_look__names_a_process_that_counts_no_more() -> None:
    one, other = pair(Memory())
    other.look()
    *before, last = looks(one, MISSED_LOOKS + 1)
    assert set(before) == {None}
    assert last is not None
    assert "no sign of process 1 for 40 s (seen by process 0)" in last
    assert last.endswith("resume the run: it goes on from its last checkpoint.")


def test_look__forgives_one_that_counts_again() -> None:
    one, other = pair(Memory())
    other.look()
    looks(one, MISSED_LOOKS)
    other.look()
    assert set(looks(one, MISSED_LOOKS)) == {None}


def test_look__does_not_miss_one_that_has_left() -> None:
    one, other = pair(Memory())
    other.start()
    other.leave()
    assert set(looks(one, 3 * MISSED_LOOKS)) == {None}


def test_look__misses_the_store() -> None:
    store = Memory()
    one, _ = pair(store)
    one.look()
    store.is_there = False
    *before, last = looks(one, MISSED_LOOKS)
    assert set(before) == {None}
    assert last is not None
    assert "the processes' store must answer" in last


def test_peers__meet_anew_without_what_was_counted_before() -> None:
    store = Memory()
    for meeting in (1, 2):
        one = Peers(store, rank=0, count=2, meeting=meeting, end=unexpected)
        other = Peers(store, rank=1, count=2, meeting=meeting, end=unexpected)
        other.start()
        other.leave()
        assert set(looks(one, 2)) == {None}
        one.start()
        one.leave()
    assert len(store.numbers) == 4


def test_peers__end_the_process_from_their_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "LOOK_SECONDS", 0.001)
    told: list[str] = []
    ended = threading.Event()

    def end(message: str) -> None:
        told.append(message)
        ended.set()

    one = Peers(Memory(), rank=0, count=2, meeting=1, end=end)
    one.start()
    assert ended.wait(30)
    one.leave()
    (message,) = told
    assert "no sign of process 1" in message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection closed by peer"),
        distributed.DistBackendError("NCCL error"),
    ],
    ids=["gloo", "nccl"],
)
def test_losing_a_process__is_one_message(error: RuntimeError) -> None:
    with (
        pytest.raises(UserError, match="every process of the run must be there, got a broken"),
        losing_a_process(),
    ):
        raise error


def test_losing_a_process__leaves_other_errors_alone() -> None:
    with pytest.raises(RuntimeError, match=r"^shape mismatch$"), losing_a_process():
        raise RuntimeError("shape mismatch")
