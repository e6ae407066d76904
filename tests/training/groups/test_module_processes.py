"""Which card a category group's process gets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from uda4inst.run_folder.layout import RunDir
from uda4inst.training.groups import module_processes

GROUPS = [RunDir(Path(name)) for name in "abcd"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Modules that were started, with their slots; their processes run until they are removed."""
    slots: list[tuple[str, int]] = []

    def start(module: RunDir, *, slot: int) -> SimpleNamespace:
        slots.append((module.name, slot))
        return SimpleNamespace(poll=lambda: None)

    monkeypatch.setattr(module_processes, "_start", start)
    return slots


def test_slots__one_that_has_ended_gives_its_own_to_the_next(
    started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_processes, "is_finished", lambda _: False)
    work = module_processes._Work(GROUPS, at_once=2)
    work.start_next()
    for ended in GROUPS[:2]:
        del work.running[ended]
        work.start_next()
    assert started == [("a", 0), ("b", 1), ("c", 0), ("d", 1)]


def test_slots__of_a_resumed_run_are_those_that_are_free(
    started: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_processes, "is_finished", lambda module: module.name == "a")
    module_processes._Work(GROUPS, at_once=2).start_next()
    assert started == [("b", 0), ("c", 1)]
