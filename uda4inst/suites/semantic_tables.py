"""Semantic segmentation: its bounds, and the ablations of the comparison methods.

Published numbers are per cent on Cityscapes val, of the networks and lengths of the papers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from uda4inst.suites.definition import Row, Suite
from uda4inst.suites.paper import PaperNumbers
from uda4inst.tasks.semantic import SEMANTIC

_SOURCE_ONLY: Final[Mapping[str, Any]] = {
    "method.name": "source_only",
    "method.lab_alignment": False,
    "data.rare_class_temperature": None,
}
_ORACLE: Final[Mapping[str, Any]] = {"method.name": "oracle", "data.rare_class_temperature": None}


def _row(
    key: str,
    label: str,
    settings: Mapping[str, Any],
    *,
    benchmark: str,
    **more: Any,
) -> Row:
    return Row(key, label, settings, benchmark=benchmark, classes=SEMANTIC.class_names, **more)


def _bounds(benchmark: str, *, oracle: PaperNumbers | None = None) -> tuple[Row, Row]:
    """Return the rows of a network without adaptation, and with the target's labels."""
    return (
        _row("source_only", "w/o UDA", _SOURCE_ONLY, benchmark=benchmark, role="lower_bound"),
        _row(
            "oracle",
            "upper bound (target labels)",
            _ORACLE,
            benchmark=benchmark,
            role="upper_bound",
            paper=oracle,
        ),
    )


def _suite(name: Any, title: str, text: str, rows: Sequence[Row]) -> Suite:
    return Suite(name, title, text, tuple(rows), task=SEMANTIC, rare=())


_BOUNDS_OF_SEGFORMER: Final = "urbansyn_semantic"
SEMANTIC_BOUNDS: Final = Suite(
    "semantic",
    "Semantic segmentation: the bounds",
    "Nineteen classes a pixel by SegFormer, trained on labelled source images and on labelled "
    "target images. Not in the paper.",
    (
        _row(
            "source_only",
            "w/o UDA",
            {"method.name": "source_only"},
            benchmark=_BOUNDS_OF_SEGFORMER,
            role="lower_bound",
        ),
        _row(
            "oracle",
            "upper bound (target labels)",
            {"method.name": "oracle"},
            benchmark=_BOUNDS_OF_SEGFORMER,
            role="upper_bound",
        ),
    ),
    task=SEMANTIC,
    rare=(),
)


# DAFormer: its parts, each on and off ------------------------------------------------------------

_DAFORMER_NET: Final = "gta5_daformer"
_NO_SAMPLING: Final[Mapping[str, Any]] = {"data.rare_class_temperature": None}
_NO_DISTANCE: Final[Mapping[str, Any]] = {"method.feature_distance.weight": 0.0}
_NO_WARM_UP: Final[Mapping[str, Any]] = {"optim.warmup_steps": 0}
_DAFORMER: Final[Mapping[str, Any]] = {"method.name": "daformer"}


def _daformer(key: str, label: str, *off: Mapping[str, Any], **more: Any) -> Row:
    settings = dict(_DAFORMER)
    for part in off:
        settings |= part
    return _row(key, label, settings, benchmark=_DAFORMER_NET, **more)


_lower, _upper = _bounds(_DAFORMER_NET)
DAFORMER: Final = _suite(
    "daformer",
    "DAFormer: its parts",
    "Class mixing on DAFormer's network without warm-up, rare-class sampling and feature "
    "distance, and with each. The paper's table of them is not known here, its result is.",
    (
        _lower,
        _daformer("mixing_cold", "class mixing", _NO_SAMPLING, _NO_DISTANCE, _NO_WARM_UP),
        _daformer("mixing", "+ warm-up", _NO_SAMPLING, _NO_DISTANCE),
        _daformer("sampling", "+ warm-up, rare-class sampling", _NO_DISTANCE),
        _daformer("distance", "+ warm-up, feature distance", _NO_SAMPLING),
        _daformer(
            "daformer",
            "DAFormer: all three",
            paper=PaperNumbers("GTA5 to Cityscapes", miou=68.3),
        ),
        _upper,
    ),
)


# EHTDI -------------------------------------------------------------------------------------------

_DEEPLAB: Final = "gta5_deeplab"
_NO_POSITIONS: Final[Mapping[str, Any]] = {"method.position_weight": 0.0}
_NO_CLASSES: Final[Mapping[str, Any]] = {"method.prototype_weight": 0.0}


def _ehtdi(key: str, label: str, *off: Mapping[str, Any], **more: Any) -> Row:
    settings: dict[str, Any] = {"method.name": "ehtdi"}
    for part in off:
        settings |= part
    return _row(key, label, settings, benchmark=_DEEPLAB, **more)


_lower, _upper = _bounds(_DEEPLAB)
EHTDI: Final = _suite(
    "ehtdi",
    "EHTDI: its parts",
    "Class mixing in both directions on DeepLabV2, the contrast of pixels and of classes, and the "
    "authors' later variant with edges; DACS on the same network. The paper's ablation is not "
    "known here, its result is.",
    (
        _lower,
        _row(
            "dacs",
            "DACS",
            {"method.name": "dacs"},
            benchmark=_DEEPLAB,
            paper=PaperNumbers("GTA5 to Cityscapes", miou=52.1),
        ),
        _ehtdi("mixing", "mixing both ways", _NO_POSITIONS, _NO_CLASSES),
        _ehtdi("pixels", "+ contrast of pixels", _NO_CLASSES),
        _ehtdi("classes", "+ contrast of classes", _NO_POSITIONS),
        _ehtdi("ehtdi", "EHTDI: both", paper=PaperNumbers("GTA5 to Cityscapes", miou=58.8)),
        _ehtdi(
            "edges",
            "+ edges (later variant)",
            {"method.edges": True},
            paper=PaperNumbers("GTA5 to Cityscapes", miou=62.0),
        ),
        _upper,
    ),
)


