"""What is wrong with the labels of one image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np

from uda4inst.classes import (
    IGNORE_TRAIN_ID,
    MAX_OWN_CLASSES,
    NUM_THINGS,
    SEMANTIC_CLASSES,
    THING_CLASSES,
)
from uda4inst.data.files.images import is_image_name, picture_size, read_picture
from uda4inst.data.files.png import Layout, read_map
from uda4inst.data.records import ImageRecord, LabelArrays
from uda4inst.data.reports.findings import Finding, Kind, path_below
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.structures import Size

_NAMES: Final = {c.train_id: c.name for c in SEMANTIC_CLASSES} | {IGNORE_TRAIN_ID: "no class"}
# By thing index; classes beside the eight have no pixels of their own in a label map.
_TRAIN_IDS: Final = np.array(
    [thing.train_id for thing in THING_CLASSES] + [IGNORE_TRAIN_ID] * MAX_OWN_CLASSES
)
# Of an image's pixels: fewer things without an object than this are scattered pixels at borders.
_SCATTERED: Final = 0.001
_ENDS: Final = re.compile(r"[,)]")
_CLASS: Final = re.compile(r"\b(class(?! map)|label id|categor)")


def say(error: Exception, path: Path) -> str:
    """Return an error as a finding's message: without the path, which stands before it."""
    if isinstance(error, UserError):
        return str(error).replace(f" ({path})", "")
    return f"file must be as its format says, got {type(error).__name__}: {error}"


def blamed_path(error: Exception, root: Path) -> Path:
    """Return the file below the root that a message names in brackets, else the root.

    Paths may have brackets and commas themselves: the shortest one that is there is meant, or else
    the shortest.
    """
    text, below = str(error), "" if root == Path() else f"{root}/"
    ends = [mark.start() for mark in _ENDS.finditer(text)]
    starts = [mark.end() for mark in re.finditer(re.escape(f"({below}"), text)]
    named = [Path(f"{below}{text[start:end]}") for start in starts for end in ends if end > start]
    return next((path for path in named if path.exists()), named[0] if named and below else root)


@dataclass(frozen=True, slots=True, eq=False)
class LabelCheck:
    """Reads the labels of one image and returns what is wrong with them.

    Args:
        tree: opened with labels.
    """

    tree: ImageTree

    def __call__(self, index: int, image_size: tuple[int, ...] | None) -> list[Finding]:
        """Return the findings of one image; its size is None where it cannot be read."""
        record = self.tree.records[index]
        try:
            labels, _ = self.tree.read_objects(index)
        except Exception as error:  # a reader that fails in an unforeseen way found a fault too
            return self._diagnose(record, image_size, error)
        if image_size is not None and labels.ids.shape != image_size:
            return [self._misfit(record.labels[0], image_size, labels.ids.shape)]
        return self._judge(record, labels)

    def _diagnose(
        self, record: ImageRecord, image_size: tuple[int, ...] | None, error: Exception
    ) -> list[Finding]:
        """Look at each label file alone: a reader stops at the first fault."""
        findings: list[Finding] = []
        blamed = blamed_path(error, self.tree.root)
        if blamed == self.tree.root:
            blamed = record.labels[0]
        for path in record.labels:
            try:
                size = _decoded_size(path)
            except Exception as fault:
                kind = "unreadable" if path.exists() else "missing"
                findings.append(Finding(kind, self._below(path), say(fault, path)))
                continue
            if size is not None and image_size is not None and size != image_size:
                findings.append(self._misfit(path, image_size, size))
        if not any(found.path == self._below(blamed) for found in findings):
            kind = _kind_of(error)
            # A misfit of the other map is told once; what the reader says of it adds nothing.
            if kind != "size_mismatch" or not findings:
                findings.append(Finding(kind, self._below(blamed), say(error, blamed)))
        return findings

    def _judge(self, record: ImageRecord, labels: LabelArrays) -> list[Finding]:
        """Compare what was read with itself."""
        if not self.tree.has_instances:
            if (labels.semantic == IGNORE_TRAIN_ID).all():
                return [self._note_empty(record, "no pixel has a class")]
            return []
        path = self._below(record.labels[-1])
        findings: list[Finding] = []
        if not len(labels.labels):
            findings.append(self._note_empty(record, "image shows no instance"))
        if wrong := _on_other_classes(labels, self.tree.thing_classes.names):
            count = f"{len(wrong)} of {len(labels.labels)} instances lie mostly on another class"
            findings.append(Finding("disagreement", path, f"{count}: {', '.join(wrong)}"))
        if self.tree.owns_all_things and (text := _unowned(labels)):
            findings.append(Finding("disagreement", path, text))
        return findings

    def _note_empty(self, record: ImageRecord, message: str) -> Finding:
        return Finding("empty", self._below(record.image), message, "note")

    def _misfit(self, path: Path, image_size: tuple[int, ...], size: tuple[int, ...]) -> Finding:
        message = f"label map must have its image's size {tuple(image_size)}, got {tuple(size)}"
        return Finding("size_mismatch", self._below(path), message)

    def _below(self, path: Path) -> str:
        return path_below(self.tree.root, path)


def _decoded_size(path: Path) -> Size | None:
    """Return the size of a label picture, having decoded it; None for other files.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not is_image_name(path.name):
        return None
    if path.suffix.lower() == ".png":
        read_map(path, what="label map", allow=get_args(Layout))
    else:
        read_picture(path)
    return picture_size(path)


def _kind_of(error: Exception) -> Kind:
    """Tell kinds of fault apart by the first half of a message: what must be how."""
    subject, _, rule = str(error).split(", got ")[0].partition(" must ")
    if not isinstance(error, UserError):
        return "malformed"
    if re.match(r"have .*\bsize\b", rule):
        return "size_mismatch"
    return "unknown_id" if _CLASS.search(subject) else "malformed"


def _on_other_classes(labels: LabelArrays, names: Sequence[str]) -> list[str]:
    """Describe the instances that the semantic map calls mostly another class; void is none."""
    count = len(labels.labels)
    if not count:
        return []
    inside = labels.ids > 0
    keys = labels.ids[inside].astype(np.int64) * 256 + labels.semantic[inside]
    table = np.bincount(keys, minlength=256 * (count + 1)).reshape(count + 1, 256)[1:]
    areas = table.sum(axis=1)
    others = table.copy()
    others[np.arange(count), _TRAIN_IDS[labels.labels]] = 0
    others[:, IGNORE_TRAIN_ID] = 0
    return [
        f"{names[int(labels.labels[k])]} of {areas[k]} pixels on "
        f"{_NAMES.get(int(others[k].argmax()), 'an unknown class')}"
        for k in np.flatnonzero(2 * others.sum(axis=1) > areas)
    ]


def _unowned(labels: LabelArrays) -> str | None:
    """Describe thing pixels without an object, where they are most of the thing pixels."""
    is_thing = (labels.semantic >= _TRAIN_IDS[0]) & (labels.semantic < _TRAIN_IDS[0] + NUM_THINGS)
    things = int(np.count_nonzero(is_thing))
    unowned = int(np.count_nonzero(is_thing & (labels.ids <= 0)))
    if 2 * unowned <= things or unowned <= _SCATTERED * labels.ids.size:
        return None
    return f"{unowned} of {things} thing pixels of the label map belong to no instance"
