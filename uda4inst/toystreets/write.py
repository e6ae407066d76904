"""ToyStreets on disk: a UrbanSyn tree of renders and a Cityscapes tree of camera pictures.

The tree is made beside its final place and renamed at the end, so it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np

from uda4inst.atomic import put_in_place, write_json, write_whole
from uda4inst.errors import UserError
from uda4inst.structures import Size
from uda4inst.toystreets.encode import (
    SceneArrays,
    encode_png,
    write_cityscapes,
    write_urbansyn,
)
from uda4inst.toystreets.render import render_scene

VERSION: Final = 3  # raise when any byte of any file changes
MANIFEST: Final = "toystreets.json"
_CITIES: Final = {"train": "toyville", "val": "toyburg"}
_FRAME: Final = 19  # the labelled frame of Cityscapes' 30-frame snippets
_MAX_SIZE: Final = (1024, 2048)
_MIN_SIDE: Final = 32
_WATCH_SECONDS: Final = 0.5  # between a worker's looks at whether its parent lives
_JOB_SCENES: Final = 8  # scenes a process makes before it reports
# The render domain's lens, 1.08 image widths, in UrbanSyn's own units.
_CAMERA: Final = {"focalLength_mm": 38.88, "sensorWidth_mm": 36.0, "sensorHeight_mm": 18.0}

Domain = Literal["render", "camera"]


class Render(Protocol):
    """The renderer: a scene from nothing but its coordinates."""

    def __call__(
        self, *, seed: int, domain: Domain, split: str, index: int, size: Size
    ) -> SceneArrays:
        """Return one scene."""
        ...


@dataclass(frozen=True, slots=True)
class ToyStreetsTree:
    """Where the two domains are.

    Args:
        source_root: UrbanSyn tree of the render domain, split train.
        target_root: Cityscapes tree of the camera domain, splits train and val.
    """

    source_root: Path
    target_root: Path


@dataclass(frozen=True, slots=True)
class _Job:
    """Scenes of one part, made by one process."""

    root: Path
    part: Literal["urbansyn", "train", "val"]
    indices: range
    seed: int
    size: Size


def write_toystreets(
    out: Path,
    *,
    size: Size = (128, 256),
    train: int = 400,
    val: int = 100,
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
        seed: what the scenes are drawn from.
        workers: processes; None for one per core, 0 or 1 for none besides this one.
        progress: called with (scenes done, scenes in all).
        render: the renderer, ToyStreets' own by default; picklable when there are workers.

    Returns:
        The roots of the two trees.

    Raises:
        UserError: an argument is out of range, `out` holds something else, another process is
            writing it, or the disk is full.
    """
    wanted = {
        "format": "toystreets",
        "version": VERSION,
        "seed": seed,
        "size": list(size),
        "train": train,
        "val": val,
    }
    _check_arguments(size, train=train, val=val, seed=seed)
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a linked folder
    tree = ToyStreetsTree(out / "urbansyn", out / "cityscapes")
    if _is_made(out, wanted):
        return tree
    count = os.cpu_count() or 1 if workers is None else workers
    with _one_message(out), _partial_folder(out) as (partial, lock):
        if _is_made(out, wanted):  # another process was faster
            return tree
        jobs = _plan(partial, size=size, train=train, val=val, seed=seed)
        _make_folders(partial)
        _write_ego_vehicle(partial, render, seed=seed, size=size)
        work = functools.partial(_write_job, render=render)
        _run(_map(jobs, work, workers=count, lock=lock), jobs, progress)
        write_json(partial / MANIFEST, wanted)
        put_in_place(partial, out)
    return tree


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


def _check_arguments(size: Size, *, train: int, val: int, seed: int) -> None:
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
    if seed < 0:
        raise UserError(f"seed must be 0 or more, got {seed}. Choose another seed.")


def _is_made(out: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether `out` holds the wanted tree; raise when it holds anything else."""
    if not out.exists() and not out.is_symlink():
        return False
    if out.is_dir() and not any(out.iterdir()):
        return False
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == wanted:
        return True
    if not isinstance(found, dict):
        raise UserError(
            f"OUT must be a new or empty folder, or one made by this command, got one that holds "
            f"something else ({out}). Choose another folder."
        )
    differing = [
        f"{name} {found.get(name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
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
            raise UserError(
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


def _make_folders(root: Path) -> None:
    """Make every folder, and the files that are the same for all scenes."""
    for kind in ("rgb", "ss", "ss_color", "panoptic", "bbox2d"):
        (root / "urbansyn" / kind).mkdir(parents=True)
    for split, city in _CITIES.items():
        for kind in ("leftImg8bit", "gtFine"):
            (root / "cityscapes" / kind / split / city).mkdir(parents=True)
    write_json(root / "urbansyn" / "camera_metadata.json", {"parameters": [{"Camera": _CAMERA}]})


def _write_ego_vehicle(root: Path, render: Render, *, seed: int, size: Size) -> None:
    """Write where the ego vehicle is: one camera rig, so one mask for all images."""
    scene = render(seed=seed, domain="camera", split="train", index=0, size=size)
    mask = np.where(scene.ego, np.uint8(0), np.uint8(255))
    write_whole(root / "cityscapes" / "ego_vehicle.png", encode_png(mask))


def _plan(root: Path, *, size: Size, train: int, val: int, seed: int) -> list[_Job]:
    """Cut the work into jobs of a few scenes."""
    parts: tuple[tuple[Literal["urbansyn", "train", "val"], int], ...] = (
        ("urbansyn", train),
        ("train", train),
        ("val", val),
    )
    return [
        _Job(root, part, range(start, min(start + _JOB_SCENES, count)), seed, size)
        for part, count in parts
        for start in range(0, count, _JOB_SCENES)
    ]


def _write_job(job: _Job, *, render: Render) -> int:
    """Make the scenes of one job; return how many."""
    for index in job.indices:
        if job.part == "urbansyn":
            scene = render(
                seed=job.seed, domain="render", split="train", index=index, size=job.size
            )
            write_urbansyn(job.root / "urbansyn", index, scene)
        else:
            scene = render(
                seed=job.seed, domain="camera", split=job.part, index=index, size=job.size
            )
            name = f"{_CITIES[job.part]}_{index:06d}_{_FRAME:06d}"
            write_cityscapes(job.root / "cityscapes", job.part, name, scene)
    return len(job.indices)


def _run(
    results: Iterator[int], jobs: list[_Job], progress: Callable[[int, int], None] | None
) -> None:
    """Go through the jobs' results as they come, reporting each."""
    total = sum(len(job.indices) for job in jobs)
    done = 0
    for finished in results:
        done += finished
        if progress is not None:
            progress(done, total)


def _map(
    jobs: list[_Job], work: Callable[[_Job], int], *, workers: int, lock: int
) -> Iterator[int]:
    """Yield the result of each job as it finishes, here or in processes; one failure stops all."""
    if workers <= 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("fork"),  # no imports to repeat, the lock at hand
        initializer=_start_worker,
        initargs=(os.getpid(), lock),
    )
    with pool:
        try:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker(parent: int, lock: int) -> None:
    """Make a worker end with its parent, however that ends, and leave no lock behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and stops it
    os.close(lock)
    cv2.setNumThreads(0)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
