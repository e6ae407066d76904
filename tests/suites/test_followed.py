from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from uda4inst.suites.followed import followed_of, followed_runs, followed_table
from uda4inst.suites.report import write_report
from uda4inst.suites.report_csv import csv_text
from uda4inst.suites.results import collect

Write = Callable[..., Path]


def write_counts(run: Path, counts: Sequence[Mapping[str, float] | None]) -> None:
    """Write metrics whose steps have these pseudo-labels by class; None for a step of stage 1."""
    run.mkdir(parents=True, exist_ok=True)
    lines = [
        {"step": step, "stage": 1} | ({} if one is None else {"stage": 2, "pseudo_labels": one})
        for step, one in enumerate(counts, start=1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def followed(write_suite: Write) -> Path:
    """Table 5 with M3 on two seeds as one network and M4 as two; M1 has no pseudo-labels."""
    values = {"m1": {0: 10.0}, "m3": {0: 11.0, 1: 12.0}, "m4": {0: 15.0}, "m5": {0: 16.0}}
    folder = write_suite("table5", values, seeds=(0, 1))
    runs = folder / "runs"
    write_counts(runs / "m1-seed0", [None] * 6)
    steps = [None, None, *({"car": n, "train": 0} for n in (1, 1, 2, 2, 3, 4))]
    write_counts(runs / "m3-seed0", steps)
    write_counts(runs / "m3-seed1", [{"car": 3, "train": 0}] * 6)
    write_counts(runs / "m4-seed0" / "modules" / "car", [{"car": 1, "train": 0}] * 3)
    write_counts(
        runs / "m4-seed0" / "modules" / "train", [{"car": 0, "train": n} for n in (4, 2, 0)]
    )
    return folder


def test_followed_of__thirds_of_self_training_over_the_runs(followed: Path) -> None:
    row = collect(followed).row("m3")
    assert followed_of(row) == {"car": (200.0, 250.0, 325.0), "train": (0.0, 0.0, 0.0)}
    assert followed_runs(row) == 2


def test_followed_of__adds_what_each_category_group_has(followed: Path) -> None:
    row = collect(followed).row("m4")
    assert followed_of(row) == {"car": (100.0, 100.0, 100.0), "train": (400.0, 200.0, 0.0)}


@pytest.mark.parametrize("key", ["m1", "m2", "m5"])
def test_followed_of__none_without_pseudo_labels_runs_or_metrics(followed: Path, key: str) -> None:
    row = collect(followed).row(key)
    assert followed_of(row) == {}
    assert followed_runs(row) == 0


@pytest.mark.parametrize("strange", [[1], "many", {"car": "x"}, {"car": 10**400}, {"car": -1}])
def test_followed_of__passes_over_what_is_no_count(followed: Path, strange: object) -> None:
    path = followed / "runs" / "m3-seed1" / "metrics.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"step": 7, "stage": 2, "pseudo_labels": strange}) + "\n")
    assert set(followed_of(collect(followed).row("m3"))) == {"car", "train"}


def test_report__has_the_table_and_its_numbers(followed: Path) -> None:
    results = collect(followed)
    table = followed_table(results)
    assert table is not None
    cells = {line[0].split()[0]: dict(zip(table.header, line, strict=True)) for line in table.rows}
    assert set(cells) == {"M3", "M4"}
    assert cells["M3"]["car"] == "200 → 250 → 325"
    assert (cells["M4"]["bus"], cells["M4"]["n"]) == ("–", "1")
    write_report(results, followed / "report", networks=["student"])
    assert "## Pseudo-labels as training goes on" in (followed / "report" / "report.md").read_text()
    lines = csv.DictReader(io.StringIO(csv_text(results, [("cityscapes", "student")])))
    thirds = {
        line["metric"][-6:]: float(line["mean"])
        for line in lines
        if (line["row"], line["class"]) == ("m4", "train") and "pseudo-labels" in line["metric"]
    }
    assert thirds == {"1 of 3": 400.0, "2 of 3": 200.0, "3 of 3": 0.0}


def test_followed_table__none_without_pseudo_labels(write_suite: Write) -> None:
    assert followed_table(collect(write_suite("table5", {"m1": {0: 10.0}}))) is None
