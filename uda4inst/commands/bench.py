"""`uda4inst bench`: how fast a network is here, and what it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from uda4inst.commands.data import parse_size
from uda4inst.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from uda4inst.evaluation.speed import Speed
    from uda4inst.models.network import Network
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
        int | None, typer.Option(help="Of a run: step of the checkpoint; default: the latest.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
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

    height_width = parse_size(size)
    where = _device(device)
    title, task, networks = _networks(network, step=step, root=root)
    facts = {
        "network": title,
        "parameters": sum(p.numel() for one in networks for p in one.parameters()),
        "gflops": sum(count_flops(one, height_width) for one in networks) / 1e9,
    }
    for one in networks:
        one.to(where).eval()
    forwards = [torch.compile(one) if compiled else one for one in networks]
    images = torch.rand(batch, 3, *height_width, device=where)
    with inference_precision(precision, where):
        speed = measure(
            lambda: [task.found(forward(images)) for forward in forwards],
            device=where,
            repeats=repeats,
            warm_up=warm_up,
        )
    facts |= {
        **_measured(speed, batch, where),
        "size": list(height_width),
        "batch": batch,
        "precision": precision,
        "compiled": compiled,
        "repeats": repeats,
        "warm_up": warm_up,
        **_machine(where),
    }
    typer.echo(json.dumps(facts, indent=2) if as_json else _described(facts))


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


def _networks(name: str, *, step: int | None, root: Path) -> tuple[str, Task, Sequence[Network]]:
    """Return what to call the networks, their task, and them on the CPU.

    Raises:
        UserError: there is neither a preset nor a run of that name.
    """
    from uda4inst.errors import did_you_mean
    from uda4inst.run_folder.checkpoints import open_checkpoint
    from uda4inst.run_folder.layout import find_run
    from uda4inst.tasks import TASKS, task_of
    from uda4inst.training.config import load_config
    from uda4inst.training.groups.category_groups import modules_of
    from uda4inst.training.validation import load_network

    presets = [preset for task in TASKS.values() for preset in task.presets]
    if name in presets:
        task = task_of(name)
        return f"{name}, fresh weights", task, [task.build_network(name, weights=None)[0]]
    try:
        run = find_run(name, root=root)
    except UserError as error:
        hint = did_you_mean(name, presets)
        raise UserError(f"{error} Nor is it a network's preset.{hint}") from error
    import torch

    found: list[Network] = []
    titles: list[str] = []
    for module in modules_of(run) if run.is_grouped else [run]:
        config = load_config(module.config)
        checkpoint = open_checkpoint(module.checkpoints, step=step)
        chosen = checkpoint.networks[-1]
        found.append(load_network(config, checkpoint, chosen, torch.device("cpu")))
        titles.append(f"{config.model.preset}, {chosen} of step {checkpoint.step} of {module.name}")
    return "; ".join(titles), load_config(run.config).task, found


def _machine(device: torch.device) -> Mapping[str, Any]:
    """Return what was measured on."""
    import torch

    from uda4inst.suites.machine import hardware

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": hardware(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _described(facts: Mapping[str, Any]) -> str:
    """Return the facts as lines for people."""
    height, width = facts["size"]
    compiled = ", compiled" if facts["compiled"] else ""
    whose = "tensors on the card" if facts["peak_memory_of"] == "tensors" else "whole process"
    rows = {
        "network": facts["network"],
        "parameters": f"{facts['parameters'] / 1e6:.2f} M",
        "operations": f"{facts['gflops']:.2f} GFLOP an image, two a multiply-add",
        "images": f"{facts['batch']} of {height}x{width} at once, {facts['precision']}{compiled}",
        "speed": f"{facts['images_per_second']:.2f} images a second",
        "latency": f"p50 {facts['latency_p50_ms']:.1f} ms, p95 {facts['latency_p95_ms']:.1f} ms",
        "peak memory": f"{facts['peak_memory_mib']:.0f} MiB ({whose})",
        "measured": f"{facts['repeats']} batches after {facts['warm_up']} to warm up",
        "machine": f"{facts['device']}; {facts['machine']}; {facts['threads']} threads of torch "
        f"{facts['torch']}",
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in rows.items())
