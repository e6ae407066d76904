"""A checkpoint and a score threshold chosen without labels, measured on unlabelled target images.

The networks of every checkpoint that a run keeps see the same training images of the target, opened
without labels. Two things are measured at every threshold: whether student and teacher agree, and
whether what labels (the teacher, else the student) says what the checkpoint before it said. Equal
weights agree by making, not by merit: a teacher that was just copied, for one. There is no number
for them.

Detections on the ego vehicle are left out as the run's pseudo-labels are (`method.ego`, or its
default where the method has none); overlaps are not resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, Final

import numpy as np
from jaxtyping import Bool

from uda4inst.data.ego_vehicle import valid_region
from uda4inst.data.stream.dataset import open_dataset
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.agreement import ClassAgreement, agreements
from uda4inst.evaluation.basis import basis_json
from uda4inst.evaluation.evaluate import detect
from uda4inst.formats.predictions import ScoredMask
from uda4inst.models.precision import inference_precision
from uda4inst.run_folder.checkpoints import (
    STUDENT,
    Checkpoint,
    complete_steps,
    open_checkpoint,
)
from uda4inst.run_folder.choices import choose, parse_choice, write_choice
from uda4inst.run_folder.evaluations import read_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.tasks.instances import INSTANCES
from uda4inst.training.config import Config, config_hash, load_config
from uda4inst.training.groups.modules import networks_of
from uda4inst.training.validation import choose_device, load_network
from uda4inst.uda.pseudo_labels import EgoConfig

# Images done, images in all, what is looked at.
Shown = Callable[[int, int, str], None]
# Of every image, those that the lowest threshold keeps.
_Found = list[tuple[ScoredMask, ...]]
_ByThreshold = Mapping[float, ClassAgreement]
_PROTOCOL: Final = INSTANCES.protocols[0]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured of one checkpoint.

    Args:
        step: of the checkpoint.
        network: which of its networks labels.
        before: step of the checkpoint before it; None for the first.
        pseudo_labels: by threshold, how many in all images, by thing index.
        agreement: of student and teacher; None without a teacher of its own weights.
        stability: of what labels with what labelled before; None for the first, and where both
            are the same weights.
    """

    step: int
    network: str
    before: int | None
    pseudo_labels: Mapping[float, Mapping[int, int]]
    agreement: _ByThreshold | None
    stability: _ByThreshold | None


@dataclass(frozen=True, slots=True, eq=False)
class _Earlier:
    """What the checkpoint before found: its step, the digest of what labels, what that found."""

    step: int
    weights: str
    labels: _Found


def check_can_choose(run: RunDir) -> None:
    """Raise unless a run has checkpoints of instance segmentation to choose from.

    Raises:
        UserError: it predicts semantic maps, or has no checkpoint.
    """
    task = load_config(run.config).task
    if task.name != INSTANCES.name:
        raise UserError(
            f"RUN must be a run of instance segmentation, got one of {task.name} maps "
            f"({run.path}). Detections alone are compared here; choose another run."
        )
    for part in networks_of(run):
        if not complete_steps(part.checkpoints):
            open_checkpoint(part.checkpoints)  # says what is there


def choose_checkpoint(
    run: RunDir,
    *,
    images: int,
    thresholds: Sequence[float],
    progress: Shown | None = None,
) -> dict[RunDir, dict[str, Any]]:
    """Measure a run's checkpoints and write `choice.json`; in every module, and in the run.

    Args:
        run: of one or several category groups, which have no class in common: their agreement
            together is the sum of the modules'.
        images: look at the first so many training images of the target, or at all there are.
        thresholds: scores to compare, rising.
        progress: called after every image of every network.

    Returns:
        What was written, by run folder: the modules', then the run's. Modules without a step in
        common have nothing together.

    Raises:
        UserError: see `check_can_choose`; a checkpoint or an image is damaged, or the disk is full.
    """
    check_can_choose(run)
    parts = networks_of(run)
    measured: dict[RunDir, list[Measured]] = {}
    written: dict[RunDir, dict[str, Any]] = {}
    for part in parts:
        measured[part] = _measure(part, images, thresholds, progress)
        written[part] = _write(part, measured[part], images, thresholds)
    if run.is_grouped:
        if together := _merged(list(measured.values())):
            written[run] = _write(run, together, images, thresholds)
        else:
            run.choice.unlink(missing_ok=True)  # an earlier one would be of other checkpoints
    return written


