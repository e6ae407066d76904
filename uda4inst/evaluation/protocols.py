"""What the protocols are called where people read them."""

from __future__ import annotations

from typing import Final

PROTOCOL_NAMES: Final = {
    "cityscapes": "Cityscapes",
    "coco": "COCO",
    "pixels": "Cityscapes pixel",
    "thing_pixels": "thing pixel",
}
