"""Ground truth of a Cityscapes-style tree: the raw `instanceIds` files, images not needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from uda4inst.classes import MAX_LABEL_ID
from uda4inst.errors import UserError
from uda4inst.formats.predictions import basename
from uda4inst.structures import Size

_SUFFIX = "_gtFine_instanceIds.png"
# One channel, nothing lost. Pillow names 16-bit files by byte order and version.
_MODES = ("I;16", "I;16B", "I;16L", "I", "L")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The annotated images of one split, ordered by name.

    Args:
        names: Cityscapes basenames `{city}_{sequence}_{frame}`.
        paths: the raw instance map of each.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    @property
    def by_name(self) -> dict[str, Path]:
        """The raw instance map by Cityscapes basename."""
        return dict(zip(self.names, self.paths, strict=True))

    def read(self, index: int) -> NDArray[np.integer]:
        """Return the raw values of one image, (H, W)."""
        return read_instance_ids(self.paths[index])

    def size_of(self, index: int) -> Size:
        """Return (height, width) of one image without decoding it."""
        try:
            with Image.open(self.paths[index]) as image:
                return image.height, image.width
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise _unreadable(self.paths[index], error) from error


def find_ground_truth(root: Path, *, split: str = "val") -> GroundTruth:
    """Return the ground truth under `root/gtFine/split/<city>/`.

    Raises:
        UserError: the folder is missing or holds no annotation, or two files share one name.
    """
    folder = root / "gtFine" / split
    if not folder.is_dir():
        splits = (
            sorted(p.name for p in (root / "gtFine").iterdir() if p.is_dir())
            if (root / "gtFine").is_dir()
            else []
        )
        known = f"Splits there: {', '.join(splits)}." if splits else "Give the Cityscapes root."
        raise UserError(f"ground truth must lie in gtFine/{split}, got no folder {folder}. {known}")
    paths = sorted(folder.glob(f"*/*{_SUFFIX}"), key=lambda p: p.name)
    if not paths:
        raise UserError(
            f"ground truth must hold <city>/*{_SUFFIX} files, got none ({folder}). "
            "Unpack gtFine there, or choose another split."
        )
    names = tuple(basename(p.name) for p in paths)
    doubled = sorted({a for a, b in pairwise(names) if a == b})
    if doubled:
        raise UserError(
            f"ground truth names must differ, got two files of {', '.join(doubled[:5])} ({folder})."
        )
    return GroundTruth(names, tuple(paths))


def read_instance_ids(path: Path) -> NDArray[np.integer]:
    """Return the raw values of one `instanceIds` file, (H, W), in the file's own type.

    Raises:
        UserError: the file is missing, unreadable, not one channel, or holds an unknown id.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise UserError(
                    f"instanceIds must be a one-channel 16-bit PNG, got mode {image.mode} ({path})."
                )
            ids = np.asarray(image)
    except UserError:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error
    values = np.flatnonzero(np.bincount(ids.ravel()))
    unknown = values[np.where(values < 1000, values, values // 1000) > MAX_LABEL_ID][:5].tolist()
    if unknown:
        raise UserError(
            f"instanceIds must hold label ids 0..{MAX_LABEL_ID} or id * 1000 + number, "
            f"got {unknown} ({path}). An 8-bit or resampled copy looks like this; restore the file."
        )
    return ids


def _unreadable(path: Path, error: Exception) -> UserError:
    """Return the message for a file that is missing or broken."""
    return UserError(f"instanceIds must be a readable PNG, got {error} ({path}). Restore the file.")
