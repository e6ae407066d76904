"""What a table is: its rows, the settings behind them, and the paper's numbers.

A suite says nothing about length, data or machine; `scales.yaml` does. Rows differ from one
another by `Row.settings` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from uda4inst.classes import THING_NAMES
from uda4inst.suites import paper
from uda4inst.suites.paper import PaperNumbers
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES

SuiteName = Literal[
    "table1",
    "table2",
    "table3",
    "table4",
    "table5",
    "thresholds",
    "alignment",
    "extensions",
    "balance",
    "semantic",
    "daformer",
    "ehtdi",
    "meta_pseudo_labels",
    "semantic_methods",
]
Bound = Literal["lower_bound", "upper_bound"]
Role = Literal["row"] | Bound

# The pairs of source and target of Table 1, in its order; then those of other tasks.
BENCHMARKS: Final[Mapping[str, str]] = {
    "urbansyn": "UrbanSyn → Cityscapes",
    "synscapes": "Synscapes → Cityscapes",
    "synthia": "SYNTHIA → Cityscapes",
    "urbansyn_semantic": "UrbanSyn → Cityscapes, semantic",
    "gta5_daformer": "GTA5 → Cityscapes, MiT with DAFormer's head",
    "gta5_deeplab": "GTA5 → Cityscapes, DeepLabV2",
    "gta5_bisenet": "GTA5 → Cityscapes, BiSeNet",
}


# What the paper balances with UrbanSyn and Synscapes, and the suites here at every scale.
RARE: Final = ("train", "motorcycle")


class Cell(NamedTuple):
    """What a row is trained once for.

    Args:
        scenes: seed of the scenes it is trained and judged on; None where there is one data set.
        seed: of the training.
    """

    scenes: int | None
    seed: int

    @property
    def suffix(self) -> str:
        """Ending of the names of its runs."""
        of_scenes = "" if self.scenes is None else f"-scenes{self.scenes}"
        return f"{of_scenes}-seed{self.seed}"

    @property
    def words(self) -> str:
        """As messages name it."""
        return (
            f"seed {self.seed}"
            if self.scenes is None
            else f"scenes {self.scenes}, seed {self.seed}"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        key: names its runs; letters, digits, "_" and "-".
        label: as the table shows it.
        settings: configuration values by dotted name, over those of the scale.
        paper: the paper's numbers; None where its tables have no such row.
        benchmark: key of `BENCHMARKS`.
        role: whether it is the lower or the upper end of the gap that others close.
        marks: cells of the suite's `columns`.
        classes: classes its means are over.
        runs_as: key of the row whose runs these are; empty for its own.
        footnotes: keys of the suite's `footnotes`.
        is_extra: not a row of the paper's table, added for comparison.
    """

    key: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    paper: PaperNumbers | None = None
    benchmark: str = "urbansyn"
    role: Role = "row"
    marks: tuple[str, ...] = ()
    classes: tuple[str, ...] = THING_NAMES
    runs_as: str = ""
    footnotes: tuple[str, ...] = ()
    is_extra: bool = False

    @property
    def run_key(self) -> str:
        """Key in the names of the row's runs."""
        return self.runs_as or self.key


@dataclass(frozen=True, slots=True)
class Suite:
    """One table.

    Args:
        name: what the command line calls it.
        title: heading of its report.
        text: what its rows have in common.
        rows: in the paper's order, extra rows last.
        columns: headings of the rows' marks.
        footnotes: by key.
        task: what its runs predict.
        rare: classes whose mean is compared beside the single ones; empty for none.
    """

    name: SuiteName
    title: str
    text: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    footnotes: Mapping[str, str] = field(default_factory=dict)
    task: Task = INSTANCES
    rare: tuple[str, ...] = RARE

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of its tables: its task's, and those of one's own behind them."""
        return classes_of(self.task, *self.rows)

    def with_own(self, names: Sequence[str]) -> Suite:
        """Return the suite over classes of one's own as well, of which the paper has no numbers."""
        rows = (replace(r, classes=(*r.classes, *names), paper=None) for r in self.rows)
        return replace(self, rows=tuple(rows)) if names else self

    def row(self, key: str) -> Row:
        """Return the row of a key."""
        return next(row for row in self.rows if row.key == key)

    def bound(self, row: Row, role: Bound) -> Row | None:
        """Return the lower or upper end of the gap of a row's benchmark; None without one."""
        ends = [r for r in self.rows if r.role == role and r.benchmark == row.benchmark]
        return ends[0] if ends else None


def classes_of(task: Task, *rows: Row) -> tuple[str, ...]:
    """Return the classes of a task, and those of rows that are none of them behind."""
    return tuple(dict.fromkeys((*task.class_names, *(name for r in rows for name in r.classes))))


def source_training(groups: str) -> dict[str, Any]:
    """Return the settings of source training with these category groups."""
    return {"method.name": "source_only", "method.groups": groups}


def self_training(groups: str, *, pool: bool) -> dict[str, Any]:
    """Return the settings of self-training with these category groups, with or without pool."""
    return {"method.name": "uda4inst", "method.groups": groups, "method.pool.enabled": pool}


ORACLE_SETTINGS: Final = {"method.name": "oracle", "method.groups": "one"}
ORACLE: Final = Row(
    "oracle",
    "upper bound (target labels; the paper's of Table 1)",
    ORACLE_SETTINGS,
    paper.UPPER_BOUND,
    role="upper_bound",
    is_extra=True,
)
