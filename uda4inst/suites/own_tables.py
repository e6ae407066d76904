"""Comparisons that are no table of the paper: thresholds, colours, extensions, balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from uda4inst.suites import paper
from uda4inst.suites.definition import ORACLE, Row, Suite, self_training, source_training

_SOURCE_ONLY: Final = Row(
    "source_only",
    "w/o UDA",
    source_training("one"),
    paper.URBANSYN_SOURCE_ONLY,
    role="lower_bound",
    is_extra=True,
)

THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_PAPER_THRESHOLD: Final = 0.9

THRESHOLD_SWEEP: Final = Suite(
    "thresholds",
    "Score threshold of the pseudo-labels",
    "The full method at several thresholds. The paper uses 0.9 and says of 0.8 that it was tried, "
    "with more errors and more small objects, but prints no table.",
    (
        _SOURCE_ONLY,
        *(
            Row(
                f"threshold{round(100 * threshold)}",
                str(threshold),
                self_training("two", pool=True) | {"method.score_threshold": threshold},
                paper.URBANSYN_UDA4INST if threshold == _PAPER_THRESHOLD else None,
            )
            for threshold in THRESHOLDS
        ),
        ORACLE,
    ),
)

_ALIGNED: Final[Mapping[str, Any]] = {"method.lab_alignment": True}
_UNALIGNED: Final[Mapping[str, Any]] = {"method.lab_alignment": False}

ALIGNMENT: Final = Suite(
    "alignment",
    "Colour alignment",
    "One network on source images in their own colours and in those of a target image (LAB mean "
    "and spread), without and with bidirectional mixing. The paper aligns always, and prints no "
    "table.",
    (
        Row(
            "source",
            "w/o UDA, own colours",
            source_training("one") | _UNALIGNED,
            role="lower_bound",
        ),
        Row("source_aligned", "w/o UDA, aligned", source_training("one") | _ALIGNED),
        Row("mixing", "mixing, own colours", self_training("one", pool=False) | _UNALIGNED),
        Row("mixing_aligned", "mixing, aligned", self_training("one", pool=False) | _ALIGNED),
        ORACLE,
    ),
)

# One setting each, over one network with mixing and pool; nothing of them sees a target label.
# Said outright, as a scale may have some of them on.
_NO_EXTENSION: Final[Mapping[str, Any]] = {
    "method.adaptive_threshold.enabled": False,
    "method.unsure_threshold": None,
    "method.min_visible_share": 0.0,
    "method.soft_weights": False,
    "method.confidence.mask_scaling": None,
    "method.confidence.point_filter": None,
    "method.pool.draw_by_rarity": False,
    "method.pool.area_budget": None,
    "method.pool.riders": "left",
}
_UNSURE: Final[Mapping[str, Any]] = {"method.unsure_threshold": 0.4}
_VISIBLE: Final[Mapping[str, Any]] = {"method.min_visible_share": 0.3}
_EXTENSIONS_OF_ONE: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "adaptive": ("+ thresholds per class", {"method.adaptive_threshold.enabled": True}),
    "unsure": ("+ unsure regions ignored", _UNSURE),
    "visible": ("+ slivers dropped", _VISIBLE),
    "unsure_visible": ("+ unsure regions ignored, slivers dropped", {**_UNSURE, **_VISIBLE}),
    "soft": ("+ pseudo-labels weighted by score", {"method.soft_weights": True}),
    # MC-PanDA's 0.99 is more than toy networks say of most pixels.
    "scaled": ("+ masks weighted by confident pixels", {"method.confidence.mask_scaling": 0.9}),
    "filtered": (
        "+ uncertain points where the teacher is sure",
        {"method.confidence.point_filter": 0.8},
    ),
    "rarity": ("+ pool drawn by rarity", {"method.pool.draw_by_rarity": True}),
    "budget": ("+ pool within an area budget", {"method.pool.area_budget": 0.03}),
}


def _extension_row(key: str, label: str, settings: Mapping[str, Any]) -> Row:
    return Row(key, label, self_training("one", pool=True) | {**_NO_EXTENSION, **settings})


EXTENSIONS: Final = Suite(
    "extensions",
    "Label-free extensions",
    "One network with bidirectional mixing and the pool, and the same with one extension "
    "each. Not in the paper. Where the teacher is judged, it is the report's other network.",
    (
        _SOURCE_ONLY,
        _extension_row("plain", "UDA4Inst, one network", {}),
        *(
            _extension_row(key, label, settings)
            for key, (label, settings) in _EXTENSIONS_OF_ONE.items()
        ),
        ORACLE,
    ),
)

# Over both groups with mixing. Each mend is one change to the pool within its area budget.
_NO_BALANCE: Final[Mapping[str, Any]] = {
    "method.rare_weight": 1.0,
    "method.pool.draw_by_rarity": False,
    "method.pool.area_budget": 0.03,
    "method.pool.riders": "left",
    "method.pool.draw_chance": 1.0,
    "method.pool.fade": False,
    "method.pool.max_overlap": 1.0,
    "method.pool.colours": "stored",
    "method.pool.pseudo_labels": True,
    "method.mixing.blur": False,
}
_RIDERS: Final[Mapping[str, Any]] = {"method.pool.riders": "pasted"}
_SELDOM: Final[Mapping[str, Any]] = {"method.pool.draw_chance": 0.2}
_BESIDE: Final[Mapping[str, Any]] = {"method.pool.max_overlap": 0.2}
_MENDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "pool": ("pool without area budget (paper)", {"method.pool.area_budget": None}),
    "budget": ("pool within an area budget", {}),
    "riders": ("+ riders pasted along (M5)", _RIDERS),
    "riders_ignored": ("+ riders pasted along, ignored", {"method.pool.riders": "ignored"}),
    "seldom": ("+ a draw for one image in five", _SELDOM),
    "fade": ("+ draws that fade", {"method.pool.fade": True}),
    "beside": ("+ not on other objects", _BESIDE),
    "realigned": (
        "+ in the colours of the image pasted into",
        {"method.pool.colours": "realigned"},
    ),
    "blurred": ("+ source blurred (authors' code)", {"method.mixing.blur": True}),
    "unfollowed": ("+ no pseudo-labels of rare classes", {"method.pool.pseudo_labels": False}),
    "riders_fade": (
        "+ riders pasted along, draws that fade",
        {**_RIDERS, "method.pool.fade": True},
    ),
    "together": ("+ riders, one image in five, not on others", {**_RIDERS, **_SELDOM, **_BESIDE}),
}


def _balance_row(key: str, label: str, settings: Mapping[str, Any], *, pool: bool = True) -> Row:
    return Row(key, label, self_training("two", pool=pool) | {**_NO_BALANCE, **settings})


BALANCE: Final = Suite(
    "balance",
    "Rare-class balance",
    "Both category groups with bidirectional mixing: without the pool, with it, with one change "
    "to it each, and with a heavier loss in its place. Not in the paper.",
    (
        _SOURCE_ONLY,
        _balance_row("none", "no pool (M4)", {}, pool=False),
        *(_balance_row(key, label, settings) for key, (label, settings) in _MENDS.items()),
        _balance_row(
            "weight", "no pool, rare classes weigh 3", {"method.rare_weight": 3.0}, pool=False
        ),
        ORACLE,
    ),
)
