"""The scenes of a tree, cut into jobs for processes and written as they come."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np

from uda4inst.atomic import write_json, write_whole
from uda4inst.structures import Size
from uda4inst.toystreets.encode import (
    SceneArrays,
    encode_png,
    write_cityscapes,
    write_urbansyn,
)
from uda4inst.toystreets.enough import Counts, Tally, judged_objects, rounds
from uda4inst.toystreets.pool import Run
from uda4inst.toystreets.render import scene_layout

_CITIES: Final = {"train": "toyville", "val": "toyburg"}
_FRAME: Final = 19  # the labelled frame of Cityscapes' 30-frame snippets
_JOB_SCENES: Final = 8  # scenes a process makes before it reports
# The render domain's lens, 1.08 image widths, in UrbanSyn's own units.
_CAMERA: Final = {"focalLength_mm": 38.88, "sensorWidth_mm": 36.0, "sensorHeight_mm": 18.0}

Progress = Callable[[int, int], None]
Domain = Literal["render", "camera"]
Part = Literal["urbansyn", "train", "val"]


class Render(Protocol):
    """The renderer: a scene from nothing but its coordinates."""

    def __call__(
        self, *, seed: int, domain: Domain, split: str, index: int, size: Size
    ) -> SceneArrays:
        """Return one scene."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What to write.

    Args:
        root: folder of both trees, empty.
        size: (height, width) of the pictures.
        train: images in each domain's train split.
        val: images that the camera domain's val split begins with.
        val_objects: judged objects that each class has in it at least, 0 for any number.
        seed: what the scenes are drawn from.
    """

    root: Path
    size: Size
    train: int
    val: int
    val_objects: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Job:
    """Scenes of one part, made by one process; of `only` those that show a judged object."""

    request: Request
    part: Part
    indices: Sequence[int]
    only: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """What a job made: the judged objects of each class in every scene, by index."""

    part: Part
    judged: dict[int, Counts]


def write_scenes(
    request: Request, run: Run, *, at_once: int, render: Render, progress: Progress | None
) -> Tally:
    """Write both trees' folders and scenes.

    Args:
        request: what to write.
        run: does jobs.
        at_once: how many it does at a time.
        render: the renderer.
        progress: called with (scenes done, scenes in all).

    Returns:
        The judged objects of the val split, and the scenes that were added to it for them.
    """
    _make_folders(request.root)
    _write_ego_vehicle(request.root, render, seed=request.seed, size=request.size)
    tally = Tally(request.val_objects, request.size)
    work = functools.partial(_write_job, render=render)
    jobs = _plan(request)
    done, total = 0, sum(len(job.indices) for job in jobs)
    for finished in run(work, jobs):
        done += len(finished.judged)
        if finished.part == "val":
            for judged in finished.judged.values():
                tally.count(judged)
        if progress is not None:
            progress(done, total)
    together = _JOB_SCENES * max(1, at_once)
    for found in rounds(tally, _classes_of(request.seed), start=request.val, scenes=together):
        indices = [one.index for one in found]
        judged = {}
        for finished in run(work, _cut(request, "val", indices, only=tally.lacking)):
            judged |= finished.judged
        for one in found:
            if not tally.offer(one, judged[one.index]):
                _remove(request.root / "cityscapes", _name("val", one.index))
        if progress is not None:
            progress(total + len(tally.added), total + len(tally.added))
    return tally


def _classes_of(seed: int) -> Callable[[int], frozenset[int]]:
    """Return a function that tells the thing classes in the layout of a val scene."""

    def classes(index: int) -> frozenset[int]:
        layout = scene_layout(seed=seed, domain="camera", split="val", index=index)
        return frozenset(layout.labels)

    return classes


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


def _plan(request: Request) -> list[_Job]:
    """Cut the scenes that are sure to be written into jobs."""
    parts: tuple[tuple[Part, int], ...] = (
        ("urbansyn", request.train),
        ("train", request.train),
        ("val", request.val),
    )
    return [job for part, count in parts for job in _cut(request, part, range(count))]


def _cut(
    request: Request, part: Part, indices: Sequence[int], only: frozenset[int] | None = None
) -> list[_Job]:
    """Cut scenes of one part into jobs of a few."""
    return [
        _Job(request, part, indices[start : start + _JOB_SCENES], only)
        for start in range(0, len(indices), _JOB_SCENES)
    ]


def _write_job(job: _Job, *, render: Render) -> _Done:
    """Make the scenes of one job."""
    request = job.request
    domain: Domain = "render" if job.part == "urbansyn" else "camera"
    split = "val" if job.part == "val" else "train"
    judged: dict[int, Counts] = {}
    for index in job.indices:
        scene = render(
            seed=request.seed, domain=domain, split=split, index=index, size=request.size
        )
        judged[index] = judged_objects(scene)
        if job.only is not None and not any(judged[index][label] for label in job.only):
            continue
        if job.part == "urbansyn":
            write_urbansyn(request.root / "urbansyn", index, scene)
        else:
            write_cityscapes(request.root / "cityscapes", split, _name(split, index), scene)
    return _Done(job.part, judged)


def _name(split: str, index: int) -> str:
    """Return the Cityscapes name of a scene: CITY_SEQUENCE_FRAME."""
    return f"{_CITIES[split]}_{index:06d}_{_FRAME:06d}"


def _remove(root: Path, name: str) -> None:
    """Remove the files of a val image, if there are any."""
    for kind in ("leftImg8bit", "gtFine"):
        for path in (root / kind / "val" / _CITIES["val"]).glob(f"{name}_*"):
            path.unlink()
