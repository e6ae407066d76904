"""What a training step asks of a GPU, counted without one: arithmetic, bytes, memory, operations.

    python benchmarks/gpu_counts.py                              # the paper's setting, both stages
    python benchmarks/gpu_counts.py urbansyn_cityscapes model.gradient_checkpointing=true
    python benchmarks/gpu_counts.py urbansyn_cityscapes model.deformable_kernel=triton
    python benchmarks/gpu_counts.py toystreets_demo data.crop=[128,256] --json counts.json

The step is the trainer's own, on tensors that have a shape, a type and a device and no values
(torch's FakeTensorMode; the device's stand-in is the tests'). So figures are counted, not measured:
- TFLOP: of products and convolutions, by torch's own counter; two a multiply-add.
- GB moved: what every operation reads and writes, as if nothing stayed in a cache (`traffic`);
  attention counts as one operation, as its kernels keep the weights to themselves. So does the
  kernel in Triton of deformable attention: inputs count as read once, what it adds up by atomics as
  written once.
- peak GiB: live storages at the worst moment, weights, gradients, optimizer and teacher included;
  torch's own allocator adds some (it cuts memory into blocks).
- operations: what is launched, views not counted.
Every image has 20 instances, and as many masks are matched.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fake_cuda import library

if __name__ == "__main__":
    if reason := library.missing():
        sys.exit(f"gpu_counts {reason}")
    library.load()

import torch
import transformers
from fake_cuda.traffic import launches, traffic
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from uda4inst.models.mask2former import criterion, pretrained, window_layout
from uda4inst.models.mask2former.matching import Match
from uda4inst.models.memory import FILE, kind
from uda4inst.structures import DomainBatch, InstanceMap, Sample, SemanticMap, TargetSample
from uda4inst.tasks import TASKS, task_of
from uda4inst.training.config import Config, load_config
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session
from uda4inst.training.step import Phase, take_step
from uda4inst.uda.rare_class_balance import RareClassBalance

INSTANCES = 20  # an image
_BLOCK = 512  # bytes: torch's allocator rounds up to them


@dataclass
class Count:
    """What one stage's step takes."""

    stage: int
    tflop: float
    gb_moved: float
    operations: int
    peak_gib: float
    peak_in: str
    fixed_gib: float
    parameters: int


def _product(bias: torch.Size, cells: torch.Size, weight: torch.Size, **_: Any) -> int:
    """Return the arithmetic of a product with an activation, from its factors' shapes."""
    del bias
    return 2 * cells.numel() * weight[1]


# Products that torch's counter does not know.
_PRODUCTS = {torch.ops.aten._addmm_activation: _product}


class Watch(TorchDispatchMode):
    """Counts operations and bytes, and follows what is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.moved = self.operations = 0
        self.phase = self.peak_phase = ""
        self._known: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        for tensor in tensors:
            self._follow(tensor)
        if launches(func):
            self.operations += 1
            self.moved += traffic(func, args, kwargs or {}, result)
        return result

    def restart(self, phase: str) -> None:
        """Name what comes next."""
        self.phase = phase

    def _follow(self, tensor: Tensor) -> None:
        if tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        self._known[key] = size
        self.live += size
        weakref.finalize(storage, self._free, key)
        if self.live > self.peak:
            self.peak, self.peak_phase = self.live, self.phase

    def _free(self, key: int) -> None:
        self.live -= self._known.pop(key, 0)


def _matches(costs: Sequence[Tensor], alive: Any, ignores: Any) -> list[Match]:
    """Match as many queries as there are instances: the assignment needs values."""
    del alive, ignores
    found: list[Match] = []
    for cost in costs:
        layers, images, queries, _ = cost.shape
        pairs = images * min(INSTANCES, queries)
        index = torch.zeros((5, layers * pairs), dtype=torch.int64, device="cuda")
        most = layers * pairs // images
        counts = (pairs,) * layers
        found.append(Match(*index.unbind(0), counts=counts, most=most, ignores=True))
    return found


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """Stand for the memory-efficient kernel, which a GPU takes where there is a mask."""
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (t.to(torch.bfloat16) for t in (query, key, value))
    if attn_mask is not None:
        mask = attn_mask
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device)
        attn_mask = mask.to(query.dtype).expand(*query.shape[:3], key.shape[2])
    with torch.autocast("cuda", enabled=False):
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        return efficient(query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


def _grid_sample(values: Tensor, grid: Tensor, *_: Any, **__: Any) -> Tensor:
    """Sample without asking for cuDNN."""
    if torch.is_autocast_enabled("cuda"):  # as CUDA's autocast does
        kind = torch.promote_types(values.dtype, grid.dtype)
        values, grid = values.to(kind), grid.to(kind)
    return torch.ops.aten.grid_sampler_2d(values, grid, 0, 0, False)


def _moved(module: nn.Module, *_: Any, **__: Any) -> nn.Module:
    """Give a module parameters and buffers of the device, as `Module.to` does with values."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            there = torch.empty(value.shape, dtype=value.dtype, device="cuda")
            setattr(part, name, nn.Parameter(there, requires_grad=value.requires_grad))
        for name, value in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(value.shape, dtype=value.dtype, device="cuda"))
    return module


