"""The class space shared by every data set: Cityscapes' 19 semantic and 8 thing classes.

Thing classes are numbered 0..7 in Cityscapes order, the order of the official evaluator. Classes of
somebody's own come after them (`ThingClasses`): a number below 8 means the same everywhere.
Source: cityscapesScripts `helpers/labels.py`; the table is in `docs/datasets/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from uda4inst.errors import did_you_mean

IGNORE_TRAIN_ID: Final = 255


@dataclass(frozen=True, slots=True)
class SemanticClass:
    """One of Cityscapes' 19 training classes."""

    name: str
    label_id: int
    train_id: int
    color: tuple[int, int, int]
    is_thing: bool


SEMANTIC_CLASSES: Final[tuple[SemanticClass, ...]] = (
    SemanticClass("road", 7, 0, (128, 64, 128), is_thing=False),
    SemanticClass("sidewalk", 8, 1, (244, 35, 232), is_thing=False),
    SemanticClass("building", 11, 2, (70, 70, 70), is_thing=False),
    SemanticClass("wall", 12, 3, (102, 102, 156), is_thing=False),
    SemanticClass("fence", 13, 4, (190, 153, 153), is_thing=False),
    SemanticClass("pole", 17, 5, (153, 153, 153), is_thing=False),
    SemanticClass("traffic light", 19, 6, (250, 170, 30), is_thing=False),
    SemanticClass("traffic sign", 20, 7, (220, 220, 0), is_thing=False),
    SemanticClass("vegetation", 21, 8, (107, 142, 35), is_thing=False),
    SemanticClass("terrain", 22, 9, (152, 251, 152), is_thing=False),
    SemanticClass("sky", 23, 10, (70, 130, 180), is_thing=False),
    SemanticClass("person", 24, 11, (220, 20, 60), is_thing=True),
    SemanticClass("rider", 25, 12, (255, 0, 0), is_thing=True),
    SemanticClass("car", 26, 13, (0, 0, 142), is_thing=True),
    SemanticClass("truck", 27, 14, (0, 0, 70), is_thing=True),
    SemanticClass("bus", 28, 15, (0, 60, 100), is_thing=True),
    SemanticClass("train", 31, 16, (0, 80, 100), is_thing=True),
    SemanticClass("motorcycle", 32, 17, (0, 0, 230), is_thing=True),
    SemanticClass("bicycle", 33, 18, (119, 11, 32), is_thing=True),
)

THING_CLASSES: Final[tuple[SemanticClass, ...]] = tuple(c for c in SEMANTIC_CLASSES if c.is_thing)
THING_NAMES: Final[tuple[str, ...]] = tuple(c.name for c in THING_CLASSES)
NUM_THINGS: Final = len(THING_CLASSES)
MAX_OWN_CLASSES: Final = 92
MAX_THINGS: Final = NUM_THINGS + MAX_OWN_CLASSES
# Spelled out because a configuration's schema lists its choices as literals; a test holds them to
# `CATEGORY_GROUPINGS`.
GroupingName = Literal["one", "two", "table4_2", "table4_3", "table4_4"]

# The two groups of the paper by what they are.
CATEGORY_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "human_cycle": ("person", "rider", "motorcycle", "bicycle"),
    "vehicle": ("car", "truck", "bus", "train"),
}
# The paper's category groups: Table 4's settings by the names the configuration uses. What one
# network each is trained for; "two" is the paper's choice.
CATEGORY_GROUPINGS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "one": (THING_NAMES,),
    "table4_2": (
        ("person", "rider", "bus", "motorcycle"),
        ("car", "truck", "train", "bicycle"),
    ),
    "table4_3": (
        ("person", "rider", "car", "bicycle"),
        ("truck", "bus", "train", "motorcycle"),
    ),
    "table4_4": (
        ("person", "rider"),
        ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ),
    "two": tuple(CATEGORY_GROUPS.values()),
}

