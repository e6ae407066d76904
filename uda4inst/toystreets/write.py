"""ToyStreets on disk: a UrbanSyn tree of renders and a Cityscapes tree of camera pictures.

The tree is made beside its final place and renamed at the end, so it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.atomic import put_in_place, write_json
from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError
from uda4inst.reading import read_json
from uda4inst.structures import Size
from uda4inst.toystreets.enough import Tally
from uda4inst.toystreets.jobs import Render, Request, write_scenes
from uda4inst.toystreets.pool import processes
from uda4inst.toystreets.render import render_scene

VERSION: Final = 3  # raise when any byte of any file changes
MANIFEST: Final = "toystreets.json"
_FOUND: Final = ("judged", "added")  # entries of the manifest that were counted, not asked for
_MAX_SIZE: Final = (1024, 2048)
_MIN_SIDE: Final = 32
_MAX_OBJECTS: Final = 10_000  # the rarest class is in one scene of forty


@dataclass(frozen=True, slots=True)
class ToyStreetsTree:
    """Where the two domains are.

    Args:
        source_root: UrbanSyn tree of the render domain, split train.
        target_root: Cityscapes tree of the camera domain, splits train and val.
        judged: objects of each class in the val split that Cityscapes' AP judges; None when no
            number of them was asked for.
    """

    source_root: Path
    target_root: Path
    judged: dict[str, int] | None = None


class BeingWritten(UserError):
    """Another process writes the folder; it will be there, or free, in a while."""


def write_toystreets(
    out: Path,
    *,
    size: Size = (128, 256),
    train: int = 400,
    val: int = 100,
    val_objects: int = 0,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    render: Render = render_scene,
) -> ToyStreetsTree:
    """Write both domains below `out`; do nothing if the same tree is already there.

    Equal arguments give equal bytes, whatever the number of workers. The folder appears whole: an
    interrupted call leaves only a hidden `.NAME.partial` beside it, which the next call clears.

    Args:
        out: folder to make; must be missing, empty, or hold the same ToyStreets.
        size: (height, width) of the pictures, at most 1024x2048.
        train: images in each domain's train split.
        val: images in the camera domain's val split.
        val_objects: objects of each class that Cityscapes' AP judges (100 pixels or more) in the
            val split, at least: scenes are added to its first `val`, in order of their index,
            each only if it shows an object of a class that has fewer. 0 adds none.
        seed: what the scenes are drawn from.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (scenes done, scenes in all).
        render: the renderer, ToyStreets' own by default; picklable when there are workers.

    Returns:
        The roots of the two trees, and the judged objects where `val_objects` asks for some.

    Raises:
        BeingWritten: another process is at it.
        UserError: an argument is out of range, `out` holds something else, the disk is full, or
            objects of a class are too small at this size.
    """
    wanted: dict[str, Any] = {
        "format": "toystreets",
        "version": VERSION,
        "seed": seed,
        "size": list(size),
        "train": train,
        "val": val,
    }
    if val_objects:
        wanted["val_objects"] = val_objects
    _check_arguments(size, train=train, val=val, val_objects=val_objects, seed=seed)
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a linked folder
    if _is_made(out, wanted):
        return _tree(out)
    count = os.cpu_count() or 1 if workers is None else workers
    with _one_message(out), _partial_folder(out) as (partial, lock):
        if _is_made(out, wanted):  # another process was faster
            return _tree(out)
        request = Request(partial, size, train, val, val_objects, seed)
        with processes(count, lock=lock) as run:
            tally = write_scenes(request, run, at_once=count, render=render, progress=progress)
        write_json(partial / MANIFEST, wanted | (_found(tally) if val_objects else {}))
        put_in_place(partial, out)
    return _tree(out)


def _tree(out: Path) -> ToyStreetsTree:
    """Return what a finished folder holds."""
    manifest = read_json(out / MANIFEST)
    return ToyStreetsTree(out / "urbansyn", out / "cityscapes", manifest.get("judged"))


def _found(tally: Tally) -> dict[str, Any]:
    """Return what the manifest says of the val split's objects and of the scenes added for them."""
    return {
        "judged": dict(zip(THING_NAMES, tally.judged, strict=True)),
        "added": [
            {"index": scene.index, "for": [THING_NAMES[label] for label in scene.classes]}
            for scene in tally.added
        ],
    }


