"""The tables of docs/results.md and docs/protocol.md say what their CSV files say, rounded once."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")


class Numbers:
    """What a suite's CSV file says of a row, by the first protocol."""

    def __init__(self, name: str) -> None:
        with (DOCS / "results" / name).open(encoding="utf-8") as file:
            self._lines = {
                (line["row"], line["metric"], line["class"], line["minus"]): line
                for line in csv.DictReader(file)
                if line["network"] == "student" and line["protocol"] != "coco"
            }

    def three(self, low: str, high: str, *key: str) -> tuple[float, float, float]:
        line = self._lines[key[0], key[1], key[2], key[3]]
        return float(line["mean"]), float(line[low]), float(line[high])

    def mean(self, row: str, metric: str, kind: str = "all") -> float:
        return float(self._lines[row, metric, kind, ""]["mean"])


# The numbers that a cell is to print for a row, in order.
Cell = Callable[[Numbers, str], list[str]]


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text


def runs(metric: str = "AP") -> Cell:
    """Mean, smallest and largest run."""
    return lambda numbers, row: [
        f"{value:.1f}" for value in numbers.three("min", "max", row, metric, "all", "")
    ]


def mean(metric: str, kind: str = "all") -> Cell:
    return lambda numbers, row: [f"{numbers.mean(row, metric, kind):.1f}"]


def minus(other: str, metric: str = "AP", kind: str = "all") -> Cell:
    """The difference to another row, with its interval."""
    return lambda numbers, row: [
        _signed(value)
        for value in numbers.three("low", "high", row, f"{metric} difference", kind, other)
    ]


def minus_these(others: Mapping[str, Sequence[str]], metric: str = "AP") -> Cell:
    return lambda numbers, row: [
        text for other in others[row] for text in minus(other, metric)(numbers, row)
    ]


def taken_from(other: str) -> Cell:
    return lambda numbers, row: minus(row)(numbers, other)


def minus_it(this: str) -> Cell:
    """The difference of one row to the others, whichever of the two the file subtracts."""

    def cell(numbers: Numbers, row: str) -> list[str]:
        try:
            return taken_from(this)(numbers, row)
        except KeyError:
            value, high, low = numbers.three("low", "high", row, "AP difference", "all", this)
            return [_signed(-number) for number in (value, low, high)]

    return cell


def gap(metric: str = "AP") -> Cell:
    """The share of the gap in per cent, with its interval."""
    return lambda numbers, row: [
        str(round(value)) for value in numbers.three("low", "high", row, f"{metric} gap", "all", "")
    ]


def shares(kind: str) -> Cell:
    """Precision and recall in per cent."""
    return lambda numbers, row: [
        f"{100 * numbers.mean(row, f'{share}, score above 0.5', kind):.0f}"
        for share in ("precision", "recall")
    ]


def _detections(numbers: Numbers, row: str, kind: str) -> float:
    return numbers.mean(row, "detections an object, score above 0.5", kind)


def found(kind: str) -> Cell:
    """Precision, recall, and detections for every object."""
    return lambda numbers, row: [
        *shares(kind)(numbers, row),
        f"{_detections(numbers, row, kind):.1f}",
    ]


def motorcycles(numbers: Numbers, row: str) -> list[str]:
    """Detections for every motorcycle."""
    return [f"{_detections(numbers, row, 'motorcycle'):.2f}".lstrip("0")]


def excess(numbers: Numbers, row: str) -> list[str]:
    """How much of what the pool has more than no pool a row leaves, in per cent."""
    this, none, pool = (
        _detections(numbers, name, "motorcycle") for name in (row, "none", "budget")
    )
    return [str(round(100 * (this - none) / (pool - none)))]


@dataclass(frozen=True)
class Table:
    """A table of a page: where it is, its rows in order, its columns by place."""

    page: str
    begins: str
    numbers: str
    rows: Sequence[str]
    columns: Mapping[int, Cell]

    def __str__(self) -> str:
        return f"{self.numbers}: {self.begins}"


