"""A run that really trained, and what its method handed to training at every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mini_network import TINY_MINI

from uda4inst.methods.base import Views
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.layout import RunDir
from uda4inst.training import loop
from uda4inst.training.config import load_config
from uda4inst.training.launch import train

# Snapshots at the steps 0, 2, 3, 4 and 6; stage 2 begins at 3. Untrained networks score low.
OPTIONS = (
    "training.stage1_steps=3",
    "training.stage2_steps=4",
    "training.snapshot_every=2",
    "evaluation.stage1=false",
    "evaluation.limit=1",
    "method.score_threshold=0.07",
    "method.unsure_threshold=0.06",
    "method.min_visible_share=0.3",
)


@dataclass(frozen=True)
class Trained:
    """A run and the views that its steps were trained on."""

    run: RunDir
    views: dict[int, Views]


# Snapshots at the steps 0 to 3; stage 2 begins at 1, and mixes both ways.
PIXEL_OPTIONS = (
    "method.name=ehtdi",
    "model.preset=deeplab_tiny",
    "method.confidence=0.08",
    "training.stage1_steps=1",
    "training.stage2_steps=3",
    "training.snapshot_every=1",
    "evaluation.stage1=false",
    "evaluation.limit=1",
)


def train_and_keep_views(
    root: Path,
    short_run: Callable[..., list[str]],
    *,
    preset: str = "toystreets_smoke",
    options: Sequence[str] = OPTIONS,
) -> Trained:
    views: dict[int, Views] = {}
    write: Any = loop.write_snapshot

    def write_and_keep(folder: Path, seen: Views, *, step: int, **rest: Any) -> Path:
        views[step] = seen
        return write(folder, seen, step=step, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        patch.setattr(loop, "write_snapshot", write_and_keep)
        train(load_config(preset, short_run(root, "seen_run", *options)))
    return Trained(RunDir(root / "seen_run"), views)
