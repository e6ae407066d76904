"""ToyStreets as COCO folders in which cars have a name that is none of the eight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from uda4inst.classes import THING_NAMES, ThingClasses
from uda4inst.data.readers import Cityscapes, CocoFolder, UrbanSyn
from uda4inst.data.reports.export import export_coco
from uda4inst.data.tree import DatasetOptions
from uda4inst.formats.class_map import MapEntry, read_class_map, write_class_map

OWN: Final = "tow truck"
THINGS: Final = ThingClasses((OWN,))
CAR: Final = THING_NAMES.index("car")
CALLED: Final = "Tow-Truck"


def write_own_data(toy: Path, out: Path) -> Path:
    """Write source, target and val below `out`, and map.yaml; return `out`."""
    export_coco(UrbanSyn(toy / "urbansyn"), out / "source", workers=0)
    for split in ("train", "val"):
        export_coco(Cityscapes(toy / "cityscapes", split), out / split, workers=0)
    for path in out.glob("*/annotations/*.json"):
        content = json.loads(path.read_text())
        for category in content["categories"]:
            if category["name"] == "car":
                category["name"] = CALLED
        path.write_text(json.dumps(content))
    entries = [MapEntry(name, name) for name in THING_NAMES if name != "car"]
    write_class_map(out / "map.yaml", [*entries, MapEntry(CALLED, OWN)], own=[OWN])
    return out


def open_own(data: Path, side: str = "val") -> CocoFolder:
    """Return one of the folders, its cars of the own class."""
    options = DatasetOptions(class_map=read_class_map(data / "map.yaml"))
    return CocoFolder(data / side, "val" if side == "val" else "train", options=options)


def own_overrides(data: Path) -> list[str]:
    """Return what a configuration says of the data and the classes."""
    sides = {"source": "source", "target": "train", "val": "val"}
    return [
        *(f"data.{side}.format=coco" for side in sides),
        *(f"data.{side}.root={data / folder}" for side, folder in sides.items()),
        f"data.source.class_map={data / 'map.yaml'}",
        f"data.val.class_map={data / 'map.yaml'}",
        f"method.own_classes=[{OWN}]",
        "method.groups=one",
        f"method.pool.rare_classes=[{OWN}]",
    ]
