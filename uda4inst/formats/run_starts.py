"""Run-length codes of many masks at once: where runs begin is found where the masks are.

pycocotools walks through every pixel of a mask and keeps other threads waiting. Here a device (or
torch on a CPU) marks the pixels at which a run begins, 64 in a word, an eighth of the masks'
memory; what is left to do on the host depends on the number of runs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from uda4inst.formats.rle import Rle, rle_of_lengths
from uda4inst.structures import Size

_WORD: Final = 64
# Times this, the lowest bits of eight bytes stand side by side in the highest byte, first lowest.
_GATHER: Final = 0x0102040810204080


def run_starts(masks: Bool[Tensor, "M H W"]) -> Int64[Tensor, "M words"]:
    """Return a bit for every pixel, set where it is unlike the one before it along the columns.

    Before the first pixel is background, and so are the bits past the last pixel. Nothing is read
    back from the device.
    """
    count, height, width = masks.shape
    pixels = height * width
    columns = masks.new_empty((count, -(-pixels // _WORD) * _WORD))
    columns[:, pixels:] = False
    by_column = columns[:, :pixels].unflatten(1, (width, height))
    if masks.device.type == "cpu":  # quick for two dimensions alone
        for turned, mask in zip(by_column, masks, strict=True):
            turned.copy_(mask.T)
    else:
        by_column.copy_(masks.transpose(1, 2))
    eights = columns.view(torch.int64).mul_(_GATHER).bitwise_right_shift_(56)
    words = eights.to(torch.uint8).view(torch.int64)
    carried = F.pad(words, (1, 0))[:, :-1].bitwise_right_shift(_WORD - 1).bitwise_and_(1)
    return words ^ words.bitwise_left_shift(1).bitwise_or_(carried)


def encode_runs(starts: Int64[NDArray[np.int64], "M words"], size: Size) -> list[Rle]:
    """Return the COCO run-length code of every mask, as `formats.rle.rle_encode` would.

    Args:
        starts: of `run_starts`, in the host's memory.
        size: (height, width) of the masks.

    Example:
        >>> encode_runs(run_starts(torch.tensor([[[False, True], [False, True]]])).numpy(), (2, 2))
        [{'size': [2, 2], 'counts': '22'}]
    """
    pixels, words = size[0] * size[1], starts.ravel()
    used = np.flatnonzero(words != 0)
    eights = words[used].view(np.uint8)
    some = np.flatnonzero(eights != 0)  # quick for booleans
    bits = np.flatnonzero(np.unpackbits(eights[some], bitorder="little").view(np.bool_))
    eight = some[bits >> 3]
    begins = used[eight >> 3] * _WORD + ((eight & 7) << 3) + (bits & 7)
    padded = starts.shape[1] * _WORD
    if padded != pixels:  # take the padding out; a mask's last run may end where it begins
        mask = begins // padded
        pixel = begins - mask * padded
        begins = (mask * pixels + pixel)[pixel < pixels]
    # All masks one after another: each ends where the next begins.
    number = np.arange(1, len(starts) + 1)
    before_end = np.searchsorted(begins, number * pixels)
    edges = np.insert(begins, before_end, number * pixels)
    lengths = np.diff(edges, prepend=0).astype(np.uint32)
    return [rle_of_lengths(part, size) for part in np.split(lengths, before_end + number)[:-1]]
