"""Entries of the rare-class pool as pictures."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PATCH_HEIGHT: Final = 160


def on_checkerboard(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an entry's patch enlarged on a quiet checkerboard, RGB.

    Args:
        patch: RGBA, uint8 (h, w, 4).
    """
    factor = max(1, _PATCH_HEIGHT // patch.shape[0])
    large = patch.repeat(factor, axis=0).repeat(factor, axis=1)
    rows, columns = np.indices(large.shape[:2]) // 8
    board = np.where((rows + columns) % 2, 118.0, 98.0)[..., None]
    alpha = large[..., 3:] / 255
    return (large[..., :3] * alpha + board * (1 - alpha)).round().astype(np.uint8)