def _measure(
    run: RunDir, images: int, thresholds: Sequence[float], progress: Shown | None
) -> list[Measured]:
    """Return what is measured of every checkpoint of one network and its teacher."""
    config = load_config(run.config)
    tree = _target(config)
    count = min(images, len(tree))
    checkpoints = [
        open_checkpoint(run.checkpoints, step=step) for step in complete_steps(run.checkpoints)
    ]
    compared = {checkpoint.step: _compared(checkpoint) for checkpoint in checkpoints}
    images_in_all = count * sum(map(len, compared.values()))
    done = 0

    def look(checkpoint: Checkpoint, name: str) -> _Found:
        nonlocal done
        found: _Found = []
        for kept in _detections(config, checkpoint, name, tree, count, min(thresholds)):
            found.append(kept)
            done += 1
            if progress is not None:
                progress(done, images_in_all, f"{run.name} {checkpoint.step} {name}")
        return found

    measured: list[Measured] = []
    earlier: _Earlier | None = None
    for checkpoint in checkpoints:
        found = {name: look(checkpoint, name) for name in compared[checkpoint.step]}
        measured.append(_compare(checkpoint, found, earlier, thresholds))
        network = measured[-1].network
        earlier = _Earlier(checkpoint.step, checkpoint.digest(network), found[network])
    return measured


def _compare(
    checkpoint: Checkpoint,
    found: Mapping[str, _Found],
    earlier: _Earlier | None,
    thresholds: Sequence[float],
) -> Measured:
    """Return what a checkpoint's networks found, against each other and against the one before."""
    network = checkpoint.networks[-1]
    labels = found[network]
    agreement = stability = None
    if len(found) > 1:
        agreement = agreements(found[STUDENT], labels, thresholds)
    if earlier is not None and earlier.weights != checkpoint.digest(network):
        stability = agreements(earlier.labels, labels, thresholds)
    return Measured(
        step=checkpoint.step,
        network=network,
        before=None if earlier is None else earlier.step,
        pseudo_labels={threshold: _count(labels, threshold) for threshold in thresholds},
        agreement=agreement,
        stability=stability,
    )


def _target(config: Config) -> ImageTree:
    """Return the target's training images, opened without labels."""
    return open_dataset(config.data.target, domain="target", labels=None)


