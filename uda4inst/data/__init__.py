"""Data sets in their own formats, ToyStreets, and the loading of training batches."""

from __future__ import annotations

from typing import Final

from uda4inst.data.bdd100k import BDD100K
from uda4inst.data.cityscapes import Cityscapes
from uda4inst.data.coco_folder import CocoFolder
from uda4inst.data.gta5 import GTA5
from uda4inst.data.image_folder import ImageFolder
from uda4inst.data.kitti360 import Kitti360
from uda4inst.data.synscapes import Synscapes
from uda4inst.data.synthia import Synthia
from uda4inst.data.tree import DatasetOptions, ImageTree, ObjectFilter
from uda4inst.data.urbansyn import UrbanSyn

# Format name, as in the configuration -> data set class.
DATASETS: Final[dict[str, type[ImageTree]]] = {
    "urbansyn": UrbanSyn,
    "cityscapes": Cityscapes,
    "kitti360": Kitti360,
    "bdd100k": BDD100K,
    "images": ImageFolder,
    "gta5": GTA5,
    "synscapes": Synscapes,
    "synthia": Synthia,
    "coco": CocoFolder,
}

__all__ = [
    "BDD100K",
    "DATASETS",
    "GTA5",
    "Cityscapes",
    "CocoFolder",
    "DatasetOptions",
    "ImageFolder",
    "ImageTree",
    "Kitti360",
    "ObjectFilter",
    "Synscapes",
    "Synthia",
    "UrbanSyn",
]
