"""Predicted semantic maps of many images in one file, and as the Cityscapes server takes them.

The file is a zip of 8-bit grey PNGs, NAME.png each, that hold trainIds (255 for no class); they are
stored, not packed again, so one can be read without the others.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uda4inst.atomic import whole_file
from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES, TRAIN_ID_TO_LABEL
from uda4inst.errors import UserError
from uda4inst.pictures import MAX_PICTURE, decode_picture
from uda4inst.reading import open_regular

LABEL_IDS_SUFFIX: Final = "_labelIds.png"
# What zipfile says of files that are none, are cut, or are packed in a way that it does not know.
_DAMAGED: Final = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
)
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)  # equal predictions give equal bytes


@contextmanager
def writing_label_maps(path: Path) -> Iterator[Callable[[str, NDArray[np.uint8]], None]]:
    """Open a file for maps by name, in a folder made if need be; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:

        def write(name: str, train_ids: NDArray[np.uint8]) -> None:
            buffer = io.BytesIO()
            Image.fromarray(train_ids).save(buffer, format="PNG", compress_level=1)
            file.writestr(zipfile.ZipInfo(f"{name}.png", _NO_TIME), buffer.getvalue())

        yield write


class LabelMaps:
    """The maps of a file, each read when it is asked for.

    Args:
        path: a file of `writing_label_maps`.

    Raises:
        UserError: the file is missing, or no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                self._members = frozenset(archive.namelist())
        except FileNotFoundError as error:
            raise UserError(
                f"predictions file must exist, got none ({path}). "
                "Evaluate the run first: it writes this file."
            ) from error
        except _DAMAGED as error:
            raise self._damaged(error) from error

    @property
    def names(self) -> frozenset[str]:
        """The images there are maps of."""
        return frozenset(member.removesuffix(".png") for member in self._members)

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return the map of an image: trainIds, 255 for no class, (H, W).

        Raises:
            UserError: there is none of that name, or the file is damaged.
        """
        member = f"{name}.png"
        if member not in self._members:
            raise UserError(
                f"predictions file must hold a map of {name!r}, got none ({self._path}). "
                "Evaluate the run on these images."
            )
        try:
            with open_regular(self._path) as file, zipfile.ZipFile(file) as archive:
                if archive.getinfo(member).file_size > MAX_PICTURE:
                    raise ValueError(f"{member} of more than {MAX_PICTURE:,} bytes")
                ids = decode_picture(archive.read(member))
        except _DAMAGED as error:
            raise self._damaged(error) from error
        classes = ids[ids != IGNORE_TRAIN_ID]
        if ids.dtype != np.uint8 or ids.ndim != 2 or (classes >= len(SEMANTIC_CLASSES)).any():
            raise self._damaged(f"{member} holds no trainIds")
        return ids

    def _damaged(self, error: object) -> UserError:
        return UserError(
            f"predictions file must be a whole zip of PNG label maps, got {error} ({self._path}). "
            "Evaluate again to rewrite it."
        )


def write_label_ids(path: Path, train_ids: NDArray[np.uint8]) -> None:
    """Write a map as the Cityscapes server takes it: regular label ids, 0 for no class."""
    with whole_file(path) as temporary:
        Image.fromarray(TRAIN_ID_TO_LABEL[train_ids].astype(np.uint8)).save(temporary, format="PNG")
