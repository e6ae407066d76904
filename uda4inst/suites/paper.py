"""The numbers the UDA4Inst paper prints (arXiv 2405.09682 v1), in per cent, as printed.

Mask AP on Cityscapes val of the last stage's student. Means are the paper's own; SYNTHIA has no
truck and no train, and its means are over the six classes it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from uda4inst.classes import THING_NAMES

Metric = Literal["AP", "AP50"]
METRICS: Final[tuple[Metric, ...]] = ("AP", "AP50")

SYNTHIA_CLASSES: Final = tuple(name for name in THING_NAMES if name not in ("truck", "train"))


@dataclass(frozen=True, slots=True)
class PaperNumbers:
    """What the paper prints for one row of a table, in per cent.

    Args:
        table: where it is printed, such as "Table 5".
        ap: mean over classes; None when the number is not known.
        ap50: the same at IoU .50.
        class_ap: AP by class name; empty when not printed.
        class_ap50: AP50 by class name; empty when not printed.
        miou: mean IoU of pixels over the classes, of semantic segmentation.
        accuracy: share of pixels that is right, of semantic segmentation.
        class_iou: IoU by class name; empty when not printed.
    """

    table: str
    ap: float | None = None
    ap50: float | None = None
    class_ap: Mapping[str, float] = field(default_factory=dict)
    class_ap50: Mapping[str, float] = field(default_factory=dict)
    miou: float | None = None
    accuracy: float | None = None
    class_iou: Mapping[str, float] = field(default_factory=dict)

    def value(self, measure: str, class_name: str | None = None) -> float | None:
        """Return one number, of all classes or of one; None when the paper has none.

        Args:
            measure: of the task; the papers print no other.
            class_name: None for all classes.
        """
        if class_name is None:
            means = {
                "AP": self.ap,
                "AP50": self.ap50,
                "mIoU": self.miou,
                "accuracy": self.accuracy,
            }
            return means.get(measure)
        by_class = {"AP": self.class_ap, "AP50": self.class_ap50, "IoU": self.class_iou}
        return by_class.get(measure, {}).get(class_name)


def _by_class(values: Sequence[float], names: Sequence[str] = THING_NAMES) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


# Table 1 and Figure 4 ---------------------------------------------------------------------------
# Classes in the order person, rider, car, truck, bus, train, motorcycle, bicycle.
UPPER_BOUND: Final = PaperNumbers(
    "Table 1",
    43.9,
    71.5,
    _by_class((41.1, 32.4, 61.4, 44.8, 67.5, 50.7, 26.8, 26.6)),
    _by_class((75.4, 71.3, 87.2, 58.7, 80.3, 76.1, 58.1, 65.1)),
)
URBANSYN_SOURCE_ONLY: Final = PaperNumbers(
    "Table 1",
    32.0,
    54.4,
    _by_class((25.1, 19.5, 39.8, 37.6, 51.5, 46.7, 19.2, 16.2)),
    _by_class((52.0, 48.4, 61.5, 48.6, 66.2, 70.0, 42.6, 46.0)),
)
URBANSYN_UDA4INST: Final = PaperNumbers(
    "Table 1",
    39.0,
    63.8,
    _by_class((30.0, 26.4, 49.2, 42.9, 64.4, 58.1, 21.3, 19.7)),
    _by_class((60.1, 60.7, 75.1, 56.4, 78.0, 77.8, 48.7, 53.6)),
)
SYNSCAPES_SOURCE_ONLY: Final = PaperNumbers(
    "Table 1",
    28.1,
    50.2,
    _by_class((27.2, 19.2, 39.5, 24.0, 46.7, 33.1, 18.7, 16.6)),
    _by_class((53.9, 44.3, 67.8, 31.9, 60.6, 58.1, 39.9, 45.4)),
)
SYNSCAPES_UDA4INST: Final = PaperNumbers(
    "Table 1",
    35.7,
    60.1,
    _by_class((30.3, 27.1, 47.5, 34.5, 58.5, 46.3, 22.3, 19.1)),
    _by_class((59.9, 63.2, 77.9, 45.3, 72.8, 63.5, 46.1, 51.7)),
)
SYNTHIA_SOURCE_ONLY: Final = PaperNumbers(
    "Table 1",
    24.6,
    48.6,
    _by_class((26.3, 15.2, 38.3, 43.0, 13.6, 10.9), SYNTHIA_CLASSES),
    _by_class((53.4, 40.8, 68.1, 56.5, 36.4, 36.1), SYNTHIA_CLASSES),
)
SYNTHIA_UDA4INST: Final = PaperNumbers(
    "Table 1",
    31.3,
    56.9,
    _by_class((28.1, 19.6, 47.9, 58.7, 18.5, 15.0), SYNTHIA_CLASSES),
    _by_class((57.7, 52.5, 76.9, 68.6, 42.6, 43.3), SYNTHIA_CLASSES),
)


def over_classes(numbers: PaperNumbers, names: Sequence[str]) -> PaperNumbers:
    """Return a row with its means taken over some of its classes, from the printed class values."""
    by_ap, by_ap50 = (
        {name: values[name] for name in names} for values in (numbers.class_ap, numbers.class_ap50)
    )
    ap, ap50 = (round(sum(part.values()) / len(part), 1) for part in (by_ap, by_ap50))
    table = f"{numbers.table}, mean of {len(names)} classes"
    return PaperNumbers(table, ap, ap50, by_ap, by_ap50)


UPPER_BOUND_SYNTHIA: Final = over_classes(UPPER_BOUND, SYNTHIA_CLASSES)

# Table 2, mixing alone --------------------------------------------------------------------------
MIXING_NONE: Final = PaperNumbers("Table 2", 31.95)
MIXING_T2S: Final = PaperNumbers("Table 2", 35.07)
MIXING_S2T: Final = PaperNumbers("Table 2")  # not legible in the text at hand
MIXING_BOTH: Final = PaperNumbers("Table 2", 37.18)

# Table 3, weights of S2T / T2S with all parts ---------------------------------------------------
WEIGHTS_NONE: Final = PaperNumbers("Table 3", 34.80)
WEIGHTS_75_25: Final = PaperNumbers("Table 3", 38.09)
WEIGHTS_50_50: Final = PaperNumbers("Table 3")  # not legible in the text at hand
WEIGHTS_40_60: Final = PaperNumbers("Table 3", 38.99)

# Table 4, category groups, source training ------------------------------------------------------
GROUPS_1: Final = PaperNumbers("Table 4", 32.0, 54.4)
GROUPS_2: Final = PaperNumbers("Table 4", 33.9, 57.8)
GROUPS_3: Final = PaperNumbers("Table 4", 35.0, 59.4)
GROUPS_4: Final = PaperNumbers("Table 4", 35.1, 59.3)
GROUPS_5: Final = PaperNumbers("Table 4", 35.5, 59.4)

# Table 5, components ----------------------------------------------------------------------------
M1: Final = PaperNumbers(
    "Table 5", 32.0, None, _by_class((25.1, 19.5, 39.8, 37.6, 51.5, 46.7, 19.2, 16.2))
)
M2: Final = PaperNumbers(
    "Table 5", 34.8, None, _by_class((25.2, 20.7, 47.0, 40.2, 60.1, 52.0, 17.1, 16.1))
)
M3: Final = PaperNumbers(
    "Table 5", 36.1, None, _by_class((27.7, 23.2, 44.2, 42.3, 61.7, 52.7, 21.2, 15.5))
)
M4: Final = PaperNumbers(
    "Table 5", 37.7, None, _by_class((28.9, 27.6, 50.0, 43.6, 63.7, 47.3, 19.5, 20.7))
)
M5: Final = PaperNumbers(
    "Table 5", 39.0, None, _by_class((30.0, 26.4, 49.2, 42.9, 64.4, 58.1, 21.3, 19.7))
)
