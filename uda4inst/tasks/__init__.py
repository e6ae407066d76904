"""What can be predicted. To add a task: its file, one line in `TASKS`; networks in `models/`.

It may use models, formats, evaluation and what lies below; methods and training use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from uda4inst.classes import EIGHT, ThingClasses
from uda4inst.tasks.base import Task
from uda4inst.tasks.instances import INSTANCES, Instances
from uda4inst.tasks.semantic import SEMANTIC

TASKS: Final[Mapping[str, Task]] = {task.name: task for task in (INSTANCES, SEMANTIC)}


def task_of(preset: str, things: ThingClasses = EIGHT) -> Task:
    """Return the task of a network's preset.

    Args:
        preset: of the network.
        things: the classes of instances; semantic maps have Cityscapes' alone.

    Raises:
        KeyError: there is no such preset; the configuration's type has refused it before.
    """
    task = next(task for task in TASKS.values() if preset in task.presets)
    return Instances(things=things) if task is INSTANCES and things.own else task
