"""What a run of several category groups predicts: the instances of all its modules together.

The paper's fusion: lists are joined, scores stay as they are, nothing is suppressed. Every step at
which all modules were evaluated gives one merged result; no network runs for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uda4inst.atomic import disk_errors
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.evaluation.basis import basis_json, basis_of
from uda4inst.evaluation.resampling import resampled_path
from uda4inst.evaluation.scoring import (
    accumulators,
    judge_image,
    results_json,
    write_resampled_ap,
)
from uda4inst.formats.predictions import (
    ImagePredictions,
    ScoredMask,
    merge_detections,
    read_predictions,
    to_line,
    writing_text,
)
from uda4inst.run_folder.evaluations import (
    evaluated_steps,
    predicting_networks,
    predictions_file,
    read_evaluation,
    write_evaluation,
)
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import Config, config_hash
from uda4inst.training.validation import summary

log = logging.getLogger(__name__)


def merge_evaluations(
    run: RunDir, modules: Sequence[RunDir], config: Config, dataset: ImageTree
) -> list[dict[str, Any]]:
    """Merge the modules' stored predictions of every step they share, and judge them.

    Args:
        run: where results and merged predictions go.
        modules: the run folders of the groups.
        config: the run's; its `evaluation` part says how.
        dataset: labelled target images.

    Returns:
        What was written, one record a step; steps merged before are left as they are.

    Raises:
        UserError: predictions or annotation cannot be read, or the disk is full.
    """
    shared = set.intersection(*(set(evaluated_steps(m)) for m in modules))
    records: list[dict[str, Any]] = []
    for step in sorted(shared):
        predicted = [predicting_networks(m, step) for m in modules]
        networks = [n for n in ("student", "teacher") if all(n in names for names in predicted)]
        own = _sources(modules, step)
        if networks and not _is_merged(run, step, own):
            merged = _merge_step(run, modules, networks, config, dataset, step=step, sources=own)
            records.append(merged)
    return records


def _sources(modules: Sequence[RunDir], step: int) -> dict[str, str]:
    """Return the configuration hash behind each module's result of a step."""
    return {m.name: read_evaluation(m.evaluation_of(step)).config_hash for m in modules}


def _is_merged(run: RunDir, step: int, sources: dict[str, str]) -> bool:
    path = run.evaluation_of(step)
    return path.exists() and read_evaluation(path).modules == sources


def _merge_step(
    run: RunDir,
    modules: Sequence[RunDir],
    networks: Sequence[str],
    config: Config,
    dataset: ImageTree,
    *,
    step: int,
    sources: dict[str, str],
) -> dict[str, Any]:
    settings = config.evaluation
    count = len(dataset) if settings.limit is None else min(settings.limit, len(dataset))
    basis = basis_of(dataset, range(count))
    results: dict[str, Any] = {}
    with disk_errors("evaluation", run.evaluation, then="start it again"):
        for network in networks:
            parts = [_read(predictions_file(module, step, network)) for module in modules]
            scores = accumulators(settings.protocols, config.method.thing_classes)
            path = predictions_file(run, step, network)
            with writing_text(path, compressed=True) as write:
                for index in range(count):
                    name = dataset.basename(index)
                    truth = dataset.read_instance_ids(index)
                    merged = merge_detections([part.get(name, ()) for part in parts])
                    judge_image(scores, dataset, index, merged, instance_ids=truth)
                    size = (int(truth.shape[0]), int(truth.shape[1]))
                    write(to_line(ImagePredictions(name, size, merged)))
            names = [dataset.basename(index) for index in range(count)]
            write_resampled_ap(resampled_path(path), scores, names)
            results[network] = results_json(scores)
            log.info(
                "step %d, %s, merged, %s: %s",
                step,
                network,
                basis.count,
                summary(results[network], config.task),
            )
        record = {
            "step": step,
            "config_hash": config_hash(config),
            **basis_json(basis),
            "modules": sources,
            "results": results,
        }
        write_evaluation(run, record)
    return record


def _read(path: Path) -> dict[str, tuple[ScoredMask, ...]]:
    """Return a module's detections by image.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return {image.sample_id: image.detections for image in read_predictions(path)}
    except UserError as error:
        raise UserError(
            f"{error} Or evaluate the module anew: uda4inst evaluate {path.parents[3]}"
        ) from error
