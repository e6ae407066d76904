"""A step that is tried before the first one, without a GPU: what of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uda4inst.training.config import load_config
from uda4inst.training.memory import try_step
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session


@pytest.mark.parametrize("preset", ["daformer_tiny", "deeplab_tiny", "bisenet_tiny"])
def test_try_step__batch_norm_has_seen_nothing(tmp_path: Path, preset: str) -> None:
    config = load_config(
        "toystreets_semantic_smoke",
        [f"run.root={tmp_path}", "run.name=a", f"model.preset={preset}", "data.crop=[64,128]"],
    )
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        before = {name: tensor.clone() for name, tensor in session.student.state_dict().items()}
        assert any("running_mean" in name for name in before)
        for stage in session.stages_to_come():
            try_step(session, stage)
        after = session.student.state_dict()
        assert [name for name in before if not torch.equal(before[name], after[name])] == []
    finally:
        processes.leave()
