"""A trained run of two category groups, for every test that looks into one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mini_network import TINY_MINI

from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config
from uda4inst.training.groups import category_groups

ShortRun = Callable[..., list[str]]


@pytest.fixture(scope="session")
def grouped_run(tmp_path_factory: pytest.TempPathFactory, toy: Path, short_run: ShortRun) -> RunDir:
    """Return a run with a checkpoint where stage 2 starts, and one at its end."""
    root = tmp_path_factory.mktemp("runs")
    settings = (
        "method.groups=two",
        "training.stage1_steps=1",
        "training.stage2_steps=2",
        "training.snapshot_every=1",
        "evaluation.stage1=false",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_PRESETS, "tiny", TINY_MINI)
        category_groups.train(
            load_config("toystreets_smoke", short_run(root, "grouped", *settings, data=toy))
        )
    return RunDir(root / "grouped")
