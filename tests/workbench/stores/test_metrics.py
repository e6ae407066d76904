from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.stores.metrics import MetricsStore, SeriesReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def append(path: Path, *steps: int, **values: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        for step in steps:
            line = {"step": step, "stage": 1, "loss": float(step), **values}
            file.write(json.dumps(line) + "\n")


def test_series__nothing_logged_is_empty(path: Path) -> None:
    series = SeriesReader(path).series()
    assert (series.count, len(series.step), series.names("losses")) == (0, 0, [])


def test_series__grows_with_the_file(path: Path) -> None:
    reader = SeriesReader(path)
    append(path, 0, 1)
    assert reader.series().count == 2
    append(path, 2)
    series = reader.series()
    assert series.step.tolist() == [0, 1, 2]
    assert series.mean["loss"].tolist() == [0, 1, 2]
    assert series.last["step"] == 2


def test_series__unchanged_file_gives_the_same_object(path: Path) -> None:
    reader = SeriesReader(path)
    append(path, 0, 1)
    assert reader.series() is reader.series()


def test_series__half_a_line_waits_for_its_rest(path: Path) -> None:
    reader = SeriesReader(path)
    append(path, 0)
    with path.open("a") as file:
        file.write('{"step": 1, ')
    assert reader.series().count == 1
    with path.open("a") as file:
        file.write('"loss": 5.0}\n')
    assert reader.series().mean["loss"].tolist() == [0, 5]


def test_series__cut_and_continued_by_a_resume(path: Path) -> None:
    reader = SeriesReader(path)
    append(path, *range(10))
    assert reader.series().count == 10
    kept = path.read_bytes().splitlines(keepends=True)[:4]
    path.write_bytes(b"".join(kept))
    append(path, *range(4, 30), loss=7.5)
    series = reader.series()
    assert series.step.tolist() == list(range(30))
    assert series.mean["loss"][3:6].tolist() == [3, 7.5, 7.5]


def test_series__repeated_steps_replace_the_first(path: Path) -> None:
    append(path, 0, 1, 2, 3)
    append(path, 2, 3, loss=9.0)
    assert SeriesReader(path).series().mean["loss"].tolist() == [0, 1, 9, 9]


def test_series__removed_file_is_forgotten(path: Path) -> None:
    reader = SeriesReader(path)
    append(path, 0)
    assert reader.series().count == 1
    path.unlink()
    assert reader.series().count == 0


def test_series__unreadable_lines_are_passed_over(path: Path) -> None:
    path.write_text('not json\n[1]\n{"loss": 1}\n')
    append(path, 5)
    assert SeriesReader(path).series().step.tolist() == [5]


def test_series__thinned_by_means_between_extremes(path: Path) -> None:
    append(path, *range(1000))
    series = SeriesReader(path).series(points=10)
    assert len(series.step) == 10
    assert series.mean["loss"] == pytest.approx(series.step)
    assert series.low["loss"].tolist() == [100.0 * k for k in range(10)]
    assert series.high["loss"].tolist() == [100.0 * k + 99 for k in range(10)]
    assert series.count == 1000


def test_series__names_that_begin_later_leave_a_gap(path: Path) -> None:
    append(path, 0, 1, losses={"source/class": 2.0})
    append(path, 2, 3, stage=2, losses={"s2t/class": 3.0})
    series = SeriesReader(path).series()
    assert series.names("losses") == ["losses/source/class", "losses/s2t/class"]
    np.testing.assert_array_equal(series.mean["losses/source/class"], [2, 2, np.nan, np.nan])
    np.testing.assert_array_equal(series.mean["losses/s2t/class"], [np.nan, np.nan, 3, 3])
    assert series.stage2_step == 2


def test_series__classes_without_pseudo_labels_count_zero(path: Path) -> None:
    append(path, 0)
    append(path, 1, pseudo_labels={"car": 3})
    mean = SeriesReader(path).series().mean
    np.testing.assert_array_equal(mean["pseudo_labels/car"], [np.nan, 3])
    np.testing.assert_array_equal(mean["pseudo_labels/train"], [np.nan, 0])


def test_store__one_reader_a_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        append(tmp_path / name / "metrics.jsonl", 0, loss=float(len(name)))
    store = MetricsStore(tmp_path, kept=1)
    assert store.series("a").count == store.series("b").count == 1
    assert store.series("nothing").count == 0
