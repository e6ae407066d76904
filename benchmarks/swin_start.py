"""Whether the preset urbansyn_cityscapes starts with Swin-L, and what memory its first steps take.

    python benchmarks/swin_start.py --folder /tmp/swin          # nothing changed but the two roots
    python benchmarks/swin_start.py --folder /tmp/swin training.batch_size=1 ...

The published weights are a download. Here a stand-in takes their place in a Hugging Face cache of
its own: random numbers, under the names and in the shapes of the published file. So the run finds
them as it would find those, without a network; only what it learns means nothing. The data are four
ToyStreets scenes of 1024x2048 for each domain. What the run says is printed with its time and
memory; it is ended after so many steps, seconds or GiB. The folder is kept for the next call.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import psutil
import torch
from safetensors.torch import save_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from uda4inst.toystreets.write import write_toystreets

NAME = "facebook/mask2former-swin-large-coco-instance"
COMMIT = "0" * 40
# Our library's names -> those of the published file, which an older release of it wrote.
PUBLISHED = (
    (r"encoder\.swin\.", "encoder."),
    (r"attention\.(q|k|v)_proj", lambda match: f"attention.self.{WORDS[match[1]]}"),
    (r"attention\.relative_position_bias\.", "attention.self."),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
)
WORDS = {"q": "query", "k": "key", "v": "value"}


def main() -> None:
    """Make what is missing, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="for 1 GB of weights, and runs")
    parser.add_argument("--steps", type=int, default=1, help="end the run after these")
    parser.add_argument("--seconds", type=float, default=1200, help="end it after these")
    parser.add_argument("--gib", type=float, default=14, help="end it before it takes more memory")
    options, overrides = parser.parse_known_args()
    folder: Path = options.folder.absolute()
    hub = folder / "hub"
    if not hub.exists():
        write_weights(hub)
    toy = write_toystreets(folder / "toy", size=(1024, 2048), train=4, val=1, workers=0)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    command = [sys.executable, "-m", "uda4inst.cli", "train", "urbansyn_cityscapes"]
    command += [
        f"data.source.root={toy.source_root}",
        f"data.target.root={toy.target_root}",
        *overrides,
    ]
    watch(
        command,
        folder,
        {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"},
        steps=options.steps,
        seconds=options.seconds,
        gib=options.gib,
    )


def write_weights(hub: Path) -> None:
    """Write the stand-in as the hub's own client lays out a download."""
    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=384,
        embed_dim=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_features=["stage1", "stage2", "stage3", "stage4"],  # pyright: ignore[reportCallIssue]
    )
    names = {number: f"LABEL_{number}" for number in range(80)}
    config = Mask2FormerConfig(backbone_config=swin, num_queries=200, id2label=names)
    network = Mask2FormerForUniversalSegmentation(config)
    tensors = {
        published_name(name): tensor.contiguous()
        for name, tensor in network.state_dict().items()
        if "swin.layernorm" not in name  # not in the published file
    }
    tables = [name for name in tensors if name.endswith("relative_position_bias_table")]
    for name in tables:
        tensors[name.replace("bias_table", "index")] = torch.zeros(144, 144, dtype=torch.int64)
    place = hub / f"models--{NAME.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    config.architectures = ["Mask2FormerForUniversalSegmentation"]
    config.save_pretrained(snapshot)
    save_file(tensors, snapshot / "model.safetensors", metadata={"format": "pt"})
    (place / "refs").mkdir()
    (place / "refs/main").write_text(COMMIT)


def published_name(name: str) -> str:
    """Return what the published file calls a tensor."""
    if "pixel_level_module.encoder" in name:
        for own, theirs in PUBLISHED:
            name = re.sub(own, theirs, name)
    return name


def watch(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    *,
    steps: int,
    seconds: float,
    gib: float,
) -> None:
    """Run in a folder, print what it says, and end it after steps, seconds or GiB."""
    print("$", *command[1:], flush=True)
    environment = os.environ | environment | {"PYTHONUNBUFFERED": "1"}
    start = time.monotonic()
    peak = 0.0
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        run = psutil.Process(process.pid)
        threading.Thread(target=tell, args=(process.stdout, run, start), daemon=True).start()
        reason = "it ended"
        while process.poll() is None:
            peak = max(peak, memory(run))
            done = sum(
                len(path.read_text().splitlines()) for path in folder.glob("runs/**/metrics.jsonl")
            )
            limits = {
                f"{done} steps": done >= steps,
                f"{seconds:.0f} s": time.monotonic() - start > seconds,
                f"{peak:.1f} GiB": peak > gib,
            }
            if any(limits.values()):
                reason = next(limit for limit, is_reached in limits.items() if is_reached)
                for child in run.children(recursive=True):
                    child.kill()
                process.kill()
                break
            time.sleep(0.5)
    print(f"ended by: {reason}, after {time.monotonic() - start:.0f} s; most memory {peak:.2f} GiB")


def tell(lines: TextIO, run: psutil.Process, start: float) -> None:
    """Print lines with the time they came and the memory then taken."""
    for line in lines:
        print(
            f"{time.monotonic() - start:6.1f} s {memory(run):5.2f} GiB  {line}", end="", flush=True
        )


def memory(run: psutil.Process) -> float:
    """Return the memory of a process and its children in GiB; shared parts count once."""
    total = 0
    try:
        for process in (run, *run.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return total / 2**30


if __name__ == "__main__":
    main()
