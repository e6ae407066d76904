"""How right are the pixels that a semantic run labels itself? By checkpoint and class.

    python benchmarks/pixel_label_quality.py RUN
    python benchmarks/pixel_label_quality.py RUN --network student --steps 600 --by-class

Looks at whole training images of the target whose labels are at hand (ToyStreets, Cityscapes).
Training never sees these labels, and nothing here may be chosen for a real target. Three ways to
keep a pixel: all of them; those as sure as half of their class (`uda/class_thresholds.py`); those
surer than .968. Of each: the share of labelled pixels that it keeps, and the share of these that is
right. Pixels without a true label (ego vehicle, void) are apart: how many of those are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from pseudo_label_quality import labelled_target
from torch import Tensor

from uda4inst.classes import IGNORE_TRAIN_ID, SEMANTIC_CLASSES
from uda4inst.data.tree import ImageTree
from uda4inst.models.network import Network
from uda4inst.run_folder.checkpoints import numbered, open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config
from uda4inst.training.validation import choose_device, load_network
from uda4inst.uda.class_thresholds import class_thresholded

NAMES = [c.name for c in SEMANTIC_CLASSES]
WAYS = ("all", "class medians", "> .968")
_SURE = 0.968


def count(network: Network, tree: ImageTree, images: list[int], device: torch.device) -> Tensor:
    """Return counts by way, class (20: of no true label) and [kept, right, there]."""
    classes = len(NAMES)
    counts = torch.zeros(len(WAYS), classes + 1, 3, dtype=torch.long)
    for index in images:
        truth = torch.from_numpy(tree.read_semantic(index)).to(device)
        pixels = torch.from_numpy(tree.read_image(index)).permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = network(pixels.to(device).float() / 255).at_pixels()
        found = class_thresholded(logits)
        best, sure = found.best[0].long(), found.confidence[0]
        keeps = (
            torch.ones_like(best, dtype=torch.bool),
            found.ids[0] != IGNORE_TRAIN_ID,
            sure > _SURE,
        )
        known = truth != IGNORE_TRAIN_ID
        said = best.where(known, classes)
        there = truth.long().where(known, classes).flatten().bincount(minlength=classes + 1)
        for way, keep in enumerate(keeps):
            right = keep & (best == truth)
            counts[way, :, 0] += said[keep].bincount(minlength=classes + 1).cpu()
            counts[way, :, 1] += best[right].bincount(minlength=classes + 1).cpu()
            counts[way, :, 2] += there.cpu()
    return counts


def cell(counts: Tensor, whole: int) -> str:
    """Return kept share / precision in per cent."""
    kept, right, _ = counts.tolist()
    precision = f"{100 * right / kept:5.1f}" if kept else "    -"
    return f"{100 * kept / max(whole, 1):5.1f} / {precision}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of a semantic method")
    parser.add_argument("--network", default="teacher", choices=("student", "teacher"))
    parser.add_argument("--steps", help="checkpoints; default: all that are kept")
    parser.add_argument("--images", type=int, default=100, help="the first so many")
    parser.add_argument("--by-class", action="store_true")
    options = parser.parse_args()
    run = RunDir(options.run)
    config = load_config(run.config)
    steps = (
        [int(s) for s in options.steps.split(",")] if options.steps else numbered(run.checkpoints)
    )
    tree, device = labelled_target(config), choose_device(config)
    images = list(range(min(options.images, len(tree))))
    print(
        f"{options.run}, {options.network}, {len(images)} training images: kept / right, per cent"
    )
    print(f"{'step':<9}{'class':<15}" + "".join(f"{way:>16}" for way in WAYS))
    for step in steps:
        checkpoint = open_checkpoint(run.checkpoints, step=step)
        network = load_network(config, checkpoint, options.network, device)
        counts = count(network, tree, images, device)
        known = counts[:, :-1].sum(dim=1)
        there = int(known[0, 2])
        print(f"{step:<9}{'all':<15}" + "".join(f"{cell(c, there):>16}" for c in known))
        apart, held = counts[:, -1, 0].tolist(), int(counts[0, -1, 2])
        shares = "".join(f"{100 * kept / max(held, 1):>16.1f}" for kept in apart)
        print(f"{step:<9}{'no true label':<15}{shares}")
        for label, name in enumerate(NAMES if options.by_class else ()):
            cells = "".join(f"{cell(c, there):>16}" for c in counts[:, label])
            print(f"{step:<9}{name:<15}{cells}{100 * int(counts[0, label, 2]) / there:8.1f} there")


if __name__ == "__main__":
    main()
