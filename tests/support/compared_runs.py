"""What a run left, as something that compares."""

from __future__ import annotations

import json
from typing import Any

import torch

from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.metrics import VARYING_FIELDS


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
