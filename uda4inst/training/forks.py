"""A run that begins at a checkpoint of another: the configuration's part of it."""

from __future__ import annotations

from pathlib import Path

from uda4inst.run_folder import going_back
from uda4inst.run_folder.checkpoints import latest_step
from uda4inst.run_folder.layout import RunDir, check_run_name, module_name
from uda4inst.training.config import load_config, to_yaml
from uda4inst.training.groups.modules import module_config, networks_of


def fork(run: RunDir, name: str, *, root: Path, step: int | None = None) -> tuple[RunDir, int]:
    """Make a run that begins at a checkpoint of another, which stays as it is; nothing is trained.

    Args:
        run: of one or several category groups.
        name: of the new run.
        root: folder that holds it.
        step: of the checkpoint; None for the latest. Counted per category group, all of which must
            have it.

    Returns:
        The new run, and the step.

    Raises:
        UserError: the name is taken or none of a folder; there is no such checkpoint.
    """
    new = RunDir(root / check_run_name(name))
    config = load_config(run.config)
    config = config.model_copy(
        update={"run": config.run.model_copy(update={"root": str(root), "name": name})}
    )
    networks = networks_of(run)
    if step is None:
        step = min((latest_step(one.checkpoints) or 0 for one in networks), default=0)
    modules = {
        module_name(group): to_yaml(module_config(config, group))
        for group in (config.category_groups if run.is_grouped else ())
    }
    going_back.fork(
        run,
        new,
        step=step,
        steps=config.training.total_steps * len(networks),
        config_yaml=to_yaml(config),
        modules=modules,
    )
    return new, step
