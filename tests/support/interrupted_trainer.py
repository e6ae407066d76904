"""The command line, made to wait at one point so that a test can kill it there.

    python interrupted_trainer.py POINT MARKER train CONFIG [key=value ...]

The tiny preset is replaced by the mini network. When the point is reached, MARKER is created and
the process sleeps until it is killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from mini_network import TINY_MINI

from uda4inst.cli import main
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.run_folder import checkpoints as checkpoint
from uda4inst.run_folder import metrics
from uda4inst.training import loop, validation

MODEL_PRESETS["tiny"] = TINY_MINI
POINT, MARKER = sys.argv[1], Path(sys.argv[2])
sys.argv = ["uda4inst", *sys.argv[3:]]


def wait_here() -> None:
    MARKER.touch()
    time.sleep(600)


def before(module: Any, name: str, condition: Any) -> None:
    """Wait before a call that fulfils a condition."""
    real = getattr(module, name)

    def waiting(*arguments: Any, **keywords: Any) -> Any:
        if condition(*arguments, **keywords):
            wait_here()
        return real(*arguments, **keywords)

    setattr(module, name, waiting)


def at_step(step: int) -> None:
    before(loop.Trainer, "_wishes", lambda trainer: trainer.session.step == step)


match POINT:
    case "nowhere":
        pass
    case "before-the-first-checkpoint":
        at_step(3)
    case "after-the-stage-boundary":
        at_step(9)
    case "in-stage-2":
        at_step(13)
    case "while-writing-a-checkpoint":
        before(
            checkpoint,
            "write_synced",
            lambda path, _: path.name == "state.pt" and "00000015" in path.parent.name,
        )
    case "before-latest-moves":
        before(checkpoint, "write_whole", lambda _, text: text == "00000015\n")
    case "before-an-old-checkpoint-goes":
        before(
            checkpoint,
            "remove_folder",
            lambda path: bool((path / "manifest.json").unlink()) or True,
        )
    case "while-evaluating":
        before(validation, "write_evaluation", lambda *_: True)
    case "in-the-middle-of-a-line":

        def half_a_line(log: metrics.MetricsLog, line: dict[str, Any]) -> bool:
            if line["step"] == 12:
                log._file.write(b'{"step": 12, "sta')
            return line["step"] == 12

        before(metrics.MetricsLog, "append", half_a_line)

main()