# Ids whose pixels Cityscapes' evaluators ignore ("ignoreInEval"), -1 (license plate) aside.
VOID_LABEL_IDS: Final[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
EGO_VEHICLE_LABEL_ID: Final = 1
MAX_LABEL_ID: Final = 33
# Not Cityscapes': of pixels that are known to show none of the things, and nothing else is known.
# No file holds it; unlike 0, which is void, detections there are false.
BACKGROUND_LABEL_ID: Final = 200


def _label_to_train_table() -> NDArray[np.uint8]:
    table = np.full(256, IGNORE_TRAIN_ID, dtype=np.uint8)
    for semantic_class in SEMANTIC_CLASSES:
        table[semantic_class.label_id] = semantic_class.train_id
    return table


def _train_to_label_table() -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for semantic_class in SEMANTIC_CLASSES:
        table[semantic_class.train_id] = semantic_class.label_id
    return table


def _label_to_thing_table(own: int = 0) -> NDArray[np.int64]:
    table = np.full(256, -1, dtype=np.int64)
    for index, thing in enumerate(THING_CLASSES):
        table[thing.label_id] = index
    table[MAX_LABEL_ID + 1 : MAX_LABEL_ID + 1 + own] = NUM_THINGS + np.arange(own)
    return table


# Cityscapes label id (0..255) -> trainId (uint8, 255 ignore).
LABEL_TO_TRAIN_ID: Final = _label_to_train_table()
# trainId (0..255) -> Cityscapes label id, 0 (unlabeled) for 255 and everything unknown.
TRAIN_ID_TO_LABEL: Final = _train_to_label_table()
# Cityscapes label id (0..255) -> thing index 0..7, or -1.
LABEL_TO_THING: Final = _label_to_thing_table()
# The same of `ImageTree.read_instance_ids`, where classes of one's own have the ids behind.
RAW_TO_THING: Final = _label_to_thing_table(MAX_OWN_CLASSES)


# What an own class may be called: as `folded` names are, since keys, files and columns are made of
# it; and not as what pages and files call everything else.
_OWN_NAME: Final = re.compile(r"[a-z0-9]+( [a-z0-9]+)*")
_TAKEN: Final = ("all", "background", "ignored", "nothing", "other", "void")
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class ThingClasses:
    """The things of a run or of a data set: the eight, and behind them classes of its own.

    Args:
        own: their names, numbered from 8 in this order; empty for the eight alone.

    Raises:
        ValueError: a name is taken, given twice, or cannot be one.
    """

    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.own) > MAX_OWN_CLASSES:
            raise ValueError(f"own classes must be at most {MAX_OWN_CLASSES}, got {len(self.own)}")
        for place, name in enumerate(self.own):
            if not _OWN_NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
                raise ValueError(
                    "own classes must be lower-case letters and digits with single spaces, at most "
                    f"{_LONGEST_NAME} of them, got {name[: 2 * _LONGEST_NAME]!r}"
                )
            taken = (*THING_NAMES, *_TAKEN, *self.own[:place])
            if name in taken:
                raise ValueError(f"own classes must have names of their own, got {name!r} again")

    @classmethod
    def said(cls, own: object) -> ThingClasses:
        """Return the things with what a file says are their own classes; the eight of nonsense."""
        try:
            return cls(tuple(map(str, own)) if isinstance(own, list | tuple) else ())
        except ValueError:
            return EIGHT

    @property
    def names(self) -> tuple[str, ...]:
        """All names by thing index."""
        return (*THING_NAMES, *self.own)

    def __len__(self) -> int:
        """Number of classes."""
        return NUM_THINGS + len(self.own)

    def index(self, name: str) -> int:
        """Return the thing index of a class name.

        Raises:
            ValueError: there is no such class; the message lists them and the nearest.
        """
        names = self.names
        if name in names:
            return names.index(name)
        hint = did_you_mean(name, names)
        raise ValueError(f"class must be one of {', '.join(names)}, got {name!r}.{hint}")

    @property
    def label_ids(self) -> NDArray[np.int32]:
        """Cityscapes' label ids by thing index, and the numbers behind them for own classes."""
        own = range(MAX_LABEL_ID + 1, MAX_LABEL_ID + 1 + len(self.own))
        return np.array([*(thing.label_id for thing in THING_CLASSES), *own], dtype=np.int32)


EIGHT: Final = ThingClasses()


def thing_index(name: str) -> int:
    """Return the thing index (0..7) of a class name.

    Raises:
        ValueError: the name is not one of the eight; the message lists them and the nearest.
    """
    return EIGHT.index(name)
