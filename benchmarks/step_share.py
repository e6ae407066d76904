"""How much of a training step is its networks' own forwards and backwards.

    python benchmarks/step_share.py                                # small presets of the methods
    python benchmarks/step_share.py toystreets_demo --stages 1,2
    python benchmarks/step_share.py toystreets_daformer method.feature_distance.weight=0

The step is the trainer's own, on the batches of the preset's data, from its own start. A forward
is the outermost call of a module with parameters (student, teacher, frozen start, discriminator); a
backward is all that autograd does, the losses' part with it. The losses' own forward is what else
happens between views and backward: to full size, cross-entropy, contrast. What is left is the rest:
mixing, pseudo-labels, optimizer, EMA. Loading stands apart. Times are processor seconds of this
process on one thread, which hardly move when other programs use the machine. Medians of the steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from uda4inst.training.batches import open_batches, open_data
from uda4inst.training.config import load_config
from uda4inst.training.gpu import choose_settings
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.step import take_step

PRESETS = (
    "toystreets_dacs",
    "toystreets_daformer",
    "toystreets_ehtdi",
    "toystreets_meta_pseudo_labels",
)


class NetworkTime:
    """Seconds that networks and autograd took, and the losses' own forwards, in one step."""

    def __init__(self) -> None:
        self.seconds = self.losses = 0.0
        self._began = 0.0
        self._depth = 0
        self._since = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count while the block runs."""
        handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]
        backward = torch.autograd.backward

        def timed(*args: Any, **kwargs: Any) -> None:
            start = time.process_time()
            backward(*args, **kwargs)
            self.seconds += time.process_time() - start

        torch.autograd.backward = timed
        try:
            yield
        finally:
            torch.autograd.backward = backward
            for handle in handles:
                handle.remove()

    def phase(self, name: str) -> None:
        """Be told of a phase of the step before it begins."""
        rest = time.process_time() - self.seconds
        if name == "losses":
            self._began = rest
        elif name == "backward":
            self.losses += rest - self._began

    def _enter(self, module: nn.Module, args: Any) -> None:
        del args
        if next(module.parameters(), None) is None:
            return
        if self._depth == 0:
            self._since = time.process_time()
        self._depth += 1

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        del args, result
        if next(module.parameters(), None) is None:
            return
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.process_time() - self._since


def measure(
    preset: str, overrides: Sequence[str], *, stage: int, rounds: int, warmup: int
) -> dict[str, Any]:
    """Return a step's milliseconds, its networks' and its loading's, of one stage of a preset."""
    config = load_config(preset, ["data.workers=0", *overrides])
    choose_settings(config)
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        if stage == 2 and session.stage.number == 1:
            session.enter_stage_2()
            session.step = session.stage.first
        batches = open_batches(config, processes, open_data(config).trees, first_step=session.step)
        rows: list[tuple[float, float, float, float]] = []
        for index in range(warmup + rounds):
            start = time.process_time()
            batch = next(batches)
            loaded = time.process_time()
            spent = NetworkTime()
            with spent.watching():
                take_step(session, batch, enter=spent.phase)
            session.step += 1
            done = time.process_time()
            if index >= warmup:
                rows.append((done - loaded, spent.seconds, spent.losses, loaded - start))
        whole, networks, losses, loading = (
            1e3 * statistics.median(column) for column in zip(*rows, strict=True)
        )
        return {
            "preset": preset,
            "overrides": list(overrides),
            "method": session.stage.name,
            "stage": stage,
            "step_ms": round(whole, 1),
            "networks_ms": round(networks, 1),
            "losses_ms": round(losses, 1),
            "step_over_networks": _ratio(row[0] / row[1] for row in rows),
            "step_over_networks_and_losses": _ratio(row[0] / (row[1] + row[2]) for row in rows),
            "loading_ms": round(loading, 1),
        }
    finally:
        processes.leave()


def _ratio(ratios: Iterable[float]) -> float:
    return round(statistics.median(ratios), 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print a JSON line for each preset and stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", help="default: the small presets of the methods")
    parser.add_argument("overrides", nargs="*", help="such as method.edges=true")
    parser.add_argument("--stages", default="2")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    options = parser.parse_intermixed_args(arguments)
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {options.rounds} steps after {options.warmup}")
    for preset in [options.preset] if options.preset else PRESETS:
        for stage in options.stages.split(","):
            found = measure(
                preset,
                options.overrides,
                stage=int(stage),
                rounds=options.rounds,
                warmup=options.warmup,
            )
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
