"""Names of the networks of a run: one per category group, each in a run folder of its own.

A run of several groups is one run, "demo". The folder of one of its networks, its module, is read
under the name "demo/modules/car-truck-bus-train", which works wherever a run's name does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from uda4inst.classes import CATEGORY_GROUPINGS
from uda4inst.run_folder.layout import MODULES, RunDir, check_run_name, module_names

_BETWEEN: Final = f"/{MODULES}/"


def module_of(run: str, group: str) -> str:
    """Return the name under which the module of a group is read."""
    return f"{run}{_BETWEEN}{group}"


def split_name(name: str) -> tuple[str, str | None]:
    """Return the run, and the group where the name is that of a module.

    Example:
        >>> split_name("demo/modules/person-rider")
        ('demo', 'person-rider')
        >>> split_name("demo")
        ('demo', None)
    """
    run, between, group = name.partition(_BETWEEN)
    return run, group if between else None


def check_name(name: str) -> str:
    """Return the name of a run or a module unchanged.

    Raises:
        UserError: it leads out of the folder of runs, or is no name at all.
    """
    run, group = split_name(name)
    check_run_name(run)
    if group is not None:
        check_run_name(group)
    return name


def group_text(group: str) -> str:
    """Return a group as a person writes it.

    Example:
        >>> group_text("car-tow_truck")
        'car, tow truck'
    """
    return group.replace("-", ", ").replace("_", " ")


def shown_name(name: str) -> str:
    """Return the name of a run or a module as it is shown."""
    run, group = split_name(name)
    return run if group is None else f"{run} ({group_text(group)})"


def groups_in(run: RunDir, config: Mapping[str, object]) -> list[str]:
    """Return the groups that have a module in a run folder; none for a run of one network.

    Args:
        run: need not exist.
        config: the run's; its order of the groups is the order they train in.
    """
    return module_names(run, _written_groups(config))


def _written_groups(config: Mapping[str, object]) -> Sequence[Sequence[str]]:
    method = config.get("method")
    groups = method.get("groups") if isinstance(method, Mapping) else None
    if isinstance(groups, str):
        groups = CATEGORY_GROUPINGS.get(groups)
    if not isinstance(groups, list | tuple):
        return ()
    return [list(map(str, group)) for group in groups if isinstance(group, list | tuple)]
