"""What a score rests on: which images were judged, of how many there, and how that is said.

Every AP and mIoU that people read is said by `said`. Two are compared where `Basis.is_same_as`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uda4inst.evaluation.protocols import PROTOCOL_NAMES

if TYPE_CHECKING:
    from uda4inst.data.tree import ImageTree


@dataclass(frozen=True, slots=True)
class Basis:
    """The images that a score was taken over.

    Args:
        dataset: name and root.
        split: of the data set.
        images: how many were judged; None where it was not written down.
        there: how many the split has; None where it was not written down.
        names: hash of their names (`hash_of_names`); empty where it was not written down.
    """

    dataset: str = ""
    split: str = ""
    images: int | None = None
    there: int | None = None
    names: str = ""

    @property
    def count(self) -> str:
        """How many images of how many, in words.

        Example:
            >>> Basis(images=16, there=100).count
            '16 of 100 images'
            >>> Basis(images=16).count
            '16 images (of how many is not recorded)'
        """
        if self.images is None:
            return "images not recorded"
        if self.there is None:
            return f"{self.images:,} images (of how many is not recorded)"
        return f"{self.images:,} of {self.there:,} images"

    @property
    def words(self) -> str:
        """How many images of how many, and of what."""
        where = " ".join(part for part in (self.dataset, self.split) if part)
        return f"{self.count} of {where}" if where else self.count

    def is_same_as(self, other: Basis) -> bool:
        """Whether both are known to be the same images of one data set; only then compare."""
        return bool(self.names) and (self.dataset, self.split, self.names) == (
            other.dataset,
            other.split,
            other.names,
        )


def hash_of_names(names: Iterable[str]) -> str:
    """Return a hash of image names, whatever their order."""
    text = "\n".join(sorted(names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def count_together(bases: Iterable[Basis]) -> str:
    """Return how many images of how many some scores rest on; empty without scores.

    Example:
        >>> sets = [Basis(f"toy {n}", images=1500, there=1500, names=str(n)) for n in (1, 2)]
        >>> count_together(sets)
        '3,000 of 3,000 images of 2 data sets'
    """
    apart = list(dict.fromkeys(bases))
    sets = {(basis.dataset, basis.split) for basis in apart}
    known = [(b.images, b.there) for b in apart if b.images is not None and b.there is not None]
    if 1 < len(apart) == len(sets) == len(known):
        images, there = (sum(numbers) for numbers in zip(*known, strict=True))
        return f"{images:,} of {there:,} images of {len(sets)} data sets"
    return " and ".join(dict.fromkeys(basis.count for basis in apart))


def basis_of(dataset: ImageTree, places: Sequence[int]) -> Basis:
    """Return what a score over some images of a data set rests on.

    Args:
        dataset: the images.
        places: indices of those that are judged.
    """
    return Basis(
        dataset=f"{dataset.name} ({dataset.root})",
        split=dataset.split,
        images=len(places),
        there=dataset.images_there,
        names=hash_of_names(dataset.basename(index) for index in places),
    )


def basis_json(basis: Basis) -> dict[str, Any]:
    """Return a basis as result files hold it."""
    return {
        "dataset": basis.dataset,
        "split": basis.split,
        "images": basis.images,
        "images_there": basis.there,
        "image_names": basis.names,
    }


def read_basis(record: Mapping[str, Any]) -> Basis:
    """Return the basis that a result file holds; what it does not say, or wrongly, is not known."""
    images, there, names = (record.get(k) for k in ("images", "images_there", "image_names"))
    return Basis(
        dataset=str(record.get("dataset", "")),
        split=str(record.get("split", "")),
        images=images if _is_count(images) else None,
        there=there if _is_count(there) else None,
        names=names if isinstance(names, str) else "",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def said(basis: Basis, *, protocol: str, network: str, step: int | None) -> str:
    """Return how a number was come by, as it stands beside it everywhere.

    Args:
        basis: the images.
        protocol: that judged them.
        network: student, teacher, or whose predictions.
        step: updates the network had seen; None for predictions made elsewhere.

    Example:
        >>> said(Basis(images=16, there=100), protocol="coco", network="student", step=40)
        'COCO protocol, student, step 40, 16 of 100 images'
    """
    name = PROTOCOL_NAMES.get(protocol, protocol)
    parts = [f"{name} protocol", network, "" if step is None else f"step {step:,}", basis.count]
    return ", ".join(part for part in parts if part)
