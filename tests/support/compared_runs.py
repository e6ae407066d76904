"""What a run left, as something that compares."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.varying import VARYING_FIELDS, VARYING_FILES


def metrics(run: RunDir) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without what differs from machine to machine."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in VARYING_FIELDS} for line in lines]


def plain(value: Any) -> Any:
    """Return nested tensors as something that compares."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def repeated_content(folder: Path) -> dict[str, object]:
    """Return what every file of runs holds by its path, but for what tells of moment and machine.

    Lines of metrics are parsed and rid of such fields; of YAML it is the text, of all else a hash.
    """
    content: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_dir() or not {*place.parts}.isdisjoint(VARYING_FILES):
            continue
        if path.name == "metrics.jsonl":
            content[str(place)] = metrics(RunDir(path.parent))
        elif path.suffix == ".yaml":
            content[str(place)] = path.read_text(encoding="utf-8")
        else:
            content[str(place)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return content
