"""What is measured without labels, beside the true AP of hand-made suites."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from uda4inst.commands.choose import choose
from uda4inst.errors import UserError
from uda4inst.suites.choices import (
    Correlation,
    collect_choices,
    csv_text,
    markdown,
    rank_correlation,
    write_choices,
)

Write = Callable[..., Path]
SEEDS = (0, 1, 2, 3)
# AP of the students; teachers have two more. M4's order is M3's turned round.
VALUES = {
    "m3": {0: 10.0, 1: 12.0, 2: 14.0, 3: 16.0},
    "m4": {0: 16.5, 1: 14.5, 2: 12.5, 3: 10.5},
    "oracle": {0: 40.0, 1: 41.0, 2: 42.0, 3: 43.0},
}


def measure(
    folder: Path,
    run: str,
    *,
    agreement: float | None,
    stability: float | None = None,
    network: str = "teacher",
    step: int = 9,
    images: int = 4,
) -> None:
    """Write the choice of a run, of its last checkpoint alone."""
    parts = {"agreement": agreement, "stability": stability}
    entry = {
        "threshold": 0.5,
        "pseudo_labels": 2.0,
        **{k: None if v is None else {"quality": v, "f1": v} for k, v in parts.items()},
    }
    checkpoint = {"step": step, "network": network, "diagnostic": None, "thresholds": [entry]}
    record = {"by": "agreement", "chosen": None, "images": images, "checkpoints": [checkpoint]}
    (folder / "runs" / run / "choice.json").write_text(json.dumps(record))


@pytest.fixture
def suite(write_suite: Write) -> Path:
    """A suite of eight runs and the upper bound's, agreement rising with the seed."""
    folder = write_suite("table5", VALUES, seeds=SEEDS)
    for seed in SEEDS:
        measure(folder, f"m3-seed{seed}", agreement=0.1 * seed, stability=0.5)
        measure(folder, f"m4-seed{seed}", agreement=0.1 * seed + 0.05, stability=None)
        measure(folder, f"oracle-seed{seed}", agreement=None, stability=0.1, network="student")
    return folder


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([(1, 5), (2, 6), (3, 7), (4, 80)], Correlation(1.0, 4), id="one order"),
        pytest.param([(1, 8), (2, 7), (3, 6), (4, 5)], Correlation(-1.0, 4), id="turned round"),
        # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15).
        pytest.param([(1, 1), (2, 3), (3, 2), (4, 4)], Correlation(0.8, 4), id="two changed"),
        pytest.param([(1, 1), (2, 2), (3, 3)], Correlation(None, 3), id="three are too few"),
        pytest.param([], Correlation(None, 0), id="none"),
        pytest.param([(1, 1), (1, 2), (1, 3), (1, 4)], Correlation(None, 4), id="all alike"),
    ],
)
def test_rank_correlation__by_hand(pairs: list[tuple[float, float]], expected: Correlation) -> None:
    assert rank_correlation(pairs) == expected


def test_collect_choices__over_runs_and_within_rows(suite: Path) -> None:
    found = collect_choices(suite)
    assert found.thresholds == (0.5,)
    rows = {row.key: row for row in found.rows}
    assert list(rows) == ["m3", "m4"]
    assert found.correlation("agreement", 0.5, rows["m3"]) == Correlation(1.0, 4)
    assert found.correlation("agreement", 0.5, rows["m4"]) == Correlation(-1.0, 4)
    # By agreement: m3-0 m4-0 m3-1 m4-1 m3-2 m4-2 m3-3 m4-3, with AP of ranks 1 8 3 6 5 4 7 2;
    # squared differences 0 36 0 4 0 4 0 36, so 1 - 6 * 80 / (8 * 63).
    rho, n = found.correlation("agreement", 0.5).rho, found.correlation("agreement", 0.5).n
    assert n == 8
    assert rho == pytest.approx(1 - 480 / 504)
    # M4 has no stability, M3's is one value; the upper bound's is left out.
    assert found.correlation("stability", 0.5) == Correlation(None, 4)


