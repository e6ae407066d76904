"""A file for each data set, and the names people type for them.

To add one: its file, one line in `DATASETS`, one in `data/config.py`'s `FormatName`.
"""

from __future__ import annotations

from typing import Final

from uda4inst.data.readers.bdd100k import BDD100K
from uda4inst.data.readers.cityscapes import Cityscapes, CityscapesLabels
from uda4inst.data.readers.coco_folder import CocoFolder
from uda4inst.data.readers.gta5 import GTA5
from uda4inst.data.readers.image_folder import ImageFolder
from uda4inst.data.readers.kitti360 import Kitti360
from uda4inst.data.readers.synscapes import Synscapes
from uda4inst.data.readers.synthia import Synthia
from uda4inst.data.readers.urbansyn import UrbanSyn
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError, did_you_mean

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


def format_class(name: str) -> type[ImageTree]:
    """Return the data set class of a format.

    Raises:
        UserError: there is none of that name; the message lists the known and the nearest.
    """
    if name in DATASETS:
        return DATASETS[name]
    hint = did_you_mean(name.lower(), DATASETS) or " Choose one of these."
    raise UserError(f"FORMAT must be one of {', '.join(DATASETS)}, got {name!r}.{hint}")


def truth_class(name: str) -> type[ImageTree]:
    """Return what reads the labels by which predictions in a format are judged.

    Raises:
        UserError: no data set has the name, or it has no instances.
    """
    kind = format_class(name)
    if not kind.has_instances:
        with_instances = (known for known, other in DATASETS.items() if other.has_instances)
        raise UserError(
            f"predictions must be judged by a data set with instances ({', '.join(with_instances)})"
            f", got {name}, which has none. Choose one of these."
        )
    return CityscapesLabels if kind is Cityscapes else kind


def format_name(dataset: ImageTree) -> str:
    """Return the name of a data set's format: its key in `DATASETS`."""
    return next(name for name, kind in DATASETS.items() if kind is type(dataset))
