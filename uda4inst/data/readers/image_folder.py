"""A plain folder of images, as a target without labels.

Decisions where there is no format:

- Every PNG and JPEG below the root counts, in nested folders too, linked folders included; a
  folder that can be reached twice counts once. Hidden files and folders do not count, nor does
  `ego_vehicle.png` in the root, which is the mask of where no object can be.
- The split is the name of a sub-folder; where there is none of that name, "train" and "all" are
  everything.
- The order is that of the names, numbers in them taken as numbers (frame_9 before frame_10).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from uda4inst.data.ego_vehicle import FILE_NAME as EGO_VEHICLE
from uda4inst.data.files.images import is_image_name
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.records import (
    FileFault,
    ImageRecord,
    LabelArrays,
    TreeError,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts
from uda4inst.errors import UserError

_EVERYTHING: Final = ("train", "all")
_DIGITS: Final = re.compile(r"0*([0-9]+)")


class ImageFolder(ImageTree):
    """Images below a folder; the split is a sub-folder, or "train" or "all" for everything.

    It never has labels: use it as the target.
    """

    name = "image folder"
    usual_domain = "target"
    has_labels = False
    has_instances = False
    things = ()

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_folder(
            self.root, rule="root must be a folder of images", remedy="Choose another root."
        )
        start = self._start(index)
        names = sorted(_find_images(index, start), key=_natural)
        where = self.root / start
        if not names:
            raise UserError(
                f"folder must hold images (PNG or JPEG), got none ({where}). Choose another "
                "folder, or convert them."
            )
        sample_ids = [name.rpartition(".")[0] for name in names]
        _check_unique(names, sample_ids, index)
        root = str(self.root)
        for name, sample_id in zip(names, sample_ids, strict=True):
            yield ImageRecord(sample_id, f"{root}/{name}", (), self.domain)

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Raise: there are no labels."""
        raise UserError(
            f"data set must have labels here, got {self.name}, which has none ({record.image}). "
            "Use it as data.target, or choose another format."
        )

    def _start(self, index: FileIndex) -> str:
        """Return the folder the split is in, from the root; empty for the root itself."""
        folder = ""
        for part in self.split.split("/"):
            known = index.folders(folder)
            if part in known:
                folder = f"{folder}/{part}" if folder else part
            elif self.split in _EVERYTHING:
                return ""
            else:
                raise UserError(
                    f"split must be {' or '.join(_EVERYTHING)} for everything, or a sub-folder "
                    f"({shorten(known) or 'there are none'}), got {self.split!r} "
                    f"({self.root / folder}). Choose one of these."
                )
        return folder


def _find_images(index: FileIndex, start: str) -> Iterator[str]:
    """Yield the images below a folder, from the root; every real folder is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        prefix = f"{folder}/" if folder else ""
        folders, files = index.folders(folder), index.files(folder)
        status = (index.root / folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        # Last in, first out: reversed, so that of two ways to a folder the first by name counts.
        waiting += [f"{prefix}{name}" for name in reversed(folders)]
        for name in files:
            if is_image_name(name) and (folder or name != EGO_VEHICLE):
                yield f"{prefix}{name}"


def _natural(name: str) -> str:
    """Return a key that sorts numbers within names as numbers, and no two names as equal."""
    return f"{_DIGITS.sub(_sortable, name)}\0{name}"


def _sortable(number: re.Match[str]) -> str:
    """Return a number after its length, so that text sorts as numbers do."""
    digits = number[1]
    return f"{len(digits):04d}{digits}"


def _check_unique(names: list[str], sample_ids: list[str], index: FileIndex) -> None:
    """Raise for names that cannot serve as ids: two of one, or not Unicode."""
    garbled = [name for name in names if not _is_unicode(name)]
    if garbled:
        rule = "file names must be UTF-8"
        shown = shorten(ascii(name) for name in garbled)
        raise TreeError(
            f"{rule}, got {len(garbled)} that are not: {shown} ({index.root}). Rename them.",
            [FileFault("malformed", index.root / name, rule) for name in garbled],
        )
    if len(set(sample_ids)) == len(names):
        return
    first: dict[str, str] = {}
    twice = {
        name: first[sample_id]
        for name, sample_id in zip(names, sample_ids, strict=True)
        if first.setdefault(sample_id, name) != name
    }
    rule = "images must differ in more than their suffix"
    shown = shorten(f"{one} and {other}" for other, one in twice.items())
    raise TreeError(
        f"{rule}, got {len(twice)} that do not: {shown} ({index.root}). Remove or rename one of "
        "each.",
        [
            FileFault("malformed", index.root / other, f"{rule}, got {one} beside it")
            for other, one in twice.items()
        ],
    )


def _is_unicode(name: str) -> bool:
    """Whether the bytes of a file name are UTF-8; the others come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