@contextmanager
def _stand_ins() -> Iterator[FakeTensorMode]:
    """Put tensors without values, and what cannot do without them, in place."""
    with (
        mock.patch.object(criterion, "assign", _matches),
        mock.patch.object(pretrained, "start_as_published"),  # looks at values
        mock.patch.object(RareClassBalance, "find", lambda _, source: [()] * len(source)),
        mock.patch.object(F, "scaled_dot_product_attention", _attention),
        mock.patch.object(F, "grid_sample", _grid_sample),
        mock.patch.object(nn.Module, "to", _moved),
        # Lists of tensors are handled by one operation, as they are on a GPU.
        mock.patch.object(_foreach_utils, "_foreach_supported_types", [Tensor, FakeTensor]),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
    ):
        window_layout.window_layout.cache_clear()  # of another mode's tensors
        yield mode


def _batch(config: Config) -> DomainBatch:
    """Make a batch of the configuration's size."""
    size, count = tuple(config.data.crop), config.training.batch_size

    def labels() -> InstanceMap:
        ids = torch.zeros(size, dtype=torch.int32, device="cuda")
        return InstanceMap(ids, torch.zeros(INSTANCES, dtype=torch.int64, device="cuda"))

    def sample(index: int) -> Sample:
        image = torch.zeros((3, *size), device="cuda")
        if config.task.labels == "semantic":
            semantic = SemanticMap(torch.zeros(size, dtype=torch.uint8, device="cuda"))
            return Sample(image, str(index), "source", semantic=semantic)
        return Sample(image, str(index), "source", instances=labels())

    def target(index: int) -> TargetSample:
        valid = torch.ones(size, dtype=torch.bool, device="cuda")
        return TargetSample(torch.zeros((3, *size), device="cuda"), valid, str(index))

    return DomainBatch(
        source=tuple(sample(i) for i in range(count)),
        target=tuple(target(i) for i in range(count)),
    )


def count_stage(config: Config, stage: int, *, arithmetic: bool = True) -> Count:
    """Count one step of a stage: the second, when the optimizer's state is there.

    Args:
        config: of the run.
        stage: 1 or 2.
        arithmetic: count it too, in the step before; else it is 0.
    """
    processes = Processes.join(config)
    watch, flops = Watch(), FlopCounterMode(display=False, custom_mapping=_PRODUCTS)
    try:
        with _stand_ins(), watch:
            session = Session(config, processes)
            if stage == 2:
                session.enter_stage_2()
                session.step = session.stage.first
            with flops if arithmetic else nullcontext():  # it keeps what checkpointing lets go
                _step(session, _batch(config), watch)
            fixed = watch.live
            batch = _batch(config)
            watch.peak = watch.moved = watch.operations = 0
            _step(session, batch, watch)
            peak, moved, operations = watch.peak, watch.moved, watch.operations
            peak_in = watch.peak_phase
    finally:
        processes.leave()
    return Count(
        stage=stage,
        tflop=flops.get_total_flops() / 1e12 if arithmetic else 0.0,
        gb_moved=moved / 1e9,
        operations=operations,
        peak_gib=peak / 2**30,
        peak_in=peak_in,
        fixed_gib=fixed / 2**30,
        parameters=sum(p.numel() for p in session.student.parameters()),
    )


