"""Where in a target image no object can be, because the recording car's bonnet is there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool

from uda4inst.data.config import TargetRef
from uda4inst.data.files.png import read_map
from uda4inst.errors import UserError
from uda4inst.structures import Size

_log = logging.getLogger(__name__)

FILE_NAME: Final = "ego_vehicle.png"
_VALID_FROM: Final = 20  # gray level, as in the UDA4Inst authors' code
# Cityscapes' bonnet on 1024x2048, (x, y): full width below row 955, narrowing up to row 905, and
# the star above it from row 765. An approximation of the authors' template; the same 13.6 %.
_CITYSCAPES_SIZE: Final[Size] = (1024, 2048)
_CITYSCAPES_OUTLINE: Final = (
    (0, 1024),
    (0, 955),
    (262, 905),
    (1010, 905),
    (1010, 765),
    (1400, 765),
    (1400, 905),
    (1786, 905),
    (2048, 955),
    (2048, 1024),
)


def valid_region(target: TargetRef, size: Size) -> Bool[np.ndarray, "H W"]:
    """Return where objects may be in a target image: False on the ego vehicle.

    Args:
        target: `ego_vehicle` says which mask: none, auto or a file.
        size: (height, width) of the image.

    Raises:
        UserError: the mask file is missing, unreadable, or of another size than the image.
    """
    if target.ego_vehicle == "none":
        return np.ones(size, dtype=bool)
    if target.ego_vehicle != "auto":
        return _read_mask(Path(target.ego_vehicle), size)
    beside = Path(target.root) / FILE_NAME
    if beside.exists():
        return _read_mask(beside, size)
    if target.format == "cityscapes" and size[1] == 2 * size[0]:
        return cityscapes_region(size)
    _log.info("no ego vehicle known for %s of size %s: objects may be anywhere", target.root, size)
    return np.ones(size, dtype=bool)


def cityscapes_region(size: Size) -> Bool[np.ndarray, "H W"]:
    """Return Cityscapes' own valid region, scaled to an image size."""
    mask = np.ones(_CITYSCAPES_SIZE, dtype=np.uint8)
    cv2.fillPoly(mask, [np.array(_CITYSCAPES_OUTLINE, dtype=np.int32)], 0)
    height, width = size
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _read_mask(path: Path, size: Size) -> Bool[np.ndarray, "H W"]:
    """Return the valid region of a mask file."""
    mask = read_map(path, what="ego vehicle mask", allow={"8-bit gray"})
    if mask.shape != size:
        raise UserError(
            f"ego vehicle mask must have the target images' size {size}, got {mask.shape} "
            f"({path}). Give a mask of that size in data.target.ego_vehicle, or none."
        )
    if 0 < mask.max() < _VALID_FROM:
        raise UserError(
            f"ego vehicle mask must be 0 on it and {_VALID_FROM} to 255 where objects can be, got "
            f"values of at most {mask.max()} ({path}). Multiply it by 255, or give none."
        )
    return mask >= _VALID_FROM
