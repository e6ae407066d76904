"""Runs of one network per category group (paper, sec. III-B): modules of one run, in one folder.

Each module is an ordinary run in RUN/modules, which learns the classes of its group and nothing
else: own student, teacher, pool and both stages. Modules train one after another in this process,
or several at once in processes of their own, each on its own GPU. What the run predicts is the
instances of all its modules with their scores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from uda4inst.atomic import disk_errors, remove_folder
from uda4inst.data.class_counts import class_counts
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import (
    RunDir,
    check_is_new,
    command_entry,
    create_run,
    read_json,
    record_command,
)
from uda4inst.run_folder.status import StatusFile, is_finished
from uda4inst.run_folder.trainer import locked
from uda4inst.training import launch
from uda4inst.training.batches import RunData, open_data
from uda4inst.training.config import Config, load_config, to_yaml
from uda4inst.training.groups.merging import merge_evaluations
from uda4inst.training.groups.module_processes import train_at_once
from uda4inst.training.groups.modules import module_config, modules_of
from uda4inst.training.loop import Outcome, Progress
from uda4inst.training.places import move_run, open_again
from uda4inst.training.processes import Processes
from uda4inst.training.trackers import require_trackers
from uda4inst.training.validation import (
    NetworkImagesDone,
    evaluate_checkpoint,
    require_validation,
)

log = logging.getLogger(__name__)

Watch = Callable[[Progress], None]


def train(config: Config, *, watch: Watch | None = None) -> Outcome:
    """Start a new run of one or several groups and train it.

    Args:
        config: the whole configuration.
        watch: told about progress, on the first process.

    Raises:
        UserError: the run exists, or data or weights cannot be used (nothing is left behind); or,
            once it trains, a file cannot be read or written.
        RunFailedError: a loss is not finite.
    """
    is_grouped = len(config.category_groups) > 1
    if not is_grouped and not config.method.left_to_source:
        return launch.train(config, watch=watch)
    run = RunDir(Path(config.run.root) / config.run.name)
    require_trackers(config.training.trackers)
    check_is_new(run)
    data = open_data(config)
    config = _with_source(config, data)
    if not is_grouped:
        return launch.train(config, data=data, watch=watch)
    data.check()
    is_first = _on_first(config, lambda: _create(run, config))
    try:
        return _resume_groups(run, config, data, watch=watch)
    except UserError:
        if is_first and not any(module.metrics.exists() for module in modules_of(run)):
            remove_folder(run.path)  # nothing was trained: the name is free again
        raise


def resume(
    run: RunDir,
    *,
    step: int | None = None,
    may_replace: bool = False,
    overrides: Sequence[str] = (),
    watch: Watch | None = None,
) -> Outcome:
    """Go on with a run of one or several groups.

    Args:
        run: an existing run without a trainer.
        step: step of the checkpoint; None for the latest. A run of several groups goes on from
            the latest alone.
        may_replace: whether results after the step may be moved into RUN/replaced/.
        overrides: where it goes on, see `uda4inst.training.places.move_run`.
        watch: told about progress, on the first process.

    Raises:
        UserError: another trainer is at work; a checkpoint is damaged or of another network; or
            there are results after the step, which may not be replaced.
        RunFailedError: a loss is not finite.
    """
    if overrides:
        _on_first(load_config(run.config), lambda: move_run(run, overrides))
    if not run.is_grouped:
        return launch.resume(run, step=step, may_replace=may_replace, watch=watch)
    if step is not None:
        raise UserError(
            f"--from must be given for one category group of {run.name!r}, got the whole run. "
            f"Take one of {', '.join(str(m.path) for m in modules_of(run))}, then resume the run."
        )
    config = load_config(run.config)
    data = open_again(run, config)
    data.check()
    return _resume_groups(run, config, data, watch=watch)


def _resume_groups(run: RunDir, config: Config, data: RunData, *, watch: Watch | None) -> Outcome:
    """Train what is unfinished of a run of several groups, its data sets open and checked."""
    with ExitStack() as held:
        is_first = _on_first(config, lambda: held.enter_context(locked(run)))
        if is_first:
            return _train_modules(run, config, data, watch=watch)
        return _train_in_turn(run, modules_of(run), config, data, status=None, watch=None)


def _with_source(config: Config, data: RunData) -> Config:
    """Return the configuration with everything named that the method proposes from the source."""

    def counts() -> list[int]:
        assert data.trees.source is not None, "methods that propose from the source see it"
        return class_counts(data.trees.source).sum(axis=0).tolist()

    return config.model_copy(update={"method": config.method.with_source(counts)})


def _on_first(config: Config, work: Callable[[], object]) -> bool:
    """Run something on the first process; return whether this is it."""
    processes = Processes.join(config)
    try:
        processes.on_first(work)
        return processes.is_first
    finally:
        processes.leave()


def _create(run: RunDir, config: Config) -> None:
    """Make the folders of the run and its modules."""
    configs = [module_config(config, group) for group in config.category_groups]
    create_run(run, config_yaml=to_yaml(config))
    for module in configs:
        folder = RunDir(Path(module.run.root) / module.run.name)
        create_run(folder, config_yaml=to_yaml(module))


def _train_modules(run: RunDir, config: Config, data: RunData, *, watch: Watch | None) -> Outcome:
    """Train what is unfinished, then merge what the modules predict."""
    modules, training = modules_of(run), config.training
    steps = training.total_steps
    with disk_errors("run folder", run.path, then=f"`uda4inst resume {run.path}`"):
        record_command(run, command_entry({}))
    status = StatusFile(run.status, steps=steps * len(modules), every=training.heartbeat_seconds)
    status.start()
    try:
        with launch.logging_to(run.log):
            if training.modules_at_once > 1:
                outcome = train_at_once(run, modules, config, status=status, watch=watch)
            else:
                outcome = _train_in_turn(run, modules, config, data, status=status, watch=watch)
            if outcome.state == "finished" and data.validation is not None:
                status.update(message="Merging what the category groups predict.")
                merge_evaluations(run, modules, config, data.validation)
    except BaseException as error:
        status.close("failed", error=str(error) or type(error).__name__)
        raise
    status.update(step=outcome.step)
    status.close(outcome.state)
    return outcome


def _train_in_turn(
    run: RunDir,
    modules: list[RunDir],
    config: Config,
    data: RunData,
    *,
    status: StatusFile | None,
    watch: Watch | None,
) -> Outcome:
    """Train one module after another in this process."""
    steps = config.training.total_steps
    for number, module in enumerate(modules):
        if is_finished(module):
            continue
        done = number * steps

        def follow(
            progress: Progress, done: int = done, name: str = module.name, number: int = number
        ) -> None:
            left = progress.seconds_left
            if left is not None and progress.step < steps:  # the other modules take as long
                left *= 1 + (len(modules) - number - 1) * steps / (steps - progress.step)
            if status:
                status.update(step=done + progress.step, stage=progress.stage, eta_seconds=left)
            if watch:
                told = replace(
                    progress,
                    step=done + progress.step,
                    steps=steps * len(modules),
                    seconds_left=left,
                    message=f"{name}: {progress.message}" if progress.message else name,
                )
                watch(told)

        log.info("category group %s", module.name)
        outcome = launch.resume(module, data=data, watch=follow, control=run.control, above=status)
        if outcome.state == "stopped":
            return replace(outcome, step=done + outcome.step)
    return Outcome("finished", steps * len(modules))


def evaluate(
    run: RunDir, *, step: int | None = None, progress: NetworkImagesDone | None = None
) -> dict[str, Any]:
    """Evaluate a checkpoint of a run of one or several groups.

    Args:
        run: the run.
        step: step of the checkpoint, counted per group; None for the latest.
        progress: called after every image with (network, done, all).

    Returns:
        What was written to `evaluation/<step>.json`, of all groups together.

    Raises:
        UserError: a group has no such checkpoint, or validation images are gone.
    """
    if not run.is_grouped:
        return evaluate_checkpoint(run, step=step, progress=progress)
    modules, config = modules_of(run), load_config(run.config)
    dataset = require_validation(config)
    found = [
        evaluate_checkpoint(module, step=step, dataset=dataset, progress=progress)
        for module in modules
    ]
    steps = {record["step"] for record in found}
    if len(steps) > 1:
        raise UserError(
            f"category groups of {run.name!r} must have checkpoints of one step, got "
            f"{', '.join(str(s) for s in sorted(steps))}. Resume the run, or choose a --step."
        )
    (evaluated,) = steps
    run.evaluation_of(evaluated).unlink(missing_ok=True)  # judged anew, so merged anew
    merge_evaluations(run, modules, config, dataset)
    return read_json(run.evaluation_of(evaluated))