def _step(session: Session, batch: DomainBatch, watch: Watch) -> None:
    """Do the trainer's step, phase by phase."""

    def enter(phase: Phase) -> None:
        watch.restart("forward" if phase == "losses" else phase)
        if phase != "update":
            return
        learned = ((n, p) for n, p in session.student.named_parameters() if p.requires_grad)
        if without := [n for n, p in learned if p.grad is None]:
            raise RuntimeError(f"Parameters without a gradient: {', '.join(without)}.")

    take_step(session, batch, enter=enter)
    session.step += 1


def fit() -> None:
    """Count every network that is not counted yet, both ways it can be trained.

    The file that `uda4inst.models.memory` reads is written after each; one of other versions begins
    anew.
    """
    side, batch = 1024, 3  # the paper's: what is there once a step counts little beside it
    facts = {
        "by": "python benchmarks/gpu_counts.py --fit",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    there = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    networks = there["networks"] if facts.items() <= there.items() else {}
    names = [name for task in TASKS.values() for name in task.presets]
    for preset in (name for name in names if name not in networks):
        counted: dict[str, float] = {}
        for precision, checkpointing in itertools.product(("bf16", "fp32"), (False, True)):
            config = load_config(
                "toystreets_semantic" if task_of(preset).name == "semantic" else "toystreets_demo",
                [
                    f"model.preset={preset}",
                    "model.num_points=12544",  # the paper's
                    "model.weights=null",
                    f"model.gradient_checkpointing={checkpointing}",
                    f"training.precision={precision}",
                    "method.name=source_only",
                    "method.groups=one",
                    f"data.crop=[{side}, {side}]",
                    f"training.batch_size={batch}",
                ],
            )
            count = count_stage(config, 1, arithmetic=False)
            megapixels = batch * side**2 / 2**20
            beside = count.peak_gib - 4 * 4 * count.parameters / 2**30
            counted[kind(precision, checkpointing)] = round(beside / megapixels, 3)
            networks[preset] = {"parameters": count.parameters, "gib_per_megapixel": counted}
        print(preset, networks[preset], flush=True)
        in_order = {name: networks[name] for name in names if name in networks}
        FILE.write_text(json.dumps({**facts, "networks": in_order}, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, count, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("preset", nargs="?", default="urbansyn_cityscapes")
    parser.add_argument("overrides", nargs="*", help="such as model.gradient_checkpointing=true")
    parser.add_argument("--stages", default="1,2")
    parser.add_argument("--json", type=Path, help="write the counts there too")
    parser.add_argument("--fit", action="store_true", help=f"count what {FILE.name} lacks")
    options = parser.parse_intermixed_args(arguments)
    if options.fit:
        fit()
        return
    fixed = ["model.weights=null", "method.groups=one", "method.pool.rare_classes=[train]"]
    config = load_config(options.preset, [*fixed, *options.overrides])
    counts = [count_stage(config, int(stage)) for stage in options.stages.split(",")]
    print(
        f"{options.preset} {' '.join(options.overrides)}: {config.model.preset}, "
        f"{config.data.crop}, batch {config.training.batch_size}, {config.training.precision}"
    )
    for c in counts:
        print(
            f"stage {c.stage}: {c.tflop:.2f} TFLOP, {c.gb_moved:.0f} GB moved, {c.operations} "
            f"operations, peak {c.peak_gib:.2f} GiB (in {c.peak_in}), of it kept between steps "
            f"{c.fixed_gib:.2f}"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(c) for c in counts], indent=1) + "\n")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # tensors without values have nothing to be taken down
