"""What every data set offers: a list of files, and the arrays read from them on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from jaxtyping import Int32, Int64, UInt8

from uda4inst.data.png import read_header
from uda4inst.errors import UserError
from uda4inst.structures import Domain, InstanceMap, Sample, Size

_SHOWN_OFFENDERS: Final = 5


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The files of one image. Nothing is opened until it is read.

    Args:
        sample_id: the data set's own name of the image, unique within it.
        image: the picture.
        labels: the label files, in the order the data set reads them; empty when the data set was
            opened without labels.
        domain: which side of the adaptation the image belongs to.
    """

    sample_id: str
    image: Path
    labels: tuple[Path, ...]
    domain: Domain


@dataclass(frozen=True, slots=True, eq=False)
class LabelArrays:
    """The labels of one image, as read.

    Args:
        ids: 0 background, k > 0 the k-th instance, -1 ignore (as in `InstanceMap`).
        labels: thing index 0..7 of instance k at `labels[k-1]`.
        semantic: trainIds, 255 ignore.
    """

    ids: Int32[np.ndarray, "H W"]
    labels: Int64[np.ndarray, " N"]
    semantic: UInt8[np.ndarray, "H W"]


class ImageDataset(Protocol):
    """A labelled or unlabelled folder of images, with its name for people."""

    name: str

    @property
    def root(self) -> Path:
        """The folder the data set was opened from."""
        ...

    @property
    def split(self) -> str:
        """Which part of the data set this is."""
        ...

    @property
    def records(self) -> tuple[ImageRecord, ...]:
        """Every image, sorted by name."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def size_of(self, index: int) -> Size:
        """Return (height, width) of an image without decoding it."""
        ...

    def read_image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return an image as RGB."""
        ...

    def read_labels(self, index: int) -> LabelArrays:
        """Return the labels of an image."""
        ...

    def sample(self, index: int) -> Sample:
        """Return image and labels together."""
        ...


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
        image=pixels.float().div_(255),
        instances=InstanceMap(
            ids=torch.from_numpy(labels.ids), labels=torch.from_numpy(labels.labels)
        ),
        sample_id=record.sample_id,
        domain=record.domain,
        semantic=torch.from_numpy(labels.semantic),
    )


def check_same_size(
    record: ImageRecord, image_size: Sequence[int], label_size: Sequence[int]
) -> None:
    """Raise when the label map of an image has another size than the image.

    Raises:
        UserError: the sizes differ; the message has the label file's path.
    """
    if tuple(image_size) != tuple(label_size):
        raise UserError(
            f"label map must have its image's size {tuple(image_size)}, got {tuple(label_size)} "
            f"({record.labels[0]}). Restore both files from one archive."
        )


def check_sizes(dataset: ImageDataset) -> None:
    """Read the header of every file and raise once for all that are unreadable or misfit.

    Cheap enough for the start of a training: 24 bytes a file, no decoding.

    Raises:
        UserError: some files are unreadable, or label maps differ in size from their image.
    """
    offenders: list[str] = []
    for record in dataset.records:
        try:
            size = read_header(record.image).size
            for path in record.labels:
                if path.suffix == ".png":
                    check_same_size(record, size, read_header(path).size)
        except UserError as error:
            offenders.append(str(error))
    if offenders:
        raise UserError(
            f"{dataset.name} ({dataset.root}, {dataset.split}) must hold readable images with "
            f"label maps of their size, got {len(offenders)} of {len(dataset)} images with faults:"
            "\n" + shorten(offenders, separator="\n")
        )


def describe(dataset: ImageDataset) -> str:
    """Return one line about a data set: name, split, number of images, size of the first."""
    height, width = dataset.size_of(0)
    count = f"{len(dataset)} images of {height}x{width}"
    return f"{dataset.name} {dataset.split}: {count} ({dataset.root})"


def shorten(offenders: Iterable[str], *, separator: str = ", ") -> str:
    """Return the first five offenders and the count of the rest."""
    names = list(offenders)
    shown = separator.join(names[:_SHOWN_OFFENDERS])
    rest = len(names) - _SHOWN_OFFENDERS
    return f"{shown}{separator}and {rest} more" if rest > 0 else shown


def require_folder(path: Path, *, rule: str, remedy: str) -> None:
    """Raise unless a folder is there.

    Raises:
        UserError: it is missing, or a file.
    """
    if path.is_dir():
        return
    got = "a file" if path.exists() else "no such folder"
    raise UserError(f"{rule}, got {got} ({path}). {remedy}")


def match_files(
    images: Iterable[str],
    labels: Mapping[str, Iterable[str]],
    *,
    where: Path,
    remedy: str,
) -> None:
    """Raise once, naming every image without labels and every label file without its image.

    Args:
        images: names of the images.
        labels: for each kind of label file, the names of the images it is there for.
        where: the tree, for the message.
        remedy: what to do.

    Raises:
        UserError: names are missing on either side.
    """
    known = set(images)
    problems: list[str] = []
    for kind, found_names in labels.items():
        found = set(found_names)
        if missing := sorted(known - found):
            problems.append(
                f"every image must have its {kind}, got {len(missing)} of {len(known)} images "
                f"without: {shorten(missing)}"
            )
        if orphans := sorted(found - known):
            problems.append(
                f"every {kind} must have its image, got {len(orphans)} without: {shorten(orphans)}"
            )
    if problems:
        raise UserError("\n".join(f"{problem} ({where})." for problem in problems) + f"\n{remedy}")
