"""Steps of every method and option on the stand-in: nothing mixes, next to nothing crosses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_cuda.device import Crossing, Device
from gpu_runs import on_gpu

from uda4inst.data.stream.loading import build_loader
from uda4inst.methods import METHODS
from uda4inst.methods.base import LossTerm
from uda4inst.structures import DomainBatch
from uda4inst.training.config import Config, load_config
from uda4inst.training.processes import Processes
from uda4inst.training.session import Session

pytestmark = [pytest.mark.fake_cuda, pytest.mark.usefixtures("tiny_is_mini")]

Overrides = Callable[..., list[str]]
STAGE_1, STEPS = 1, 4

# What may pass in a step, by function, and whether the host waits for it. Nothing else may.
BATCH = ("uda4inst/structures.py", "moved", "to device, asynchronous")
COSTS = ("uda4inst/models/mask2former/matching.py", "assign", "to host")  # the one that waits
MATCHES = ("uda4inst/models/mask2former/matching.py", "assign", "to device, asynchronous")
# Constants, brought there before the first step of a process.
ONCE = "uda4inst/ops/color.py"
OPTIONS = {
    "paper": [],
    "groups off, colours as they are": ["method.groups=one", "method.lab_alignment=false"],
    "one forward a view": ["method.joint_forward=false"],
    "thirds": ["method.mixing.batch=thirds", "training.batch_size=3"],
    "s2t alone": ["method.mixing.t2s=false"],
    "t2s alone": ["method.mixing.s2t=false"],
    "no mixing": ["method.mixing.s2t=false", "method.mixing.t2s=false"],
    "pool off": ["method.pool.enabled=false"],
    "pool by rarity and area": ["method.pool.draw_by_rarity=true", "method.pool.area_budget=0.3"],
    "authors' later code": [
        "method.mixing.blur=true",
        "method.mixing.patch_max_area=1500",
        "method.mixing.min_area=20",
    ],
    "unsure, slivers, soft, adaptive": [
        "method.unsure_threshold=0.03",
        "method.min_visible_share=0.3",
        "method.soft_weights=true",
        "method.adaptive_threshold.enabled=true",
        "method.adaptive_threshold.floor=0.05",
    ],
    "checkpointing": ["model.gradient_checkpointing=true"],
    "bf16": ["training.precision=bf16"],
    "teacher in tf32": ["training.inference_precision=tf32"],
}
ROUNDED = ("bf16", "teacher in tf32")  # the CPU has other operations in bf16, and no TF32
FULL = "training.inference_precision=fp32"


def of_task(task: str) -> list[str]:
    """Return the names of a task's methods."""
    return [name for name, spec in METHODS.items() if task in spec.tasks]


@dataclass(frozen=True, slots=True)
class Steps:
    """What some steps left behind.

    Args:
        losses: by name, of every step.
        crossings: of every step.
        without_gradient: parameters that got none, in any step.
    """

    losses: list[dict[str, float]]
    crossings: list[list[Crossing]]
    without_gradient: set[str]

    def unlike(self, *permitted: tuple[str, str, str]) -> Counter[str]:
        """Return what crossed and is not permitted."""
        found: Counter[str] = Counter()
        for crossing in (crossing for step in self.crossings for crossing in step):
            line, function = crossing.place.split(" ")
            if (line.split(":")[0], function, crossing.kind) not in permitted:
                found[str(crossing)] += 1
        return found

    @property
    def waits(self) -> list[int]:
        """How often the host waits in each step."""
        return [sum(crossing.waits for crossing in step) for step in self.crossings]


def take_steps(config: Config, gpu: Device | None) -> Steps:
    """Train one step of stage 1 and three of stage 2."""
    processes = Processes.join(config)
    try:
        session = Session(config, processes)
        batches = build_loader(
            config.data,
            mode=config.method.sees,
            batch_size=config.training.batch_size,
            seed=config.seed,
            labels=config.task.labels,
            device=processes.device,
            classes=config.method.class_labels,
        )
        steps = Steps([], [], set())
        for step in range(STEPS):
            if step == STAGE_1:
                session.enter_stage_2()
            batch = next(batches)
            if gpu:
                gpu.clear()
            terms = _step(session, batch)
            if gpu:
                crossed = [c for c in gpu.crossings if step or not c.place.startswith(ONCE)]
                steps.crossings.append(crossed)
            steps.losses.append({t.name: float(t.value.detach().cpu()) for t in terms})
            steps.without_gradient.update(
                name for name, p in session.student.named_parameters() if p.grad is None
            )
            session.stage.optimizer.zero_grad(set_to_none=True)
            session.step += 1
        return steps
    finally:
        processes.leave()


def _step(session: Session, batch: DomainBatch) -> Sequence[LossTerm]:
    """Do what the loop does in a step, but for forgetting the gradients."""
    session.prepare_step()
    method = session.stage.method
    views = method.prepare(batch, session.step)
    terms = list(method.losses(views, session.step))
    session.processes.accelerator.backward(sum(term.weight * term.value for term in terms))
    parameters = [p for p in session.student.parameters() if p.requires_grad]
    session.processes.accelerator.clip_grad_norm_(parameters, session.config.optim.clip_norm)
    session.stage.optimizer.step()
    method.after_update(session.step)
    method.figures(views)
    return terms


def assert_alike(steps: Steps, reference: Steps, *, rel: float) -> None:
    for mine, other in zip(steps.losses, reference.losses, strict=True):
        assert mine == pytest.approx(other, rel=rel)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_uda4inst__every_option_as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, options: list[str]
) -> None:
    overrides = short_run(tmp_path, "one", "method.groups=one", FULL, *options)
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH, COSTS, MATCHES)
    assert steps.waits == [1] * STEPS
    assert not steps.without_gradient
    if options not in [OPTIONS[name] for name in ROUNDED]:
        reference = take_steps(load_config("toystreets_smoke", overrides), None)
        assert_alike(steps, reference, rel=1e-3)


@pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if "instances" in spec.tasks]
)
def test_methods_on_instances__as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, name: str
) -> None:
    overrides = short_run(tmp_path, "one", f"method.name={name}", "method.groups=one", FULL)
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH, COSTS, MATCHES)
    assert steps.waits == [1] * STEPS
    assert not steps.without_gradient
    assert_alike(steps, take_steps(load_config("toystreets_smoke", overrides), None), rel=1e-3)


@pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if "semantic" in spec.tasks]
)
def test_methods_on_semantics__as_on_the_cpu(
    gpu: Device, short_run: Overrides, tmp_path: Path, name: str
) -> None:
    overrides = short_run(tmp_path, "one", f"method.name={name}")
    steps = take_steps(load_config("toystreets_semantic_smoke", on_gpu(overrides)), gpu)
    assert not steps.unlike(BATCH)
    assert steps.waits == [0] * STEPS
    assert not steps.without_gradient
    reference = take_steps(load_config("toystreets_semantic_smoke", overrides), None)
    assert_alike(steps, reference, rel=1e-3)


def test_steps__a_value_that_is_read_is_found_with_its_line(
    gpu: Device, short_run: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "uda4inst.methods.source_only.SourceOnly.after_update",
        lambda self, step: self.context.student.state_dict().popitem()[1].sum().item(),
    )
    overrides = short_run(tmp_path, "one", "method.name=source_only", "method.groups=one")
    steps = take_steps(load_config("toystreets_smoke", on_gpu(overrides)), gpu)
    (found,) = steps.unlike(BATCH, COSTS, MATCHES)
    assert found.startswith("read")
    assert "test_steps.py" in found
