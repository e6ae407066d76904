"""What each of the paper's tables is: its rows, the settings behind them, and their numbers.

A suite says nothing about length, data or machine; `scales.yaml` does. Rows differ from one
another by `Row.settings` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from uda4inst.classes import THING_NAMES
from uda4inst.suites import paper
from uda4inst.suites.paper import PaperNumbers

SuiteName = Literal["table1", "table2", "table3", "table4", "table5", "thresholds", "extensions"]
Role = Literal["row", "source_only", "oracle"]

# The pairs of source and target of Table 1, in its order.
BENCHMARKS: Final[Mapping[str, str]] = {
    "urbansyn": "UrbanSyn → Cityscapes",
    "synscapes": "Synscapes → Cityscapes",
    "synthia": "SYNTHIA → Cityscapes",
}


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
    """

    name: SuiteName
    title: str
    text: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    footnotes: Mapping[str, str] = field(default_factory=dict)

    def row(self, key: str) -> Row:
        """Return the row of a key."""
        return next(row for row in self.rows if row.key == key)

    def bound(self, row: Row, role: Literal["source_only", "oracle"]) -> Row | None:
        """Return the lower or upper end of the gap of a row's benchmark; None without one."""
        ends = [r for r in self.rows if r.role == role and r.benchmark == row.benchmark]
        return ends[0] if ends else None


def _source_only(groups: str) -> dict[str, Any]:
    return {"method.name": "source_only", "method.groups": groups}


def _uda4inst(groups: str, *, pool: bool) -> dict[str, Any]:
    return {"method.name": "uda4inst", "method.groups": groups, "method.pool.enabled": pool}


_MIXING_FOOTNOTE: Final = (
    "The paper gives bidirectional mixing alone as 37.18 in Table 2 and as 36.1 (M3) in Table 5."
)
_GROUPS_FOOTNOTE: Final = (
    "The paper gives category groups alone as 35.5 in Table 4 and as 34.8 (M2, and Table 3 "
    "without mixing) in Table 5."
)
_SYNTHIA_FOOTNOTE: Final = (
    "SYNTHIA has no truck and no train: these means are over its 6 classes, in the paper and here; "
    "the paper's upper bound over them is taken from its class values."
)
_LOST_FOOTNOTE: Final = "This number of the paper is not known here."
_MIXING: Final = {"mixing": _MIXING_FOOTNOTE}
_GROUPS: Final = {"groups": _GROUPS_FOOTNOTE}
_LOST: Final = {"lost": _LOST_FOOTNOTE}

_ORACLE_SETTINGS: Final = {"method.name": "oracle", "method.groups": "one"}
_ORACLE: Final = Row(
    "oracle",
    "upper bound (target labels; the paper's of Table 1)",
    _ORACLE_SETTINGS,
    paper.UPPER_BOUND,
    role="oracle",
    is_extra=True,
)


