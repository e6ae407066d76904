"""Image lists: some images of a data set, one name a line.

Tags and selections of people come out as such files; training, evaluation and export take them. A
line that starts with "#" is a comment. Names are those of prediction files; the name of the
picture's file will do as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from uda4inst.atomic import disk_errors, write_whole
from uda4inst.errors import UserError
from uda4inst.formats.predictions import basename
from uda4inst.reading import read_text

_COMMENT: Final = "#"
_NAMED: Final = 3  # names that are shown of those that are unknown


@dataclass(frozen=True, slots=True)
class ImageList:
    """Names of images, in no order that matters.

    Args:
        names: without repetition, sorted.
        path: the file they come from, for messages.
    """

    names: tuple[str, ...]
    path: str = ""

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any name does."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:12]

    def places(self, known: Sequence[Sequence[str]], *, where: str) -> list[int]:
        """Return which images are listed, ascending.

        Args:
            known: every image's names, its own first; others count where they are of one image.
            where: the data set, for messages.

        Raises:
            UserError: a name is of no image; or none is listed.
        """
        own = {names[0]: index for index, names in enumerate(known)}
        others: dict[str, set[int]] = {}
        for index, (_, *more) in enumerate(known):
            for name in more:
                others.setdefault(name, set()).add(index)
        by_name = {name: min(of) for name, of in others.items() if len(of) == 1} | own
        places = [by_name.get(name, _place_of_path(name, by_name, own)) for name in self.names]
        unknown = [name for name, place in zip(self.names, places, strict=True) if place is None]
        if unknown:
            shown = ", ".join(map(repr, unknown[:_NAMED]))
            shown += f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise UserError(
                f"image list must name images of the data set ({where}), got {shown} "
                f"({self.path}). Use the list with the data set and split it was made of, or "
                "remove these lines."
            )
        return sorted({place for place in places if place is not None})


def _place_of_path(name: str, by_name: Mapping[str, int], own: Mapping[str, int]) -> int | None:
    """Return which image a path means; None where it is none.

    Folders that are no image's are left aside where images have names without any. Where they have
    folders in theirs, these may be all that tells one from that of another data set.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return by_name.get(str(path), own.get(path.stem, own.get(basename(name))))


def read_image_list(path: Path) -> ImageList:
    """Return the names in a file.

    Raises:
        UserError: it cannot be read, or lists nothing.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"image list must be a readable text file, one name a line, got {_reason(error)} "
            f"({path})."
        ) from error
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    names = {line for line in lines if line and not line.startswith(_COMMENT)}
    if not names:
        raise UserError(f"image list must name an image, got none ({path}).")
    return ImageList(tuple(sorted(names)), str(path))


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Return why a file cannot be read; its path stands beside it."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error) if isinstance(error, ValueError) else (error.strerror or str(error)).lower()


def write_image_list(path: Path, names: Sequence[str], *, about: Sequence[str] = ()) -> None:
    """Write names, sorted, each once.

    Args:
        path: the file; one that is there is replaced.
        names: of the images.
        about: lines that say where they come from.

    Raises:
        UserError: a name cannot stand on a line of its own, or the file cannot be written.
    """
    for name in names:
        if name != name.strip() or not name or name.startswith(_COMMENT) or "\n" in name:
            raise UserError(
                f"image name must be one line that does not start with {_COMMENT!r}, got {name!r}. "
                "Rename the image."
            )
    lines = [*(f"{_COMMENT} {line}" for line in about), *sorted(set(names))]
    with disk_errors("image list", path, then="write it again, or choose another file"):
        write_whole(path, "".join(f"{line}\n" for line in lines))
