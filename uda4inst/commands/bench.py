"""`uda4inst bench`: how fast a network is here, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from uda4inst.commands.data import parse_size
from uda4inst.errors import UserError

if TYPE_CHECKING:
    import torch

    from uda4inst.evaluation.speed import Speed
    from uda4inst.models.network import Network
    from uda4inst.run_folder.layout import RunDir
    from uda4inst.run_folder.speeds import SpeedRecord
    from uda4inst.tasks.base import Task


def bench(
    network: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_PRESET",
            help="A network's preset such as bisenet_r18, with fresh weights; a run folder, or the "
            "name of a run under --root.",
        ),
    ],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the images.")] = "512x1024",
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes a GPU if there is one.")
    ] = "auto",
    precision: Annotated[
        Literal["fp32", "tf32", "bf16"], typer.Option(help="Of the forward.")
    ] = "fp32",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Let torch compile the network first.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Batches that are measured.")] = 20,
    warm_up: Annotated[int, typer.Option(min=0, help="Batches before, unmeasured.")] = 3,
    step: Annotated[
        int | None,
        typer.Option(min=0, help="Of a run: step of the checkpoint; default: the latest."),
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Add what was measured to bench.jsonl in the run's folder, for the Results page; "
            "of a preset, in --root. Default: of a run.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Measure images a second, latency and memory of a network; count parameters and operations.

    A batch lies on the device, and is done when its classes or masks are there at its own size. A
    run of several category groups is measured with all its networks, one after another.
    """
    import torch

    from uda4inst.evaluation.speed import measure
    from uda4inst.models.flops import count_flops
    from uda4inst.models.precision import inference_precision
    from uda4inst.run_folder.layout import RunDir
    from uda4inst.run_folder.speeds import SpeedRecord, append_speed

    height_width = parse_size(size)
    where = _device(device)
    chosen = _chosen(network, step=step, root=root)
    networks = chosen.networks
    facts = {
        **chosen.facts,
        "parameters": sum(p.numel() for one in networks for p in one.parameters()),
        "gflops": sum(count_flops(one, height_width) for one in networks) / 1e9,
    }
    for one in networks:
        one.to(where).eval()
    forwards = [torch.compile(one) if compiled else one for one in networks]
    images = torch.rand(batch, 3, *height_width, device=where)
    with inference_precision(precision, where):
        speed = measure(
            lambda: [chosen.task.found(forward(images)) for forward in forwards],
            device=where,
            repeats=repeats,
            warm_up=warm_up,
        )
    record = SpeedRecord(
        **facts,
        **_measured(speed, batch, where),
        size=height_width,
        batch=batch,
        precision=precision,
        compiled=compiled,
        repeats=repeats,
        warm_up=warm_up,
        **_machine(where),
    )
    if keep or (keep is None and chosen.run is not None):
        append_speed((chosen.run or RunDir(root)).speeds, record)
    typer.echo(record.model_dump_json(indent=2) if as_json else _described(record))


def _measured(speed: Speed, batch: int, where: torch.device) -> dict[str, Any]:
    """Return what was measured, as it is told."""
    return {
        "images_per_second": speed.per_second(batch),
        "latency_p50_ms": 1000 * speed.latency(0.5),
        "latency_p95_ms": 1000 * speed.latency(0.95),
        "peak_memory_mib": speed.peak_bytes / 2**20,
        "peak_memory_of": "tensors" if where.type == "cuda" else "process",
    }


def _device(wanted: str) -> torch.device:
    """Return where to compute.

    Raises:
        UserError: a GPU is wanted and there is none.
    """
    import torch

    from uda4inst.training.gpu import why_there_is_no_gpu

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise UserError(f"--device must be there, got cuda: {why_there_is_no_gpu()}")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is measured: networks on the CPU, their run where they have one, and its facts."""

    task: Task
    networks: Sequence[Network]
    facts: Mapping[str, Any]
    run: RunDir | None = None


def _chosen(name: str, *, step: int | None, root: Path) -> _Chosen:
    """Return the network of a preset, or those of a run.

    Raises:
        UserError: there is neither a preset nor a run of that name.
    """
    from uda4inst.errors import did_you_mean
    from uda4inst.run_folder.layout import find_run
    from uda4inst.tasks import TASKS, task_of

    presets = [preset for task in TASKS.values() for preset in task.presets]
    if name in presets:
        task = task_of(name)
        fresh = [task.build_network(name, weights=None)[0]]
        return _Chosen(task, fresh, {"network": f"{name}, fresh weights"})
    try:
        run = find_run(name, root=root)
    except UserError as error:
        hint = did_you_mean(name, presets)
        raise UserError(f"{error} Nor is it a network's preset.{hint}") from error
    return _networks_of(run, step)


def _networks_of(run: RunDir, step: int | None) -> _Chosen:
    """Return the networks of a run: one, or one for each category group."""
    import torch

    from uda4inst.run_folder.checkpoints import open_checkpoint
    from uda4inst.training.config import load_config
    from uda4inst.training.groups.modules import networks_of
    from uda4inst.training.validation import load_network

    found: list[Network] = []
    titles: list[str] = []
    sources: set[tuple[int, str]] = set()
    for module in networks_of(run):
        config = load_config(module.config)
        checkpoint = open_checkpoint(module.checkpoints, step=step)
        chosen = checkpoint.networks[-1]
        found.append(load_network(config, checkpoint, chosen, torch.device("cpu")))
        titles.append(f"{config.model.preset}, {chosen} of step {checkpoint.step} of {module.name}")
        sources.add((checkpoint.step, chosen))
    facts: dict[str, Any] = {"network": "; ".join(titles), "run": run.path.absolute().name}
    if len(sources) == 1:
        facts["step"], facts["of"] = sources.pop()
    return _Chosen(load_config(run.config).task, found, facts, run)


def _machine(device: torch.device) -> Mapping[str, Any]:
    """Return what was measured on, with which code, and when."""
    import torch

    from uda4inst.run_folder.commit import current_commit
    from uda4inst.suites.machine import hardware

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": hardware(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": current_commit(),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _described(record: SpeedRecord) -> str:
    """Return what was measured as lines for people."""
    height, width = record.size
    compiled = ", compiled" if record.compiled else ""
    whose = "tensors on the card" if record.peak_memory_of == "tensors" else "whole process"
    rows = {
        "network": record.network,
        "parameters": f"{record.parameters / 1e6:.2f} M",
        "operations": f"{record.gflops:.2f} GFLOP an image, two a multiply-add",
        "images": f"{record.batch} of {height}x{width} at once, {record.precision}{compiled}",
        "speed": f"{record.images_per_second:.2f} images a second",
        "latency": f"p50 {record.latency_p50_ms:.1f} ms, p95 {record.latency_p95_ms:.1f} ms",
        "peak memory": f"{record.peak_memory_mib:.0f} MiB ({whose})",
        "measured": f"{record.repeats} batches after {record.warm_up} to warm up",
        "machine": f"{record.device}; {record.machine}; {record.threads} threads of torch "
        f"{record.torch}",
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in rows.items())
