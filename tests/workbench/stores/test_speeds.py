"""Measured speeds of all runs: joined with what the same network was judged to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from speed_records import record

from uda4inst.run_folder.evaluations import write_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.speeds import append_speed
from workbench.pages.results.speeds import speed_table
from workbench.stores.speeds import Measured, Quality, Speeds, SpeedStore


def judged(run: RunDir, step: int, miou: float) -> None:
    run.evaluation.mkdir(exist_ok=True)
    results = {"student": {"pixels": {"mIoU": miou}}}
    write_evaluation(run, {"step": step, "images": 80, "images_there": 100, "results": results})


HOW = "Cityscapes pixel protocol, student, step 400, 80 of 100 images"


def test_found__beside_how_good_the_network_was_at_that_step(
    write_run: Callable[..., Path], runs_root: Path
) -> None:
    run = RunDir(write_run(steps=4))
    judged(run, 400, 0.25)
    judged(run, 600, 0.5)
    for step, network in ((400, "student"), (400, "teacher"), (500, "student"), (600, "student")):
        append_speed(run.speeds, record(run="demo", step=step, of=network))
    found = {(o.record.step, o.record.of): o.quality for o in SpeedStore(runs_root).found().rows}
    first, last = found[400, "student"], found[600, "student"]
    assert first is not None
    assert last is not None
    assert (first.measure, first.value, first.how) == ("mIoU", 0.25, HOW)
    assert last.value == 0.5
    assert found[400, "teacher"] is None
    assert found[500, "student"] is None


def test_found__newest_first_over_all_folders(runs_root: Path, tmp_path: Path) -> None:
    times = ("2026-11-26T10:00:00+01:00", "2026-11-26T09:30:00+00:00", "")
    for folder, time in zip(("a", "b", "c"), times, strict=True):
        (tmp_path / folder).mkdir()
        append_speed(RunDir(tmp_path / folder).speeds, record(time=time))
    found = SpeedStore(runs_root).found([tmp_path / name for name in ("a", "b", "c", "b")])
    assert [one.record.time for one in found.rows] == [times[1], times[0], times[2]]


def test_found__a_bad_file_is_one_message_and_the_rest_stays(runs_root: Path) -> None:
    run = RunDir(runs_root / "broken")
    run.path.mkdir(parents=True)
    run.config.write_text("seed: 0")
    run.speeds.write_text("{\n")
    append_speed(RunDir(runs_root).speeds, record(network="good"))
    found = SpeedStore(runs_root).found()
    assert [one.record.network for one in found.rows] == ["good"]
    (problem,) = found.problems
    assert str(run.speeds) in problem
    shown = speed_table(found)
    assert "good" in shown
    assert "wb-warn" in shown


def test_found__a_file_that_grew_is_read_again(runs_root: Path) -> None:
    runs_root.mkdir(parents=True, exist_ok=True)
    store, run = SpeedStore(runs_root), RunDir(runs_root)
    append_speed(run.speeds, record(batch=1))
    assert len(store.found().rows) == 1
    append_speed(run.speeds, record(batch=2))
    assert len(store.found().rows) == 2


def test_speed_table__says_what_was_measured_and_on_what() -> None:
    more = {"compiled": True, "commit": "abc123", "time": "2026-11-26T09:30:00+00:00"}
    run = record(**more, network="<net>", images_per_second=123.4, latency_p50_ms=8.123)
    shown = speed_table(Speeds((Measured(run, Quality("mIoU", 0.4567, HOW)),)))
    words = (
        "&lt;net&gt;", "1 x 64x96, fp32", "cpu, compiled", "<b>123</b>", "8.12, 60 ms", "300 MiB",
        "1.00 M", "1.5", f"mIoU 45.7 <small>({HOW})", "2026-11-26 09:30 ",
        "a machine, 2 cores", "2 threads, torch 2.13.0", "commit abc123", "2 batches after 1",
    )  # fmt: skip
    assert [word for word in words if word not in shown] == []