M = ("m1", "m2", "m3", "m4", "m5", "oracle")
THRESHOLDS = tuple(f"threshold{number}" for number in (50, 60, 70, 80, 90, 95))
EHTDI = ("source_only", "dacs", "mixing", "pixels", "classes", "ehtdi", "edges", "oracle")
EHTDI_WITHOUT = {
    "mixing": ["dacs"],
    "pixels": ["mixing"],
    "classes": ["mixing"],
    "ehtdi": ["pixels", "classes"],
    "edges": ["ehtdi"],
    "oracle": ["edges"],
}
CAUSES = (
    *("none", "budget", "seldom", "unfollowed", "riders", "riders_ignored"),
    *("beside", "realigned", "blurred"),
)
CAUSES_COLUMNS: Mapping[int, Cell] = {
    1: motorcycles,
    2: excess,
    3: shares("motorcycle"),
    4: mean("AP", "motorcycle"),
    5: minus("none", kind="motorcycle"),
}
CAUSES_LONG_COLUMNS: Mapping[int, Cell] = {
    1: motorcycles,
    2: shares("motorcycle"),
    3: mean("AP", "motorcycle"),
    4: minus("none", kind="motorcycle"),
    5: minus("none"),
}
TABLES = (
    Table(
        "results.md",
        "| row (student, Cityscapes AP, last step; 15 runs) | paper | AP, smallest and largest "
        "run | minus M1",
        "table5_toy_three_sets.csv",
        M,
        {
            2: runs(),
            3: minus("m1"),
            4: gap(),
            5: minus_these({row: [above] for above, row in pairwise(M)}),
        },
    ),
    Table(
        "results.md",
        "| precision / recall in per cent, detections for every object |",
        "table5_toy_three_sets.csv",
        ("m3", "m4", "m5", "oracle"),
        {1: found("motorcycle"), 2: found("train"), 3: found("rider")},
    ),
    Table(
        "results.md",
        "| UrbanSyn → Cityscapes ",
        "table1_toy_three_sets.csv",
        ("urbansyn_source_only", "urbansyn_uda4inst", "urbansyn_oracle"),
        {2: runs(), 3: mean("AP50"), 4: minus("urbansyn_source_only"), 5: gap()},
    ),
    Table(
        "results.md",
        "| row (student, Cityscapes AP, last step; 15 runs) | paper | AP, smallest and largest "
        "run | minus none",
        "table2_toy_three_sets.csv",
        ("none", "t2s", "s2t", "both", "oracle"),
        {2: runs(), 3: minus("none"), 4: gap(), 5: mean("AP", "car")},
    ),
    Table(
        "results.md",
        "| pool (student, Cityscapes AP, last step; 15 runs) ",
        "balance_toy_three_sets.csv",
        ("source_only", "none", "budget", "riders", "seldom", "oracle"),
        {1: runs(), 2: minus("none"), 3: minus("none", kind="train+motorcycle"), 4: gap()},
    ),
    Table(
        "results.md",
        "| pool: precision / recall in per cent, detections for every object |",
        "balance_toy_three_sets.csv",
        ("none", "budget", "riders", "seldom", "oracle"),
        {1: found("motorcycle"), 2: found("train"), 3: found("rider")},
    ),
    Table(
        "results.md",
        "| threshold (student, Cityscapes AP, last step; 6 runs) ",
        "thresholds_toy_three_sets.csv",
        ("source_only", *THRESHOLDS, "oracle"),
        {1: runs(), 2: minus("source_only"), 3: gap(), 4: minus_it("threshold90")},
    ),
    Table(
        "results.md",
        "| threshold: precision / recall in per cent, detections for every object |",
        "thresholds_toy_three_sets.csv",
        ("source_only", *THRESHOLDS, "oracle"),
        {1: found("truck"), 2: found("train"), 3: found("motorcycle"), 4: found("rider")},
    ),
    Table(
        "results.md",
        "| S2T / T2S weight ",
        "table3_toy_three_sets.csv",
        ("none", "s75_t25", "s50_t50", "s40_t60", "oracle"),
        {2: runs(), 3: minus("none"), 4: gap(), 5: taken_from("s40_t60")},
    ),
    Table(
        "results.md",
        "| grouping ",
        "table4_toy_three_sets.csv",
        ("groups1", "groups2", "groups3", "groups4", "groups5", "oracle"),
        {2: runs(), 3: minus("groups1"), 4: gap(), 5: taken_from("groups5")},
    ),
    Table(
        "results.md",
        "| method |",
        "semantic_methods_toy.csv",
        (
            *("source_only", "adversarial", "meta_pseudo_labels", "ehtdi", "dacs", "daformer"),
            "oracle",
        ),
        {1: runs("mIoU"), 2: mean("accuracy"), 3: minus("source_only", "mIoU"), 4: gap("mIoU")},
    ),
    Table(
        "results.md",
        "| EHTDI (DeepLabV2) |",
        "ehtdi_toy.csv",
        EHTDI,
        {
            2: runs("mIoU"),
            3: minus("source_only", "mIoU"),
            4: minus_these(EHTDI_WITHOUT, "mIoU"),
            5: gap("mIoU"),
        },
    ),
    Table(
        "results.md",
        "| DAFormer (MiT) |",
        "daformer_toy.csv",
        ("source_only", "mixing_cold", "mixing", "sampling", "distance", "daformer", "oracle"),
        {
            2: runs("mIoU"),
            3: minus("source_only", "mIoU"),
            4: minus("mixing_cold", "mIoU"),
            5: gap("mIoU"),
        },
    ),
    Table(
        "results.md",
        "| Meta Pseudo Labels (BiSeNet) |",
        "meta_pseudo_labels_toy.csv",
        (
            *("source_only", "fcd", "dsc", "dsc_pl", "dsc_mpl", "dsc_mpl_improvement"),
            *("dsc_adam", "dsc_rmsprop", "dsc_sgd", "oracle"),
        ),
        {2: runs("mIoU"), 3: mean("accuracy"), 4: minus("source_only", "mIoU"), 5: gap("mIoU")},
    ),
    Table(
        "protocol.md",
        "| row | seeds |",
        "balance_toy_development.csv",
        ("riders", "riders_fade", "together", "weight"),
        {
            2: minus("none", kind="train+motorcycle"),
            3: minus("none", kind="train"),
            4: minus("none", kind="motorcycle"),
            5: minus("none"),
        },
    ),
    Table(
        "protocol.md",
        "Scene set 5, 1,521 images",
        "causes_toy_development.csv",
        CAUSES,
        CAUSES_COLUMNS,
    ),
    Table(
        "protocol.md",
        "Scene set 6, 1,522 images",
        "causes_toy_development_6.csv",
        CAUSES,
        CAUSES_COLUMNS,
    ),
    Table(
        "protocol.md",
        "With 1,200 steps on scene set 5",
        "causes_long_toy_development.csv",
        ("none", "budget"),
        CAUSES_LONG_COLUMNS,
    ),
    Table(
        "protocol.md",
        "With 1,200 steps on scene set 6",
        "causes_long_toy_development_6.csv",
        ("none", "budget"),
        CAUSES_LONG_COLUMNS,
    ),
)


