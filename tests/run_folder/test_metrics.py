from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.metrics import MetricsLog, MetricsReader, cut_metrics, flat_numbers


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


def look(reader: MetricsReader) -> tuple[list[int], bool]:
    new = reader.read_new()
    return [step for step, _ in new.lines], new.anew


def test_reader__reads_what_the_writer_appends_once(tmp_path: Path) -> None:
    reader = MetricsReader(tmp_path / "metrics.jsonl")
    assert look(reader) == ([], False)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(2):
        log.append({"step": step, "loss": 0.5})
    new = reader.read_new()
    assert [line for _, line in new.lines] == [{"step": s, "loss": 0.5} for s in range(2)]
    assert look(reader) == ([], False)
    log.append({"step": 2, "loss": 0.5})
    assert look(reader) == ([2], False)
    log.close()


def test_reader__half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    path.write_bytes(b'{"step": 0}\n{"step": ')
    assert look(reader) == ([0], False)
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n')
    assert look(reader) == ([1], False)


def test_reader__a_file_that_was_cut_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n{"step": 2}\n')
    reader = MetricsReader(path)
    assert look(reader) == ([0, 1, 2], False)
    MetricsLog(path, first_step=1).close()
    assert look(reader) == ([0], True)
    path.unlink()
    assert look(reader) == ([], True)
    assert look(reader) == ([], False)


def test_reader__other_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'no\n[1]\n{"loss": 1}\n{"step": "x"}\n\xff\xfe\n\n{"step": 5}\n')
    assert look(MetricsReader(path)) == ([5], False)


def test_reader__does_not_hold_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(b'{"step": %d, "loss": 1.5}\n' % step for step in range(200_000)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in MetricsReader(path).read_new().lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200_000
    assert peak < path.stat().st_size / 10


def test_reader__follows_lines_longer_than_it_looks_for_at_a_time(tmp_path: Path) -> None:
    path, text = tmp_path / "metrics.jsonl", "x" * 200_000
    reader = MetricsReader(path)
    for step in range(3):
        with path.open("a") as file:
            file.write(json.dumps({"step": step, "text": text}) + "\n" + '{"half')
        assert [step for step, _ in reader.read_new().lines] == [step]
        os.truncate(path, path.stat().st_size - len('{"half'))
    assert not reader.read_new().anew