def _compared(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the networks to look at: a student that is another than what labels, and that."""
    labels = checkpoint.networks[-1]
    if checkpoint.digest(STUDENT) == checkpoint.digest(labels):
        return (labels,)
    return STUDENT, labels


def _detections(
    config: Config, checkpoint: Checkpoint, name: str, tree: ImageTree, count: int, lowest: float
) -> Iterator[tuple[ScoredMask, ...]]:
    """Yield what could become pseudo-labels, image by image."""
    device = choose_device(config)
    network = load_network(config, checkpoint, name, device)
    learned = {config.task.class_names.index(each) for each in config.class_names}
    found = detect(
        network,
        (tree.read_image(index) for index in range(count)),
        device=device,
        short_side=config.evaluation.short_side,
    )
    valid = cache(partial(valid_region, config.data.target))
    ego = getattr(config.method, "ego", EgoConfig())
    with inference_precision(config.training.inference_precision, device):
        for every in found:
            kept = (d for d in every if d.score > lowest and d.label in learned)
            yield tuple(d for d in kept if _is_valid(d, valid(d.size), ego.min_valid_share))


def _is_valid(
    detection: ScoredMask, valid: Bool[np.ndarray, "H W"], min_valid_share: float
) -> bool:
    """Whether enough of a detection is off the ego vehicle; nothing of an empty one is."""
    pixels = detection.pixels()
    inside = np.count_nonzero(pixels & valid)
    return inside > 0 and inside >= min_valid_share * np.count_nonzero(pixels)


def _count(found: _Found, threshold: float) -> dict[int, int]:
    """Return how many detections of each class exceed a threshold."""
    labels = [d.label for image in found for d in image if d.score > threshold]
    return {label: labels.count(label) for label in sorted(set(labels))}


def _merged(parts: Sequence[Sequence[Measured]]) -> list[Measured]:
    """Return what was measured of modules together, at the steps they share.

    Stability needs all of them to have one checkpoint before, agreement all of them a teacher.
    """
    by_step = [{one.step: one for one in part} for part in parts]
    shared = sorted(set.intersection(*(set(steps) for steps in by_step)))
    merged: list[Measured] = []
    for step in shared:
        ones = [steps[step] for steps in by_step]
        is_one_before = len({one.before for one in ones}) == 1
        merged.append(
            Measured(
                step,
                ones[0].network,
                ones[0].before if is_one_before else None,
                {
                    threshold: {
                        k: n for one in ones for k, n in one.pseudo_labels[threshold].items()
                    }
                    for threshold in ones[0].pseudo_labels
                },
                _summed([one.agreement for one in ones]),
                _summed([one.stability for one in ones]) if is_one_before else None,
            )
        )
    return merged


def _summed(parts: Sequence[_ByThreshold | None]) -> _ByThreshold | None:
    """Return the sum by threshold; None where a part has none."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return {
        threshold: reduce(lambda a, b: a + b, [part[threshold] for part in known])
        for threshold in known[0]
    }


def _write(
    run: RunDir, measured: Sequence[Measured], images: int, thresholds: Sequence[float]
) -> dict[str, Any]:
    """Write `choice.json` and return its content."""
    config = load_config(run.config)
    tree = _target(config)
    count = min(images, len(tree))
    names = config.task.class_names
    record: dict[str, Any] = {
        "by": "stability",
        "chosen": None,
        "config_hash": config_hash(config),
        "dataset": f"{tree.name} ({tree.root})",
        "split": tree.split,
        "images": count,
        "thresholds": list(thresholds),
        "checkpoints": [
            {
                "step": one.step,
                "network": one.network,
                "before": one.before,
                "diagnostic": _true_ap(run, one.step),
                "thresholds": [_at(one, threshold, count, names) for threshold in thresholds],
            }
            for one in measured
        ],
    }
    record["by"], best = choose(parse_choice(record).lines)
    if best is not None:
        record["chosen"] = {
            "step": best.step,
            "network": best.network,
            "threshold": best.threshold,
            "quality": best.value(record["by"]),
        }
    write_choice(run, record)
    return record


def _at(one: Measured, threshold: float, images: int, names: Sequence[str]) -> dict[str, Any]:
    """Return what is written of a checkpoint at a threshold."""
    counts = one.pseudo_labels[threshold]
    return {
        "threshold": threshold,
        "pseudo_labels": sum(counts.values()) / images,
        "pseudo_labels_per_class": {names[k]: n / images for k, n in counts.items()},
        "agreement": None if one.agreement is None else one.agreement[threshold].to_json(names),
        "stability": None if one.stability is None else one.stability[threshold].to_json(names),
    }


def _true_ap(run: RunDir, step: int) -> dict[str, Any] | None:
    """Return AP of a step by network; None where it was not evaluated. No choice looks at it."""
    if not run.evaluation_of(step).is_file():
        return None
    found = read_evaluation(run.evaluation_of(step))
    return {
        "protocol": _PROTOCOL,
        **basis_json(found.basis),
        "AP": {name: found.value(name, _PROTOCOL, "AP") for name in found.networks},
    }
