"""The modules of a run of category groups: their folders and their configurations."""

from __future__ import annotations

from pathlib import Path

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, find_run, module_name
from uda4inst.training.config import Config, load_config


def networks_of(run: RunDir) -> list[RunDir]:
    """Return the run folders that have a network: those of the groups, or the run itself."""
    return modules_of(run) if run.is_grouped else [run]


def modules_of(run: RunDir) -> list[RunDir]:
    """Return the run folders of the groups, in the order of the configuration."""
    groups = load_config(run.config).category_groups
    return [run.module(module_name(group)) for group in groups]


def module_config(config: Config, group: tuple[str, ...]) -> Config:
    """Return the configuration of a group's module.

    Raises:
        UserError: stage 2 starts from a run of other groups.
    """
    name = module_name(group)
    root = RunDir(Path(config.run.root) / config.run.name).modules
    training = config.training
    if training.stage2_from:
        start = _module_start(training.stage2_from, name, root=Path(config.run.root))
        training = training.model_copy(update={"stage2_from": str(start)})
    return config.model_copy(
        update={
            "run": config.run.model_copy(update={"root": str(root), "name": name}),
            "method": config.method.model_copy(update={"groups": "one", "classes": group}),
            "training": training,
        }
    )


def _module_start(place: str, name: str, *, root: Path) -> Path:
    """Return the run folder of the same group in the run that stage 2 starts from."""
    found = find_run(place, root=root)
    start = found.modules / name
    if not start.is_dir():
        known = sorted(p.name for p in found.modules.glob("*")) or ["one network for all classes"]
        raise UserError(
            "training.stage2_from must name a run of the same category groups, got "
            f"{found.path}, which has {', '.join(known)} and not {name}. Choose another run, or "
            "set method.groups to its groups."
        )
    return start
