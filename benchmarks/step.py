"""One training step: our criterion against the library's own loss, and a whole uda4inst step.

    python benchmarks/step.py                                         # tiny, 128x256, batch 4
    python benchmarks/step.py --variants source_only uda4inst
    python benchmarks/step.py --preset swin_l --size 1024x1024 --batch 3 --precision bf16

Variants: "library" (network and loss of `transformers`), "criterion" (the same network, our loss),
"source_only" and "uda4inst" (the methods, with LAB alignment and all that the trainer's step does
but loading), "two_groups" (a uda4inst step of each of the paper's two category groups). Every
variant trains its own copy of the same fresh network on the same random scenes. They take turns
within one run, so a busy machine slows all of them; what counts are the ratios. The library gets
its full-size masks ready-made: making them is not part of its step here. A fresh network is sure of
nothing, so uda4inst's threshold is set to keep as many pseudo-labels as there are source instances.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mask2FormerForUniversalSegmentation

from uda4inst.classes import CATEGORY_GROUPINGS, thing_index
from uda4inst.methods import METHODS
from uda4inst.methods.base import MethodContext
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.decode import decode
from uda4inst.models.mask2former.network import MODEL_PRESETS, Mask2Former
from uda4inst.models.precision import inference_precision
from uda4inst.structures import DomainBatch, InstanceMap, Sample, Size, TargetSample
from uda4inst.tasks.instances import INSTANCES, InstanceLoss

Step = Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """What is measured: network, images, and how."""

    preset: str
    size: Size
    batch: int
    instances: int
    points: int
    precision: str
    device: str

    def autocast(self) -> torch.autocast:
        """Return the forward pass's precision."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def scenes(setting: Setting) -> tuple[Tensor, list[InstanceMap]]:
    """Make random images and as many random rectangles on each."""
    generator = torch.Generator().manual_seed(0)
    height, width = setting.size
    images = torch.rand(setting.batch, 3, height, width, generator=generator)
    maps: list[InstanceMap] = []
    for _ in range(setting.batch):
        ids = torch.zeros(setting.size, dtype=torch.int32)
        for slot in range(1, setting.instances + 1):
            top = int(torch.randint(0, height - height // 4, (), generator=generator))
            left = int(torch.randint(0, width - width // 8, (), generator=generator))
            ids[top : top + height // 4, left : left + width // 8] = slot
        labels = torch.randint(0, 8, (setting.instances,), generator=generator)
        maps.append(InstanceMap(ids, labels).compact().to(setting.device))
    return images.to(setting.device), maps


def train_step(network: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """Return one optimizer update on a loss, as the trainer does it.

    The rate is 0: the same work, but the network stays, and with it how much there is to match.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.05)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()

    return step


def criterion_step(setting: Setting) -> Step:
    """Our network with our criterion."""
    model, criterion = network_and_criterion(setting)
    images, maps = scenes(setting)

    def loss() -> Tensor:
        with setting.autocast():
            prediction = model(images)
        return criterion(prediction, maps).total

    return train_step(model, loss)


def two_groups_step(setting: Setting) -> Step:
    """One uda4inst step of each of the paper's two category groups, networks of their own."""
    people, vehicles = (
        method_step("uda4inst", setting, classes=group) for group in CATEGORY_GROUPINGS["two"]
    )

    def step() -> None:
        people()
        vehicles()

    return step


def method_step(name: str, setting: Setting, *, classes: tuple[str, ...] = ()) -> Step:
    """A method's whole step on its own batch, which shows `classes` alone if there are any."""
    model, criterion = network_and_criterion(setting)
    images, maps = scenes(setting)
    if classes:
        maps = [only(instances, classes) for instances in maps]
    batch = DomainBatch(
        source=tuple(
            Sample(image.cpu(), f"source {i}", "source", instances=instances.to("cpu"))
            for i, (image, instances) in enumerate(zip(images, maps, strict=True))
        ),
        target=tuple(
            TargetSample(image.cpu(), torch.ones(setting.size, dtype=torch.bool), f"target {i}")
            for i, image in enumerate(images.flip(-1))
        ),
    )
    with torch.no_grad():
        scores = torch.cat([found.scores for found in decode(model(images.flip(-1)))])
    wanted = min(setting.batch * setting.instances, len(scores) - 1)
    threshold = float(scores.sort(descending=True).values[wanted])
    spec = METHODS[name]
    values = {"score_threshold": threshold, "groups": "one", "classes": classes}
    config = spec.config.model_validate(
        {key: value for key, value in values.items() if key in spec.config.model_fields}
    )

    def forward(images: Tensor) -> Any:
        with setting.autocast():
            return model(images)

    def infer(network: nn.Module, images: Tensor) -> Any:
        with inference_precision("tf32", images.device):
            return network(images)

    loss_of = InstanceLoss(criterion)
    method = spec.build(MethodContext(model, INSTANCES, loss_of, forward, infer), config)
    step = itertools.count()

    def loss() -> Tensor:
        number = next(step)
        terms = list(method.losses(method.prepare(batch, number), number))
        return torch.stack([term.weight * term.value for term in terms]).sum()

    return train_step(model, loss)


def only(instances: InstanceMap, classes: tuple[str, ...]) -> InstanceMap:
    """Return the instances of some classes; the others become background."""
    labels = torch.tensor([thing_index(name) for name in classes], device=instances.labels.device)
    kept = torch.isin(instances.labels, labels)
    return InstanceMap(instances.ids, torch.where(kept, instances.labels, -1)).compact()


def network_and_criterion(setting: Setting) -> tuple[Mask2Former, Criterion]:
    """Build the same fresh network every time."""
    torch.manual_seed(0)
    model = Mask2Former(MODEL_PRESETS[setting.preset]).to(setting.device).train()
    return model, Criterion(num_points=setting.points).to(setting.device)


def library_step(setting: Setting) -> Step:
    """The same network with the library's own loss, called as its documentation says."""
    torch.manual_seed(0)
    config = MODEL_PRESETS[setting.preset].config(8)
    config.train_num_points = setting.points
    model = Mask2FormerForUniversalSegmentation(config).to(setting.device).train()
    images, maps = scenes(setting)
    height, width = setting.size
    pixels = F.pad(images, (0, -width % 32, 0, -height % 32))
    masks = [F.pad(m.masks().float(), (0, -width % 32, 0, -height % 32)) for m in maps]

    def loss() -> Tensor:
        with setting.autocast():
            return model(
                pixel_values=pixels, mask_labels=masks, class_labels=[m.labels for m in maps]
            ).loss

    return train_step(model, loss)


VARIANTS: dict[str, Callable[[Setting], Step]] = {
    "library": library_step,
    "criterion": criterion_step,
    "source_only": functools.partial(method_step, "source_only"),
    "uda4inst": functools.partial(method_step, "uda4inst"),
    "two_groups": two_groups_step,
}


def measure(
    steps: dict[str, Step], *, rounds: int, warmup: int, cpu_time: bool
) -> dict[str, list[float]]:
    """Return the milliseconds of every step; the variants take turns, in changing order.

    The clock is the wall, or with `cpu_time` the process's own seconds over all its threads: that
    one hardly moves when other programs use the machine.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    clock = time.process_time if cpu_time else time.perf_counter
    for index in range(warmup + rounds):
        for name in names if index % 2 else reversed(names):
            start = clock()
            steps[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if index >= warmup:
                times[name].append(1e3 * (clock() - start))
    return times


def report(setting: Setting, times: dict[str, list[float]]) -> list[str]:
    """Return the lines to print: median, least and ratio to the first variant."""
    lines = [f"{setting}, torch {torch.__version__}, {torch.get_num_threads()} threads"]
    first = next(iter(times))
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times[first], strict=True))
        lines.append(
            f"{name:>14}: median {statistics.median(values):8.1f} ms/step, least {min(values):8.1f}"
            f", {ratio:.3f} x {first}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines.append(f"peak RSS {peak:.0f} MiB (all variants together)")
    if torch.cuda.is_available():
        lines.append(f"peak device memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="tiny", choices=list(MODEL_PRESETS))
    parser.add_argument("--size", default="128x256", help="HEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--instances", type=int, default=5, help="per image")
    parser.add_argument("--points", type=int, default=12544)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--variants", nargs="+", default=["library", "criterion"], choices=list(VARIANTS)
    )
    parser.add_argument("--cpu-time", action="store_true", help="on a busy machine; see measure")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    height, width = (int(side) for side in options.size.split("x"))
    setting = Setting(
        preset=options.preset,
        size=(height, width),
        batch=options.batch,
        instances=options.instances,
        points=options.points,
        precision=options.precision,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    steps = {name: VARIANTS[name](setting) for name in options.variants}
    times = measure(steps, rounds=options.rounds, warmup=options.warmup, cpu_time=options.cpu_time)
    print("\n".join(report(setting, times)))


if __name__ == "__main__":
    main()