# Meta Pseudo Labels: the report's Table I, and its comparison of optimizers ----------------------

_BISENET: Final = "gta5_bisenet"


def _table_one(miou: float, accuracy: float, *iou: float) -> PaperNumbers:
    by_class = dict(zip(SEMANTIC.class_names, iou, strict=True))
    return PaperNumbers("Table I", miou=miou, accuracy=accuracy, class_iou=by_class)


# fmt: off
_SUPERVISED: Final = _table_one(
    54.7, 80.5, 96.4, 74.49, 86.19, 33.51, 27.26, 38.16, 42.37, 54.42, 87.81, 49.2, 89.95, 60.7,
    33.9, 88.24, 26.83, 42.1, 22.39, 26.55, 58.67,
)
_FCD: Final = _table_one(
    28.8, 66.8, 70.32, 22.71, 68.94, 23.15, 17.65, 8.17, 0.048, 0, 76.96, 32.07, 64.45, 33.16,
    2.21, 73.35, 27.19, 24.39, 0, 2.62, 0,
)
_DSC: Final = _table_one(
    30.7, 70.6, 80.45, 31.64, 75.32, 19.81, 9.38, 23, 9.08, 4.84, 79, 35.84, 68.19, 35.96, 8.43,
    70.26, 13.90, 13.73, 0, 4.11, 0,
)
_DSC_PL: Final = _table_one(
    32.2, 73.4, 86.30, 35.68, 77.94, 22.10, 8.13, 24.32, 14.26, 7.68, 81.9, 36.14, 73.56, 39.71,
    2.46, 74.62, 17.24, 4.71, 0, 5.92, 0,
)
_DSC_MPL: Final = _table_one(
    32.5, 72, 83.65, 36.02, 79.24, 21.09, 9.37, 23.48, 15.17, 8.51, 82.27, 36.84, 71.95, 37.88,
    2.04, 75.32, 15.86, 5.02, 0, 4.6, 0,
)
# fmt: on


def _bisenet(key: str, label: str, method: str, settings: Mapping[str, Any], **more: Any) -> Row:
    everything = {"method.name": method, **settings}
    return _row(key, label, everything, benchmark=_BISENET, **more)


_PSEUDO: Final[Mapping[str, Any]] = {"method.pseudo_labels_from": 0.5}
_DSC_GAME: Final[Mapping[str, Any]] = {"method.game.discriminator": "dsc"}
_lower, _upper = _bounds(_BISENET, oracle=_SUPERVISED)
META_PSEUDO_LABELS: Final = _suite(
    "meta_pseudo_labels",
    "Meta Pseudo Labels: the report's Table I",
    "BiSeNet with a discriminator of domains, plain (FCD) or depthwise-separable (DSC), then with "
    "pseudo-labels, then with a teacher that learns from what its labels did; the same with "
    "Pham et al.'s measure of that, and DSC by other optimizers. The report's upper bound is of "
    "ResNet-101; of ResNet-18 it has 45.6 (model.preset=bisenet_r18).",
    (
        _lower,
        _bisenet(
            "fcd",
            "FCD",
            "adversarial",
            {"method.game.discriminator": "fcd"},
            paper=_FCD,
        ),
        _bisenet("dsc", "DSC", "adversarial", _DSC_GAME, paper=_DSC),
        _bisenet("dsc_pl", "DSC + PL", "adversarial", {**_DSC_GAME, **_PSEUDO}, paper=_DSC_PL),
        _bisenet("dsc_mpl", "DSC + MPL", "meta_pseudo_labels", _DSC_GAME, paper=_DSC_MPL),
        _bisenet(
            "dsc_mpl_improvement",
            "DSC + MPL, feedback by improvement",
            "meta_pseudo_labels",
            {**_DSC_GAME, "method.feedback": "improvement"},
        ),
        *(
            _bisenet(
                f"dsc_{algorithm}",
                f"DSC by {title}",
                "adversarial",
                {**_DSC_GAME, "optim.algorithm": algorithm, "optim.lr": lr},
            )
            for algorithm, title, lr in (
                ("adam", "Adam", 1e-3),
                ("rmsprop", "RMSprop", 1e-3),
                ("sgd", "SGD", 2.5e-2),
            )
        ),
        _upper,
    ),
)


# All of them on one network -----------------------------------------------------------------------

_lower, _upper = _bounds(_DAFORMER_NET)


def _beside(key: str, label: str, settings: Mapping[str, Any] = _NO_SAMPLING) -> Row:
    everything = {"method.name": key, **settings}
    return _row(key, label, everything, benchmark=_DAFORMER_NET)


SEMANTIC_METHODS: Final = _suite(
    "semantic_methods",
    "Semantic methods side by side",
    "Each method, its own settings, on DAFormer's network, so that what differs is the method; "
    "the papers have each on another network. Rare-class sampling is DAFormer's alone.",
    (
        _lower,
        _beside("adversarial", "adversarial (DSC)"),
        _beside("meta_pseudo_labels", "Meta Pseudo Labels (DSC)"),
        _beside("ehtdi", "EHTDI"),
        _beside("dacs", "DACS"),
        _beside("daformer", "DAFormer", {}),
        _upper,
    ),
)
