"""How right are a run's pseudo-labels? Precision and recall over its checkpoints and thresholds.

    python benchmarks/pseudo_label_quality.py runs/toystreets_demo --thresholds 0.7,0.8,0.9
    python benchmarks/pseudo_label_quality.py runs/toystreets_demo --steps 400,800 --by-class

Looks at whole training images of the target whose labels are at hand (ToyStreets, Cityscapes).
Training never sees these labels, and nothing here may be chosen for a real target. A pseudo-label
is right where it overlaps an object of its class with IoU > .5; both sides are disjoint, so there
is at most one such object. Recall is over all objects of the classes that the run learns.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from uda4inst.classes import THING_NAMES
from uda4inst.data.config import DatasetRef
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import ImageTree
from uda4inst.methods.uda4inst import UDA4InstConfig
from uda4inst.models.mask2former.decode import decode
from uda4inst.run_folder.checkpoints import numbered, open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.structures import InstanceMap
from uda4inst.training.config import load_config
from uda4inst.training.schema import Config
from uda4inst.training.validation import choose_device, load_network
from uda4inst.uda.pseudo_labels import class_thresholds, select


@dataclass
class Counts:
    """Of each class: pseudo-labels, those that are right, objects."""

    kept: Counter[int] = field(default_factory=Counter)
    right: Counter[int] = field(default_factory=Counter)
    objects: Counter[int] = field(default_factory=Counter)

    def add(self, found: InstanceMap, truth: InstanceMap) -> None:
        """Count one image."""
        areas, true_areas = found.areas(), truth.areas()
        self.kept.update(found.labels[areas > 0].tolist())
        self.objects.update(truth.labels[true_areas > 0].tolist())
        both = (found.ids > 0) & (truth.ids > 0)
        slots, objects = found.ids[both].long() - 1, truth.ids[both].long() - 1
        pairs, overlap = torch.stack([slots, objects]).unique(dim=1, return_counts=True)
        union = areas[pairs[0]] + true_areas[pairs[1]] - overlap
        labels, true_labels = found.labels[pairs[0]], truth.labels[pairs[1]]
        right = (2 * overlap > union) & (labels == true_labels) & (labels >= 0)
        self.right.update(labels[right].tolist())

    def row(self, labels: list[int]) -> str:
        """Return precision / recall (pseudo-labels) over some classes."""
        kept, right, objects = (
            sum(counter[label] for label in labels)
            for counter in (self.kept, self.right, self.objects)
        )
        precision = f"{right / kept:.2f}" if kept else "  - "
        return f"{precision} / {right / max(objects, 1):.2f} ({kept})"


def measure(
    config: Config, run: RunDir, step: int, thresholds: list[float], images: list[int]
) -> list[Counts]:
    """Return the counts of a checkpoint at every threshold; of the teacher, where it has one."""
    checkpoint = open_checkpoint(run.checkpoints, step=step)
    name = "teacher" if "teacher" in checkpoint.networks else "student"
    device = choose_device(config)
    network = load_network(config, checkpoint, name, device)
    tree = labelled_target(config)
    method = config.method
    assert isinstance(method, UDA4InstConfig), "a run with pseudo-labels"
    learned = set(method.class_labels)
    counts = [Counts() for _ in thresholds]
    for index in images:
        truth = tree.sample(index).known_instances()
        others = [label for label in range(len(THING_NAMES)) if label not in learned]
        wanted = torch.where(torch.isin(truth.labels, torch.tensor(others)), -1, truth.labels)
        pixels = torch.from_numpy(tree.read_image(index)).permute(2, 0, 1)[None]
        with torch.no_grad():
            (detections,) = decode(network(pixels.to(device).float() / 255))
        for counted, threshold in zip(counts, thresholds, strict=True):
            kept = select(
                detections,
                score_threshold=class_thresholds(method.class_labels, threshold).to(device),
                valid=torch.ones(truth.size, dtype=torch.bool, device=device),
                min_visible_share=method.min_visible_share,
            )
            counted.add(kept.to("cpu"), InstanceMap(truth.ids, wanted))
    return counts


def labelled_target(config: Config) -> ImageTree:
    """Return the target's training images with their labels."""
    assert config.data.target is not None
    ref = DatasetRef.model_validate(config.data.target.model_dump(include={"format", "root"}))
    return open_dataset(ref, domain="source", labels="instances")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder; of a run of groups, one of its modules")
    parser.add_argument("--steps", help="checkpoints; default: all that are kept")
    parser.add_argument("--thresholds", default="0.6,0.7,0.8,0.85,0.9,0.95")
    parser.add_argument("--images", type=int, default=100, help="the first so many")
    parser.add_argument("--by-class", action="store_true")
    options = parser.parse_args()
    run = RunDir(options.run)
    config = load_config(run.config)
    thresholds = [float(text) for text in options.thresholds.split(",")]
    steps = (
        [int(s) for s in options.steps.split(",")] if options.steps else numbered(run.checkpoints)
    )
    count = min(options.images, len(labelled_target(config)))
    labels = list(config.method.class_labels)
    print(f"{options.run}, {count} training images: precision / recall (pseudo-labels)")
    print("step      class       " + "".join(f"{'> ' + str(t):>20}" for t in thresholds))
    for step in steps:
        counts = measure(config, run, step, thresholds, list(range(count)))
        rows = [("all", labels)]
        if options.by_class:
            rows += [(THING_NAMES[label], [label]) for label in labels]
        for name, chosen in rows:
            cells = "".join(f"{counted.row(chosen):>20}" for counted in counts)
            print(f"{step:<9} {name:<12}{cells}", flush=True)


if __name__ == "__main__":
    main()
