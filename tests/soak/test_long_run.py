"""The simulated day of the soak in short, and that it would see what grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from long_run import Look, faults, long_run

STEADY = [
    Look(
        step=1000 * n,
        memory_mib=500.0,
        descriptors=9,
        threads=4,
        files=60 + 2 * n,
        metrics_bytes=530_000 * n,
        log_bytes=100 * n,
        other_bytes=10**7,
        read_seconds=0.01 * n,
        follow_seconds=0.01,
    )
    for n in range(1, 11)
]


@pytest.mark.e2e
def test_long_run__stays_bounded(tmp_path: Path) -> None:
    looks, _ = long_run(tmp_path, steps=1000)
    assert [one.step for one in looks] == list(range(100, 1001, 100))
    assert faults(looks) == []


def test_faults__of_a_steady_run_are_none() -> None:
    assert faults(STEADY) == []


@pytest.mark.parametrize(
    ("grown", "words"),
    [
        pytest.param({"memory_mib": 600.0}, "memory: 500.0 MiB became 600.0", id="memory"),
        pytest.param({"descriptors": 90}, "descriptors: 9 became 90", id="descriptors"),
        pytest.param({"threads": 40}, "threads: 4 became 40", id="threads"),
        pytest.param({"files": 1060}, "files: 64 became 1060", id="files"),
        pytest.param(
            {"metrics_bytes": 6_000_000},
            "bytes of metrics between two looks: 530000 became 1230000",
            id="metrics",
        ),
    ],
)
def test_faults__name_what_grew(grown: dict[str, float], words: str) -> None:
    assert faults([*STEADY[:-1], replace(STEADY[-1], **grown)]) == [words]
