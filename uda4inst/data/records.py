"""What every data set offers: a list of files, and the arrays read from them on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64, UInt8

from uda4inst.data.files.run_lengths import RunLengths
from uda4inst.errors import UserError
from uda4inst.ops.unit_floats import unit_floats
from uda4inst.structures import IGNORE_ID, Domain, InstanceMap, Sample, SemanticMap

_SHOWN_OFFENDERS: Final = 5
_Arrays = TypeVar("_Arrays", bound="InstanceArrays")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The files of one image. Nothing is opened until it is read.

    Files may be given as plain strings: making 100,000 `Path` objects is most of the time a tree
    takes to open.

    Args:
        sample_id: the data set's own name of the image, unique within it.
        image_file: the picture.
        label_files: the label files, in the order the data set reads them; empty when the data set
            was opened without labels.
        domain: which side of the adaptation the image belongs to.
    """

    sample_id: str
    image_file: str | Path
    label_files: tuple[str | Path, ...]
    domain: Domain

    @property
    def image(self) -> Path:
        """The picture."""
        return Path(self.image_file)

    @property
    def labels(self) -> tuple[Path, ...]:
        """The label files; empty when the data set was opened without labels."""
        return tuple(Path(file) for file in self.label_files)


@dataclass(frozen=True, slots=True, eq=False)
class InstanceArrays:
    """The instances of one image, as read.

    Args:
        ids: 0 background, k > 0 the k-th instance, -1 ignore (as in `InstanceMap`).
        labels: thing index 0..7 of instance k at `labels[k-1]`.
    """

    ids: Int32[np.ndarray, "H W"]
    labels: Int64[np.ndarray, " N"]

    def areas(self) -> Int64[np.ndarray, " N"]:
        """Return the visible pixels of every instance."""
        counts = np.bincount(self.ids.ravel() + 1, minlength=len(self.labels) + 2)
        return counts[2:].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class LabelArrays(InstanceArrays):
    """All labels of one image, as read.

    Args:
        semantic: trainIds, 255 ignore.
    """

    semantic: UInt8[np.ndarray, "H W"]


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file without which the rest of a tree can be read.

    Args:
        kind: an image without labels, a label file without its image, or a name that means nothing.
        path: the file, or the folder that is not there.
        message: what is wrong with it.
    """

    kind: Literal["missing", "orphan", "malformed"]
    path: Path
    message: str


class TreeError(UserError):
    """Faults of a listing, every one of them, beside the message that shows the first five.

    Args:
        message: for people.
        faults: each file, for `check_tree`.
    """

    def __init__(self, message: str, faults: Iterable[FileFault] = ()) -> None:
        super().__init__(message)  # alone, so that the error travels between processes
        self.faults = tuple(faults)


def make_sample(
    record: ImageRecord, image: UInt8[np.ndarray, "H W 3"], labels: LabelArrays
) -> Sample:
    """Return image and labels as tensors; sizes must agree.

    Raises:
        UserError: the labels have another size than the image.
    """
    check_same_size(record, image.shape[:2], labels.ids.shape)
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return Sample(
        image=unit_floats(pixels),
        instances=InstanceMap(
            ids=torch.from_numpy(labels.ids), labels=torch.from_numpy(labels.labels)
        ),
        sample_id=record.sample_id,
        domain=record.domain,
        semantic=SemanticMap(torch.from_numpy(labels.semantic)),
    )


def check_same_size(
    record: ImageRecord,
    image_size: Sequence[int],
    label_size: Sequence[int],
    *,
    path: Path | None = None,
) -> None:
    """Raise when the label map of an image has another size than the image.

    Args:
        record: the files of the image.
        image_size: its (height, width).
        label_size: those of the label map.
        path: which of the label files that is; None for the first.

    Raises:
        UserError: the sizes differ; the message has the label file's path.
    """
    if tuple(image_size) != tuple(label_size):
        raise UserError(
            f"label map must have its image's size {tuple(image_size)}, got {tuple(label_size)} "
            f"({path or record.labels[0]}). Restore both files from one archive."
        )


def shorten(offenders: Iterable[str], *, separator: str = ", ") -> str:
    """Return the first five offenders and the count of the rest."""
    names = list(offenders)
    shown = separator.join(names[:_SHOWN_OFFENDERS])
    rest = len(names) - _SHOWN_OFFENDERS
    return f"{shown}{separator}and {rest} more" if rest > 0 else shown


def require_folder(path: Path, *, rule: str, remedy: str) -> None:
    """Raise unless a folder is there.

    Raises:
        TreeError: it is missing, or a file.
    """
    if path.is_dir():
        return
    got = "a file" if path.exists() else "no such folder"
    fault = FileFault("missing", path, f"{rule}, got {got}")
    raise TreeError(f"{rule}, got {got} ({path}). {remedy}", [fault])


def match_files(
    images: Iterable[str],
    labels: Mapping[str, Iterable[str]],
    *,
    where: Path,
    remedy: str,
) -> None:
    """Raise once, naming every image without labels and every label file without its image.

    Args:
        images: names of the images; a mapping of name -> file lets the error carry the files.
        labels: for each kind of label file, the names of the images it is there for, or a mapping.
        where: the tree, for the message.
        remedy: what to do.

    Raises:
        TreeError: names are missing on either side.
    """
    known = set(images)
    problems: list[str] = []
    faults: list[FileFault] = []
    for kind, found_names in labels.items():
        found = set(found_names)
        if missing := sorted(known - found):
            problems.append(
                f"every image must have its {kind}, got {len(missing)} of {len(known)} images "
                f"without: {shorten(missing)}"
            )
            faults += _faults("missing", missing, images, where, f"image has no {kind}")
        if orphans := sorted(found - known):
            problems.append(
                f"every {kind} must have its image, got {len(orphans)} without: {shorten(orphans)}"
            )
            faults += _faults("orphan", orphans, found_names, where, f"{kind} has no image")
    if problems:
        message = "\n".join(f"{problem} ({where})." for problem in problems) + f"\n{remedy}"
        raise TreeError(message, faults)


def _faults(
    kind: Literal["missing", "orphan"],
    names: Iterable[str],
    files: Iterable[str],
    where: Path,
    message: str,
) -> list[FileFault]:
    """Return one fault for each name, with its file where the files are known."""
    known: Mapping[str, str | Path] = files if isinstance(files, Mapping) else {}
    return [FileFault(kind, Path(known.get(name, where / name)), message) for name in names]


def without(labels: _Arrays, dropped: Bool[np.ndarray, " N"], *, fill: int = IGNORE_ID) -> _Arrays:
    """Return labels with some instances turned to ignore (or `fill`) and the others renumbered."""
    kept = ~dropped
    numbers = np.where(kept, kept.cumsum(), fill)
    runs = RunLengths.of(labels.ids)
    is_instance = runs.present > 0
    new_ids = runs.present.copy()
    new_ids[is_instance] = numbers[runs.present[is_instance] - 1]
    return replace(labels, ids=runs.paint(new_ids.astype(np.int32)), labels=labels.labels[kept])
