"""Evaluation in the run folder: which networks, on what, and where the numbers go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from uda4inst.atomic import disk_errors
from uda4inst.data.stream.dataset import has_labels, open_dataset
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import basis_json, basis_of
from uda4inst.methods.updates import STUDENT
from uda4inst.models.network import Network
from uda4inst.models.precision import inference_precision
from uda4inst.run_folder.checkpoints import Checkpoint, open_checkpoint
from uda4inst.run_folder.evaluations import write_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.tasks.base import Task, measures_of
from uda4inst.training.config import Config, config_hash, load_config

log = logging.getLogger(__name__)

_LABEL_WORDS: Final = {"instances": "instances", "semantic": "semantic maps"}
# Images done, images in all; raises `Interrupted` to give up.
NetworkImagesDone = Callable[[str, int, int], None]


class Interrupted(Exception):
    """An evaluation was given up because the run was asked to stop."""


def open_validation(config: Config) -> ImageTree | None:
    """Return the labelled target images of `data.val`; None where its format has no such labels.

    A target that is a plain folder of images is adapted to, and not evaluated on.

    Raises:
        UserError: the tree is missing or incomplete.
    """
    labels = config.task.labels
    if not has_labels(config.data.val, labels):
        return None
    dataset = open_dataset(config.data.val, domain="target", labels=labels)
    if dataset.thing_classes.own or dataset.has_own_names:
        require_classes(dataset, config, "val")
    elif own := config.method.own_classes:
        log.warning("data.val (%s) has no %s: they are not judged", dataset.name, ", ".join(own))
    return dataset


def require_classes(dataset: ImageTree, config: Config, side: str) -> None:
    """Raise unless labels number classes as the run does.

    Args:
        dataset: opened with labels.
        config: of the run.
        side: which of `data` it is.

    Raises:
        UserError: the class map names other classes beside the eight, or there is none.
    """
    wanted, found = config.method.own_classes, dataset.thing_classes.own
    if found != wanted:
        raise UserError(
            f"data.{side}.class_map must name the classes of method.own_classes under own, in the "
            f"same order ({', '.join(wanted) or 'none'}), got {', '.join(found) or 'none'} "
            f"({dataset.root}). Set method.own_classes=[{', '.join(found or wanted)}], and one "
            "class map for all data sets with labels."
        )


def require_validation(config: Config) -> ImageTree:
    """Return the labelled target images of `data.val`.

    Raises:
        UserError: there are none, or the tree is missing or incomplete.
    """
    dataset = open_validation(config)
    if dataset is None:
        raise UserError(
            f"data.val must be a data set with {_LABEL_WORDS[config.task.labels]} to be evaluated "
            f"on, got format {config.data.val.format} ({config.data.val.root}). Set "
            "data.val.format and data.val.root."
        )
    return dataset


def evaluation_is_due(config: Config, *, step: int, stage_end: bool) -> bool:
    """Whether the networks are evaluated after so many steps."""
    evaluation, training = config.evaluation, config.training
    if step == training.total_steps:
        return True
    if stage_end and evaluation.stage1:
        return True
    return bool(evaluation.every) and step > 0 and step % evaluation.every == 0


def choose_networks(networks: Mapping[str, Network], wanted: str) -> Mapping[str, Network]:
    """Return the networks to evaluate; the student where the wanted one does not exist."""
    if wanted == "both":
        return networks
    return {wanted: networks[wanted]} if wanted in networks else {STUDENT: networks[STUDENT]}


def evaluate_networks(
    networks: Mapping[str, Network],
    dataset: ImageTree,
    run: RunDir,
    *,
    config: Config,
    config_hash: str,
    step: int,
    device: torch.device,
    progress: NetworkImagesDone | None = None,
) -> dict[str, Any]:
    """Evaluate networks and write result and predictions into the run folder.

    Args:
        networks: by name, on `device`.
        dataset: from `open_validation`.
        run: where to write.
        config: its `evaluation` part says how.
        config_hash: written beside every number.
        step: optimizer updates the networks have seen.
        device: where they compute.
        progress: called after every image with (network, done, all).

    Returns:
        What was written to `evaluation/<step>.json`.

    Raises:
        UserError: a file cannot be read, or the disk is full.
        Interrupted: raised by `progress`; nothing is written.
    """
    settings = config.evaluation
    count = len(dataset) if settings.limit is None else min(settings.limit, len(dataset))
    basis = basis_of(dataset, range(count))
    results: dict[str, Any] = {}
    with disk_errors("evaluation", run.evaluation, then="start it again"):
        for name, network in networks.items():
            folder = run.predictions_of(step)
            folder.mkdir(parents=True, exist_ok=True)
            with inference_precision(config.training.inference_precision, device):
                results[name] = config.task.evaluate(
                    network,
                    dataset,
                    device=device,
                    protocols=settings.protocols,
                    short_side=settings.short_side,
                    limit=settings.limit,
                    classes=config.class_names,
                    predictions_path=folder / config.task.predictions_name(name),
                    progress=_named(progress, name),
                )
        record = {
            "step": step,
            "config_hash": config_hash,
            **basis_json(basis),
            "results": results,
        }
        write_evaluation(run, record)
    for name, result in results.items():
        log.info("step %d, %s, %s: %s", step, name, basis.count, summary(result, config.task))
    return record


def summary(result: Mapping[str, Any], task: Task) -> str:
    """Return every protocol's measures, and means over parts of the classes, in per cent."""

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    def names(protocol: str, values: Mapping[str, Any]) -> list[str]:
        return [*measures_of(task, protocol)[0], *(n for n in task.class_sets if n in values)]

    return "; ".join(
        f"{protocol} " + ", ".join(f"{n} {shown(values[n])}" for n in names(protocol, values))
        for protocol, values in result.items()
    )


def _named(progress: NetworkImagesDone | None, name: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)


def evaluate_checkpoint(
    run: RunDir,
    *,
    step: int | None = None,
    dataset: ImageTree | None = None,
    progress: NetworkImagesDone | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint of a run, whether or not it still trains.

    Args:
        run: the run.
        step: step of the checkpoint; None for the latest.
        dataset: of `require_validation`; None opens it.
        progress: see `evaluate_networks`.

    Returns:
        What was written to `evaluation/<step>.json`.

    Raises:
        UserError: there is no such checkpoint, it is damaged, or the validation images are gone.
    """
    config = load_config(run.config)
    dataset = dataset or require_validation(config)
    checkpoint = open_checkpoint(run.checkpoints, step=step)
    device = choose_device(config)
    networks = {
        name: load_network(config, checkpoint, name, device) for name in checkpoint.networks
    }
    return evaluate_networks(
        choose_networks(networks, config.evaluation.networks),
        dataset,
        run,
        config=config,
        config_hash=config_hash(config),
        step=checkpoint.step,
        device=device,
        progress=progress,
    )


def load_network(
    config: Config, checkpoint: Checkpoint, name: str, device: torch.device
) -> Network:
    """Return a network of a checkpoint, in evaluation mode.

    Raises:
        UserError: the checkpoint has no such network, or is of another architecture.
    """
    network, _ = config.task.build_network(config.model.preset, weights=None)
    checkpoint.load_network(network, name)
    return network.to(device).eval()


def choose_device(config: Config) -> torch.device:
    """Return the GPU if there is one and the run may use it."""
    on_gpu = config.training.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")