@contextlib.contextmanager
def _one_message(out: Path) -> Iterator[None]:
    """Turn a full disk or a killed worker into one clear message.

    Raises:
        UserError: instead of an OSError or a BrokenProcessPool.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"OUT must be a folder that can be written, got {error.strerror or error} ({out}). "
            "Free some space or choose another folder; nothing was left half-written."
        ) from error
    except BrokenProcessPool as error:
        raise UserError(
            f"every worker must finish, got one that was killed, perhaps for lack of memory "
            f"({out}). Use fewer workers."
        ) from error


def _check_arguments(size: Size, *, train: int, val: int, val_objects: int, seed: int) -> None:
    """Raise for arguments out of range."""
    height, width = size
    if not (_MIN_SIDE <= height <= _MAX_SIZE[0] and _MIN_SIDE <= width <= _MAX_SIZE[1]):
        raise UserError(
            f"size must lie between {_MIN_SIDE}x{_MIN_SIDE} and {_MAX_SIZE[0]}x{_MAX_SIZE[1]} "
            f"(height x width), got {height}x{width}. Choose another size."
        )
    for name, value in (("train", train), ("val", val)):
        if not 1 <= value <= 1_000_000:
            raise UserError(
                f"{name} must lie in [1, 1000000] images, got {value}. Choose another number."
            )
    if not 0 <= val_objects <= _MAX_OBJECTS:
        raise UserError(
            f"val_objects must lie in [0, {_MAX_OBJECTS}] objects of each class, got "
            f"{val_objects}. Choose another number, or 0 to add no scenes."
        )
    if seed < 0:
        raise UserError(f"seed must be 0 or more, got {seed}. Choose another seed.")


def _is_made(out: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether `out` holds the wanted tree; raise when it holds anything else."""
    if not out.exists() and not out.is_symlink():
        return False
    if out.is_dir() and not any(out.iterdir()):
        return False
    try:
        found = read_json(out / MANIFEST)
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name not in _FOUND}
    if found == wanted:
        return True
    if not isinstance(found, dict):
        raise UserError(
            f"OUT must be a new or empty folder, or one made by this command, got one that holds "
            f"something else ({out}). Choose another folder."
        )
    differing = [
        f"{name} {found.get(name)!r} instead of {wanted.get(name)!r}"
        for name in dict.fromkeys((*wanted, *found))
        if found.get(name) != wanted.get(name)
    ]
    raise UserError(
        f"OUT must hold no other ToyStreets, got one with {', '.join(differing)} ({out}). "
        "Remove it, or choose another folder."
    )


@contextlib.contextmanager
def _partial_folder(out: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty folder beside `out` and its lock; it is removed unless renamed away."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial"
    handle = _lock_folder(partial, out)
    try:
        _clear(partial)
        yield partial, handle
    finally:
        if _is_folder(handle, partial):
            shutil.rmtree(partial, ignore_errors=True)
        os.close(handle)


def _lock_folder(folder: Path, out: Path) -> int:
    """Make and lock a folder; return the handle that holds the lock."""
    while True:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise BeingWritten(
                f"OUT must be written by one process at a time, got another at work ({out}). "
                "Wait for it to finish."
            ) from error
        if _is_folder(handle, folder):
            return handle
        os.close(handle)  # the other process renamed it away just before it was locked


def _is_folder(handle: int, folder: Path) -> bool:
    """Tell whether an open folder is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def _clear(folder: Path) -> None:
    """Remove what an interrupted call left behind."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
