"""The command line as one of several processes, leaving behind what each of them ended with.

    torchrun --standalone --nproc-per-node 2 one_of_two_trainers.py OUT train CONFIG [key=value ...]

The tiny preset is replaced by the mini network. OUT gets `<rank>.pt`: the student's weights, the
pool's sample ids, and the number of pseudo-labels of each step of stage 2.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from mini_network import TINY_MINI

from uda4inst.cli import main
from uda4inst.methods.base import Views
from uda4inst.methods.uda4inst import UDA4Inst
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.structures import DomainBatch
from uda4inst.training import loop

MODEL_PRESETS["tiny"] = TINY_MINI
OUT = Path(sys.argv[1])
sys.argv = ["uda4inst", *sys.argv[2:]]
counts: list[int] = []


def keep_counts(self: UDA4Inst, batch: DomainBatch, step: int) -> Views:
    views = real_prepare(self, batch, step)
    found = self.figures(views).get("pseudo_labels")
    counts.append(0 if found is None else int(found.values.sum()))
    return views


def keep_end(self: loop.Trainer) -> Any:
    outcome = real_loop(self)
    method: Any = self.session.stage.method
    end = {
        "student": self.session.student.state_dict(),
        "pool": [entry.sample_id for entry in method.rare_classes.pool.entries],
        "counts": counts,
    }
    torch.save(end, OUT / f"{os.environ['RANK']}.pt")
    return outcome


real_loop = loop.Trainer.loop
real_prepare = UDA4Inst.prepare
UDA4Inst.prepare = keep_counts
loop.Trainer.loop = keep_end
main()
