"""What commit 2bd169c left behind, copied to where it may be changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from uda4inst.models.mask2former.presets import ModelPreset, SwinSize

FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(name: str) -> Any:
    """Return the values of a JSON file of the fixtures."""
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def small_network() -> ModelPreset:
    """Return the network of the runs."""
    values: dict[str, Any] = fixture("network.json")
    values |= {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
    swin = SwinSize(**{f.name: values.pop(f.name) for f in fields(SwinSize) if f.name in values})
    return ModelPreset(backbone=swin, **values)


def copy_runs(to: Path) -> None:
    """Copy the runs, and the empty folders that git does not keep."""
    shutil.copytree(FIXTURES / "runs", to)
    for config in to.rglob("config.yaml"):
        for folder in ("checkpoints", "control", "evaluation", "snapshots"):
            (config.parent / folder).mkdir(exist_ok=True)