def _cells(table: Table) -> list[list[str]]:
    """The cells of the one table that begins so, or of the first after the line that does."""
    lines = (DOCS / table.page).read_text(encoding="utf-8").splitlines()
    (begin,) = (number for number, line in enumerate(lines) if line.startswith(table.begins))
    while not lines[begin].startswith("| :--"):
        begin += 1
    rows: list[list[str]] = []
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_table__says_what_its_file_says(table: Table) -> None:
    numbers = Numbers(table.numbers)
    cells = _cells(table)
    assert len(cells) == len(table.rows)
    for place, expected in table.columns.items():
        said = {
            row: NUMBER.findall(line[place])
            for row, line in zip(table.rows, cells, strict=True)
            if line[place] not in ("", "–")
        }
        assert said
        assert said == {row: expected(numbers, row) for row in said}


@pytest.mark.parametrize(
    ("scenes", "row", "name"),
    [
        (scenes, row, f"causes_long_steps_toy_development{ending}.csv")
        for scenes, ending in (("5", ""), ("6", "_6"))
        for row in ("none", "budget")
    ],
)
def test_motorcycles_by_step__are_what_their_file_says(scenes: str, row: str, name: str) -> None:
    with (DOCS / "results" / name).open(encoding="utf-8") as file:
        found = [
            line
            for line in csv.DictReader(file)
            if (line["row"], line["class"]) == (row, "motorcycle")
        ]
    expected = [f"{float(line['detections an object']):.2f}" for line in found]
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    (said,) = (line for line in lines if line.startswith(f"| {scenes}, `{row}` |"))
    assert len(expected) == 4
    assert NUMBER.findall(said.split("|", 2)[2]) == expected
    if row == "budget":
        *wrong, last = (f"{int(line['detections']) - int(line['right']):,}" for line in found)
        assert f"{', '.join(wrong)} and {last} on " in text


@pytest.mark.parametrize(
    ("name", "row", "other", "metric", "kind"),
    [
        ("balance", "seldom", "none", "AP", "train+motorcycle"),
        ("balance", "seldom", "none", "AP", "all"),
        ("balance", "seldom", "budget", "AP", "train+motorcycle"),
        ("balance", "riders", "budget", "AP", "motorcycle"),
        ("balance", "riders", "none", "AP", "rider"),
        ("balance", "seldom", "riders", "AP", "person"),
        ("balance", "seldom", "riders", "AP", "rider"),
        ("table5", "m5", "m3", "AP50", "all"),
        ("table5", "m4", "m3", "AP50", "all"),
        ("table2", "both", "s2t", "AP50", "all"),
        ("table4", "groups3", "groups1", "AP50", "all"),
        ("table4", "groups5", "groups1", "AP50", "all"),
        ("table4", "groups4", "groups1", "AP50", "all"),
        ("thresholds", "threshold90", "threshold80", "AP", "all"),
        ("thresholds", "threshold90", "threshold80", "AP50", "all"),
        ("thresholds", "threshold90", "threshold80", "AP", "person"),
        ("thresholds", "threshold90", "threshold50", "AP", "truck"),
        ("thresholds", "threshold90", "threshold50", "AP", "bus"),
        ("thresholds", "threshold50", "source_only", "AP", "truck"),
    ],
)
def test_difference_in_text__is_what_its_file_says(
    name: str, row: str, other: str, metric: str, kind: str
) -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    numbers = Numbers(f"{name}_toy_three_sets.csv")
    value, low, high = minus(other, metric, kind)(numbers, row)
    assert f"{value}, {low} to {high}" in text


def test_excess_of_seldom__is_what_its_file_says() -> None:
    (left,) = excess(Numbers("balance_toy_three_sets.csv"), "seldom")
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"has less than half of the excess of detections holds ({left} %)" in text
