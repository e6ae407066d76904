"""Tables 1 to 5 of the paper, row by row."""

from __future__ import annotations

from typing import Any, Final

from uda4inst.classes import THING_NAMES
from uda4inst.suites import paper
from uda4inst.suites.definition import (
    ORACLE,
    ORACLE_SETTINGS,
    Row,
    Suite,
    self_training,
    source_training,
)
from uda4inst.suites.paper import PaperNumbers

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
            source_training("one"),
            source_only,
            role="lower_bound",
            **shared,
        ),
        Row(
            f"{benchmark}_uda4inst", "UDA4Inst", self_training("two", pool=True), uda4inst, **shared
        ),
        Row(
            f"{benchmark}_oracle",
            "upper bound (target labels)",
            ORACLE_SETTINGS,
            oracle,
            role="upper_bound",
            runs_as="oracle",
            **shared,
        ),
    )


TABLE1: Final = Suite(
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
    settings = self_training("one", pool=False) | {
        "method.mixing.s2t": s2t,
        "method.mixing.t2s": t2s,
    }
    notes = (footnote,) if footnote else ()
    return Row(key, label, settings, numbers, footnotes=notes)


TABLE2: Final = Suite(
    "table2",
    "Table 2: direction of mixing",
    "One network, no category groups, no rare-class pool. Without mixing the whole length is "
    "source training.",
    (
        Row("none", "none", source_training("one"), paper.MIXING_NONE, role="lower_bound"),
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
        ORACLE,
    ),
    footnotes=_MIXING | _LOST,
)


def _weights_row(
    key: str, s2t: float, t2s: float, numbers: PaperNumbers, *, footnotes: tuple[str, ...] = ()
) -> Row:
    settings = self_training("two", pool=True) | {
        "method.mixing.s2t_weight": s2t,
        "method.mixing.t2s_weight": t2s,
    }
    return Row(key, f"{s2t} / {t2s}", settings, numbers, footnotes=footnotes)


TABLE3: Final = Suite(
    "table3",
    "Table 3: weights of the S2T and T2S losses",
    "All parts on (two category groups, rare-class pool); S2T weight / T2S weight. Without mixing "
    "the whole length is source training of both groups.",
    (
        Row(
            "none",
            "no mixing",
            source_training("two"),
            paper.WEIGHTS_NONE,
            role="lower_bound",
            footnotes=("groups",),
        ),
        _weights_row("s75_t25", 0.75, 0.25, paper.WEIGHTS_75_25),
        _weights_row("s50_t50", 0.5, 0.5, paper.WEIGHTS_50_50, footnotes=("lost",)),
        _weights_row("s40_t60", 0.4, 0.6, paper.WEIGHTS_40_60),
        ORACLE,
    ),
    footnotes=_GROUPS | _LOST,
)

TABLE4: Final = Suite(
    "table4",
    "Table 4: category groups",
    "Source training alone, one network for each group, predictions merged. P person, R rider, "
    "MC motorcycle.",
    (
        Row("groups1", "1: one model", source_training("one"), paper.GROUPS_1, role="lower_bound"),
        Row(
            "groups2",
            "2: {P, R, bus, MC}, {car, truck, train, bicycle}",
            source_training("table4_2"),
            paper.GROUPS_2,
        ),
        Row(
            "groups3",
            "3: {P, R, car, bicycle}, {truck, bus, train, MC}",
            source_training("table4_3"),
            paper.GROUPS_3,
        ),
        Row("groups4", "4: {P, R}, {the rest}", source_training("table4_4"), paper.GROUPS_4),
        Row(
            "groups5",
            "5: {P, R, MC, bicycle}, {car, truck, bus, train}",
            source_training("two"),
            paper.GROUPS_5,
            footnotes=("groups",),
        ),
        ORACLE,
    ),
    footnotes=_GROUPS,
)

TABLE5: Final = Suite(
    "table5",
    "Table 5: components",
    "CMT category module training (two groups), BDM bidirectional mixing, RcB rare-class "
    "balancing (the pool).",
    (
        Row(
            "m1",
            "M1",
            source_training("one"),
            paper.M1,
            role="lower_bound",
            marks=("", "", ""),
        ),
        Row(
            "m2", "M2", source_training("two"), paper.M2, marks=("✓", "", ""), footnotes=("groups",)
        ),
        Row(
            "m3",
            "M3",
            self_training("one", pool=False),
            paper.M3,
            marks=("", "✓", ""),
            footnotes=("mixing",),
        ),
        Row("m4", "M4", self_training("two", pool=False), paper.M4, marks=("✓", "✓", "")),
        Row("m5", "M5", self_training("two", pool=True), paper.M5, marks=("✓", "✓", "✓")),
        ORACLE,
    ),
    columns=("CMT", "BDM", "RcB"),
    footnotes=_MIXING | _GROUPS,
)
