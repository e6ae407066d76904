"""A run that goes on elsewhere: what may be set anew, and what is said of what differs.

A run resumes with the configuration it has. Where its data lie, and what changes neither weights
nor results (`hashing.UNHASHED`), may be another on another machine; nothing else may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from uda4inst.atomic import write_whole
from uda4inst.errors import UserError
from uda4inst.run_folder.alive import this_host
from uda4inst.run_folder.layout import RunDir, last_command, module_names
from uda4inst.run_folder.trainer import locked
from uda4inst.training.batches import RunData, open_data
from uda4inst.training.config import Config, load_config, to_yaml
from uda4inst.training.hashing import UNHASHED
from uda4inst.training.processes import Processes

_SIDES: Final = ("source", "target", "val")
_ROOTS: Final = tuple(f"data.{side}.root" for side in _SIDES)
# A run's name and place are those of its folder.
_ROUNDING: Final = ("commit", "versions", "device", "processes")
SETTABLE: Final = (*_ROOTS, *(name for name in UNHASHED if name != "run"))


def move_run(run: RunDir, overrides: Sequence[str]) -> None:
    """Write into a run's configuration where it goes on; of category groups, into all of them.

    Args:
        run: without a trainer.
        overrides: such as "data.val.root=/data/cityscapes".

    Raises:
        UserError: a setting is another than those that may be set anew, or does not fit; another
            trainer is at work. Nothing is changed then.
    """
    names = [override.partition("=")[0] for override in overrides]
    if foreign := [name for name in names if name not in SETTABLE]:
        raise UserError(
            f"resume must be given settings that change no results ({', '.join(SETTABLE)}), got "
            f"{', '.join(foreign)}. For others start a new run; training.stage2_from={run.path} "
            "begins its stage 2 with what this one has learned."
        )
    folders = [run, *(run.module(name) for name in module_names(run))]
    moved = [(folder, _moved(folder, overrides)) for folder in folders]
    with locked(run):
        for folder, config in moved:
            write_whole(folder.config, to_yaml(config))


def _moved(run: RunDir, overrides: Sequence[str]) -> Config:
    """Return a run's configuration with settings changed; data sets know where they were."""
    before, after = load_config(run.config), load_config(run.config, overrides)
    data = after.data.model_copy(
        update={
            side: getattr(after.data, side).model_copy(
                update=_place(getattr(before.data, side).moved(getattr(after.data, side).root))
            )
            for side in _SIDES
        }
    )
    return after.model_copy(update={"data": data})


def _place(ref: Any) -> dict[str, Any]:
    return {"root": ref.root, "moved_from": ref.moved_from}


def open_again(run: RunDir, config: Config) -> RunData:
    """Open the data sets of a run that goes on; no image is looked at.

    Raises:
        UserError: a tree is missing or incomplete; the message says how to name another place.
    """
    try:
        return open_data(config)
    except UserError as error:
        raise UserError(
            f"{error} Where the run comes from another machine, say where its data are on this "
            f"one: uda4inst resume {run.path} {' '.join(f'{name}=FOLDER' for name in _ROOTS)}"
        ) from error


def circumstances(config: Config, processes: Processes, data: RunData) -> dict[str, Any]:
    """Return what `command.json` keeps of where a run trains, beside commit and versions.

    Args:
        config: of the run.
        processes: that train it.
        data: its data sets.
    """
    device = processes.device
    trees = {"source": data.trees.source, "target": data.trees.target, "val": data.validation}
    opened = {name: tree for name, tree in trees.items() if tree is not None}
    return {
        "host": this_host(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes.count,
        "data": {name: getattr(config.data, name).root for name in opened},
        "images": {name: len(tree) for name, tree in opened.items()},
    }


def what_differs(run: RunDir, now: Mapping[str, Any], *, written_by: int) -> str | None:
    """Return one message about what differs from when a run trained last; None where nothing does.

    Args:
        run: the run, before this start is recorded.
        written_by: processes that its checkpoint was written by.
        now: the entry of this start (`uda4inst.run_folder.layout.command_entry`).
    """
    before = {**(last_command(run) or {}), "processes": written_by}
    parts = _differences(before, now)
    if not parts:
        return None
    text = f"The run goes on elsewhere than before: {'; '.join(parts)}."
    if "images" in before and before["images"] != now["images"]:
        text += (
            " Its data sets have not as many images as before: it goes on with others. Stop it "
            "and set data.*.root if these are the wrong ones."
        )
    if any(before.get(name) not in (None, now[name]) for name in _ROUNDING):
        text += (
            " It goes on from its checkpoint, and not to the bit as it would have: numbers round "
            "differently with other versions and devices, and other processes see other images."
        )
    return text


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what two entries both say, and say differently."""
    parts: list[str] = []
    for name in ("host", "commit", "device", "processes"):
        parts += _difference(name, before.get(name), now.get(name))
    for group, prefix in (("versions", ""), ("data", "data of "), ("images", "images of ")):
        ours, theirs = before.get(group), now.get(group)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            for name in theirs:
                parts += _difference(f"{prefix}{name}", ours.get(name), theirs.get(name))
    return parts


def _difference(name: str, before: Any, now: Any) -> list[str]:
    return [] if before is None or before == now else [f"{name} {now}, was {before}"]