def test_collect_choices__ap_is_that_of_the_network_that_labels(suite: Path) -> None:
    ap = {run.name: run.ap for run in collect_choices(suite).runs}
    assert ap["m3-seed1"] == pytest.approx(14)
    assert ap["oracle-seed1"] == pytest.approx(41)


def test_collect_choices__of_a_teacher_that_was_not_judged_ap_is_the_students(suite: Path) -> None:
    for seed in SEEDS:
        path = suite / "runs" / f"m3-seed{seed}" / "evaluation" / "00000009.json"
        judged = json.loads(path.read_text())
        del judged["results"]["teacher"]
        path.write_text(json.dumps(judged))
    found = collect_choices(suite)
    shown = {run.name: (run.ap, run.ap_network) for run in found.runs}
    assert shown["m3-seed1"] == (pytest.approx(12), "student")
    assert shown["m4-seed1"] == (pytest.approx(16.5), "teacher")
    assert found.correlation("agreement", 0.5, found.rows[0]) == Correlation(1.0, 4)
    said = "The teacher, which labels, was not judged in runs of M3: their AP is the student's."
    assert said in markdown(found)
    lines = list(csv.DictReader(csv_text(found).splitlines()))
    assert {line["ap_network"] for line in lines if line["row"] == "m3"} == {"student"}


def test_collect_choices__runs_not_measured_at_their_end_are_named(suite: Path) -> None:
    (suite / "runs" / "m3-seed0" / "choice.json").unlink()
    measure(suite, "m4-seed0", agreement=0.5, step=6)
    found = collect_choices(suite)
    assert found.unmeasured == ("m3-seed0", "m4-seed0")
    assert found.correlation("agreement", 0.5) == Correlation(
        found.correlation("agreement", 0.5).rho, 6
    )
    assert "Finished and not measured: m3-seed0, m4-seed0." in markdown(found)


def test_collect_choices__refuses_what_cannot_be_compared(suite: Path, write_suite: Write) -> None:
    measure(suite, "m3-seed0", agreement=0.5, images=8)
    with pytest.raises(UserError, match="equally many images to be compared, got 4, 8"):
        collect_choices(suite)
    empty = write_suite("table2", {"both": {0: 10.0}})
    with pytest.raises(UserError, match=r"got none .* uda4inst choose"):
        collect_choices(empty)
    semantic = write_suite("semantic", {})
    with pytest.raises(UserError, match="of instance segmentation, got semantic"):
        collect_choices(semantic)


def test_write_choices__csv_and_markdown(suite: Path) -> None:
    found = collect_choices(suite)
    assert write_choices(found) == [suite / "report" / "choice.md", suite / "report" / "choice.csv"]
    lines = list(csv.DictReader((suite / "report" / "choice.csv").read_text().splitlines()))
    assert (suite / "report" / "choice.csv").read_text() == csv_text(found)
    assert len(lines) == 12
    (one,) = [line for line in lines if line["run"] == "m3-seed1"]
    assert (one["row"], one["seed"], one["scenes"], one["step"]) == ("m3", "1", "", "9")
    assert (one["agreement"], one["stability"], one["images"]) == ("0.1", "0.5", "4")
    assert float(one["ap"]) == pytest.approx(14)
    (bound,) = [line for line in lines if line["run"] == "oracle-seed0"]
    assert (bound["role"], bound["agreement"]) == ("upper_bound", "")
    text = (suite / "report" / "choice.md").read_text()
    assert "was not judged" not in text
    assert one["ap_network"] == "teacher"
    assert "| all runs | agreement | 0.05 (8) |" in text
    assert "| all runs | stability | – (4) |" in text
    assert "agreement | 1.00 (4) |" in text


def test_choose__of_a_suite_prints_what_it_writes(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(suite=suite)
    said = capsys.readouterr()
    assert said.out == (suite / "report" / "choice.md").read_text() + "\n"
    assert f"written: {suite}/report/choice.csv" in said.err