def _benchmark_rows(
    benchmark: str,
    bounds: tuple[PaperNumbers, PaperNumbers, PaperNumbers],
    *,
    classes: tuple[str, ...] = THING_NAMES,
    footnotes: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    """Return Table 1's rows of one source; the upper bound does not depend on the source."""
    source_only, uda4inst, oracle = bounds
    shared: dict[str, Any] = {
        "benchmark": benchmark,
        "classes": classes,
        "footnotes": footnotes,
    }
    return (
        Row(
            f"{benchmark}_source_only",
            "w/o UDA",
            _source_only("one"),
            source_only,
            role="source_only",
            **shared,
        ),
        Row(f"{benchmark}_uda4inst", "UDA4Inst", _uda4inst("two", pool=True), uda4inst, **shared),
        Row(
            f"{benchmark}_oracle",
            "upper bound (target labels)",
            _ORACLE_SETTINGS,
            oracle,
            role="oracle",
            runs_as="oracle",
            **shared,
        ),
    )


_TABLE1: Final = Suite(
    "table1",
    "Table 1: the benchmarks",
    "One network without adaptation, the full method (two category groups, bidirectional mixing, "
    "rare-class pool), and one network trained with the target's labels. The upper bound sees no "
    "source, so one set of runs serves every source.",
    (
        *_benchmark_rows(
            "urbansyn",
            (paper.URBANSYN_SOURCE_ONLY, paper.URBANSYN_UDA4INST, paper.UPPER_BOUND),
        ),
        *_benchmark_rows(
            "synscapes",
            (paper.SYNSCAPES_SOURCE_ONLY, paper.SYNSCAPES_UDA4INST, paper.UPPER_BOUND),
        ),
        *_benchmark_rows(
            "synthia",
            (paper.SYNTHIA_SOURCE_ONLY, paper.SYNTHIA_UDA4INST, paper.UPPER_BOUND_SYNTHIA),
            classes=paper.SYNTHIA_CLASSES,
            footnotes=("synthia",),
        ),
    ),
    footnotes={"synthia": _SYNTHIA_FOOTNOTE},
)


def _mixing_row(
    key: str, label: str, *, s2t: bool, t2s: bool, numbers: PaperNumbers, footnote: str = ""
) -> Row:
    settings = _uda4inst("one", pool=False) | {
        "method.mixing.s2t": s2t,
        "method.mixing.t2s": t2s,
    }
    notes = (footnote,) if footnote else ()
    return Row(key, label, settings, numbers, footnotes=notes)


_TABLE2: Final = Suite(
    "table2",
    "Table 2: direction of mixing",
    "One network, no category groups, no rare-class pool. Without mixing the whole length is "
    "source training.",
    (
        Row("none", "none", _source_only("one"), paper.MIXING_NONE, role="source_only"),
        _mixing_row("t2s", "T2S", s2t=False, t2s=True, numbers=paper.MIXING_T2S),
        _mixing_row("s2t", "S2T", s2t=True, t2s=False, numbers=paper.MIXING_S2T, footnote="lost"),
        _mixing_row(
            "both",
            "bidirectional",
            s2t=True,
            t2s=True,
            numbers=paper.MIXING_BOTH,
            footnote="mixing",
        ),
        _ORACLE,
    ),
    footnotes=_MIXING | _LOST,
)


def _weights_row(
    key: str, s2t: float, t2s: float, numbers: PaperNumbers, *, footnotes: tuple[str, ...] = ()
) -> Row:
    settings = _uda4inst("two", pool=True) | {
        "method.mixing.s2t_weight": s2t,
        "method.mixing.t2s_weight": t2s,
    }
    return Row(key, f"{s2t} / {t2s}", settings, numbers, footnotes=footnotes)


_TABLE3: Final = Suite(
    "table3",
    "Table 3: weights of the S2T and T2S losses",
    "All parts on (two category groups, rare-class pool); S2T weight / T2S weight. Without mixing "
    "the whole length is source training of both groups.",
    (
        Row(
            "none",
            "no mixing",
            _source_only("two"),
            paper.WEIGHTS_NONE,
            role="source_only",
            footnotes=("groups",),
        ),
        _weights_row("s75_t25", 0.75, 0.25, paper.WEIGHTS_75_25),
        _weights_row("s50_t50", 0.5, 0.5, paper.WEIGHTS_50_50, footnotes=("lost",)),
        _weights_row("s40_t60", 0.4, 0.6, paper.WEIGHTS_40_60),
        _ORACLE,
    ),
    footnotes=_GROUPS | _LOST,
)

_TABLE4: Final = Suite(
    "table4",
    "Table 4: category groups",
    "Source training alone, one network for each group, predictions merged. P person, R rider, "
    "MC motorcycle.",
    (
        Row("groups1", "1: one model", _source_only("one"), paper.GROUPS_1, role="source_only"),
        Row(
            "groups2",
            "2: {P, R, bus, MC}, {car, truck, train, bicycle}",
            _source_only("table4_2"),
            paper.GROUPS_2,
        ),
        Row(
            "groups3",
            "3: {P, R, car, bicycle}, {truck, bus, train, MC}",
            _source_only("table4_3"),
            paper.GROUPS_3,
        ),
        Row("groups4", "4: {P, R}, {the rest}", _source_only("table4_4"), paper.GROUPS_4),
        Row(
            "groups5",
            "5: {P, R, MC, bicycle}, {car, truck, bus, train}",
            _source_only("two"),
            paper.GROUPS_5,
            footnotes=("groups",),
        ),
        _ORACLE,
    ),
    footnotes=_GROUPS,
)

_TABLE5: Final = Suite(
    "table5",
    "Table 5: components",
    "CMT category module training (two groups), BDM bidirectional mixing, RcB rare-class "
    "balancing (the pool).",
    (
        Row(
            "m1",
            "M1",
            _source_only("one"),
            paper.M1,
            role="source_only",
            marks=("", "", ""),
        ),
        Row("m2", "M2", _source_only("two"), paper.M2, marks=("✓", "", ""), footnotes=("groups",)),
        Row(
            "m3",
            "M3",
            _uda4inst("one", pool=False),
            paper.M3,
            marks=("", "✓", ""),
            footnotes=("mixing",),
        ),
        Row("m4", "M4", _uda4inst("two", pool=False), paper.M4, marks=("✓", "✓", "")),
        Row("m5", "M5", _uda4inst("two", pool=True), paper.M5, marks=("✓", "✓", "✓")),
        _ORACLE,
    ),
    columns=("CMT", "BDM", "RcB"),
    footnotes=_MIXING | _GROUPS,
)

THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_PAPER_THRESHOLD: Final = 0.9

_THRESHOLDS: Final = Suite(
    "thresholds",
    "Score threshold of the pseudo-labels",
    "The full method at several thresholds. The paper uses 0.9 and says of 0.8 that it was tried, "
    "with more errors and more small objects, but prints no table.",
    (
        Row(
            "source_only",
            "w/o UDA",
            _source_only("one"),
            paper.URBANSYN_SOURCE_ONLY,
            role="source_only",
            is_extra=True,
        ),
        *(
            Row(
                f"threshold{round(100 * threshold)}",
                str(threshold),
                _uda4inst("two", pool=True) | {"method.score_threshold": threshold},
                paper.URBANSYN_UDA4INST if threshold == _PAPER_THRESHOLD else None,
            )
            for threshold in THRESHOLDS
        ),
        _ORACLE,
    ),
)

# One setting each, over one network with mixing and pool; nothing of them sees a target label.
# Said outright, as a scale may have some of them on.
_NO_EXTENSION: Final[Mapping[str, Any]] = {
    "method.adaptive_threshold.enabled": False,
    "method.unsure_threshold": None,
    "method.min_visible_share": 0.0,
    "method.soft_weights": False,
    "method.pool.draw_by_rarity": False,
    "method.pool.draw_chance": 1.0,
}
_UNSURE: Final[Mapping[str, Any]] = {"method.unsure_threshold": 0.4}
_VISIBLE: Final[Mapping[str, Any]] = {"method.min_visible_share": 0.3}
_EXTENSIONS_OF_ONE: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "adaptive": ("+ thresholds per class", {"method.adaptive_threshold.enabled": True}),
    "unsure": ("+ unsure regions ignored", _UNSURE),
    "visible": ("+ slivers dropped", _VISIBLE),
    "unsure_visible": ("+ unsure regions ignored, slivers dropped", {**_UNSURE, **_VISIBLE}),
    "soft": ("+ pseudo-labels weighted by score", {"method.soft_weights": True}),
    "rarity": ("+ pool drawn by rarity", {"method.pool.draw_by_rarity": True}),
}


def _extension_row(key: str, label: str, settings: Mapping[str, Any]) -> Row:
    return Row(key, label, _uda4inst("one", pool=True) | {**_NO_EXTENSION, **settings})


_EXTENSIONS: Final = Suite(
    "extensions",
    "Label-free extensions",
    "One network with bidirectional mixing and the pool, and the same with one extension "
    "each. Not in the paper. The teacher's evaluation is the report's other network.",
    (
        Row(
            "source_only",
            "w/o UDA",
            _source_only("one"),
            paper.URBANSYN_SOURCE_ONLY,
            role="source_only",
            is_extra=True,
        ),
        _extension_row("plain", "UDA4Inst, one network", {}),
        *(
            _extension_row(key, label, settings)
            for key, (label, settings) in _EXTENSIONS_OF_ONE.items()
        ),
        _ORACLE,
    ),
)

SUITES: Final[Mapping[str, Suite]] = {
    suite.name: suite
    for suite in (_TABLE1, _TABLE2, _TABLE3, _TABLE4, _TABLE5, _THRESHOLDS, _EXTENSIONS)
}
