"""Data sets in their own formats, ToyStreets, and the loading of training batches."""

from __future__ import annotations

from typing import Final

from uda4inst.data.cityscapes import Cityscapes
from uda4inst.data.synscapes import Synscapes
from uda4inst.data.synthia import Synthia
from uda4inst.data.tree import DatasetOptions, ImageTree, ObjectFilter
from uda4inst.data.urbansyn import UrbanSyn

# Format name, as in the configuration -> data set class.
DATASETS: Final[dict[str, type[ImageTree]]] = {
    "urbansyn": UrbanSyn,
    "cityscapes": Cityscapes,
    "synscapes": Synscapes,
    "synthia": Synthia,
}

__all__ = [
    "DATASETS",
    "Cityscapes",
    "DatasetOptions",
    "ImageTree",
    "ObjectFilter",
    "Synscapes",
    "Synthia",
    "UrbanSyn",
]
