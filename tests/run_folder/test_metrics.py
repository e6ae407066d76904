from __future__ import annotations

import json
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.metrics import MetricsLog, cut_metrics, flat_numbers


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_metrics_log__a_line_is_there_at_once(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "m.jsonl")
    metrics.append({"step": 0, "loss": 1.5})
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"step": 0, "loss": 1.5}
    metrics.close()


def test_metrics_log__resuming_cuts_steps_that_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(5)))
    metrics = MetricsLog(path, first_step=3)
    metrics.append({"step": 3})
    metrics.close()
    assert steps(path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param('{"step": 0}\n{"st', [0], id="half-line"),
        pytest.param('{"step": 0}\n{"step": 1}', [0], id="no-newline"),
        pytest.param("", [], id="empty"),
    ],
)
def test_cut_metrics__drops_what_a_kill_left_half_written(
    tmp_path: Path, text: str, left: list[int]
) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    cut_metrics(path, 9)
    assert steps(path) == left


def test_cut_metrics__no_file_is_nothing_to_cut(tmp_path: Path) -> None:
    cut_metrics(tmp_path / "m.jsonl", 0)
    assert not (tmp_path / "m.jsonl").exists()


def test_metrics_log__full_disk_is_one_clear_message(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "m.jsonl")
    metrics._file.close()
    metrics._file = open("/dev/full", "ab", buffering=0)  # noqa: PTH123, SIM115 - closed below
    with pytest.raises(UserError, match=r"metrics must fit on the disk, got a full disk"):
        metrics.append({"step": 0})
    metrics.close()


def test_flat_numbers__joins_names() -> None:
    line = {"step": 1, "stage": 2, "time": 9.0, "lr": 0.1, "pseudo_labels": {"car": 3}}
    assert flat_numbers(line) == {"lr": 0.1, "pseudo_labels/car": 3}


def test_metrics_log__tensorboard_gets_every_nth_step(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "m.jsonl", tensorboard=tmp_path / "tb", tensorboard_every=2)
    for step in range(4):
        metrics.append({"step": step, "loss": float(step)})
    metrics.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 0.0), (2, 2.0)]
