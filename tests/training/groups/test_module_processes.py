"""Which card a category group's process gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.run_folder.layout import RunDir
from uda4inst.training.groups import module_processes

GROUPS = [RunDir(Path(name)) for name in "abcd"]


class Process:
    """A trainer that runs until its exit code is set."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Modules that were started, with their slots."""
    slots: list[tuple[str, int]] = []

    def start(module: RunDir, *, slot: int) -> Process:
        slots.append((module.name, slot))
        return Process()

    monkeypatch.setattr(module_processes, "_start", start)
    return slots


def test_slots__one_that_has_ended_gives_its_own_to_the_next(
    started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_processes, "is_finished", lambda _: False)
    work = module_processes._Work(GROUPS, at_once=2)
    work.start_next()
    for ended in GROUPS[:2]:
        process = work.running[ended]
        assert isinstance(process, Process)
        process.code = 0
        work.look_after()
        work.start_next()
    assert started == [("a", 0), ("b", 1), ("c", 0), ("d", 1)]


def test_slots__of_a_resumed_run_are_those_that_are_free(
    started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_processes, "is_finished", lambda module: module.name == "a")
    module_processes._Work(GROUPS, at_once=2).start_next()
    assert started == [("b", 0), ("c", 1)]
