"""A data set in FiftyOne of what lies in trees: built, found again, mended, never guessed at.

What is ours is told by an entry in its `info`; half of one, by the state written there. When data
change, samples are made anew, and the tags people gave to images go to the images of the same name.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.atomic import remove_folder
from uda4inst.classes import THING_NAMES
from uda4inst.data.parallel import in_order
from uda4inst.errors import UserError
from workbench.sessions import samples
from workbench.sessions.database import connect
from workbench.sessions.evaluation_views import forget_evaluations
from workbench.sessions.library import fo
from workbench.sessions.reading import Reading
from workbench.sessions.request import FORMAT, DataRequest, OpenSide, open_sides
from workbench.sessions.views import save_data_views

Progress = Callable[[int, int], None]

OURS: Final = "uda4inst"  # key of what is ours in a data set's info
_AT_ONCE: Final = 32  # samples written together


@dataclass(frozen=True, slots=True, eq=False)
class DataSession:
    """A data set that holds what was asked for.

    Args:
        dataset: in FiftyOne.
        summary: as JSON can hold it: name, whether it was built now, counts of each domain, views.
    """

    dataset: fo.Dataset
    summary: Mapping[str, Any]


def open_data_session(
    request: DataRequest,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DataSession:
    """Return the data set of a request, built if it is new, changed, unfinished or to be fresh.

    Args:
        request: which images, and how much of them.
        fresh: build it again, whatever is there.
        workers: processes that read; None for one per core if there are many images.
        progress: called with (images done, images in all) while it is built.

    Raises:
        UserError: a tree cannot be read, the database does not work, the disk is full, another
            process builds the same, or a data set of the name is not ours.
    """
    sides = open_sides(request)
    print_of_data = json.dumps([side.fingerprint() for side in sides])
    connect()
    name = request.name()
    with _sole_builder(name):
        dataset = _load(name)
        built = fresh or dataset is None or not _is_current(dataset, print_of_data)
        if dataset is None:
            dataset = fo.Dataset(name, persistent=True)
        if built:
            _begin(dataset, request, sides, print_of_data)
            _fill(dataset, sides, workers=workers, progress=progress)
            _finish(dataset)
    return DataSession(dataset, summary_of(dataset, built=built))


def _load(name: str) -> fo.Dataset | None:
    """Return our data set of a name, or None where there is none.

    Raises:
        UserError: there is one that is not ours.
    """
    if not fo.dataset_exists(name):
        return None
    dataset = fo.load_dataset(name)
    if OURS not in dataset.info and not _is_blank(dataset):
        raise UserError(
            f"data set {name!r} must be one of this project, got another of that name, which stays "
            "as it is. Rename it in FiftyOne, or name another database in FIFTYONE_DATABASE_DIR."
        )
    return dataset


def _is_blank(dataset: fo.Dataset) -> bool:
    """Whether nothing at all was put into a data set, as when its builder was killed at once."""
    return not (len(dataset) or dataset.info or dataset.list_saved_views() or dataset.tags)


def _is_current(dataset: fo.Dataset, print_of_data: str) -> bool:
    """Whether a data set is whole and holds what lies on the disk now."""
    known = dataset.info.get(OURS, {})
    return known.get("state") == "complete" and known.get("fingerprint") == print_of_data


@contextmanager
def _sole_builder(name: str) -> Iterator[None]:
    """Keep two processes from building one data set.

    Raises:
        UserError: another is at it.
    """
    folder = media_folder(name).parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            f"data set {name!r} must be built by one process, got a second while the first is at "
            "it. Wait until it is done, then open the session again."
        ) from error
    finally:
        os.close(descriptor)


def media_folder(name: str) -> Path:
    """Return where the semantic maps of a data set lie."""
    return Path(fo.config.default_dataset_dir) / name


def _begin(
    dataset: fo.Dataset, request: DataRequest, sides: Sequence[OpenSide], print_of_data: str
) -> None:
    """Empty a data set, having written down what it will be and the tags it had."""
    tags = {**dataset.info.get(OURS, {}).get("tags", {}), **samples.tags_of(dataset)}
    dataset.info[OURS] = {
        "kind": "data",
        "format": FORMAT,
        "state": "building",
        "fingerprint": print_of_data,
        "title": request.title,
        "tags": tags,
        "domains": {
            one.side.domain: {
                "data_set": one.tree.name,
                "root": str(one.tree.root),
                "split": one.tree.split,
                "labels": one.labels,
                "images_in_all": len(one.tree),
            }
            for one in sides
        },
    }
    dataset.description = _description(sides)
    dataset.save()
    forget_evaluations(dataset)
    dataset.clear()
    samples.declare_fields(dataset)
    remove_folder(media_folder(dataset.name))


def _description(sides: Sequence[OpenSide]) -> str:
    """Return the sentence that FiftyOne shows with a data set."""
    if any(one.labels == "diagnostics" for one in sides):
        return "The target's labels are diagnostics: training never sees them."
    return "Images and labels as they lie on the disk."


def _fill(
    dataset: fo.Dataset,
    sides: Sequence[OpenSide],
    *,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Read every image and add it."""
    total, before = sum(len(one.chosen) for one in sides), 0
    tags = dataset.info[OURS]["tags"]
    for one in sides:
        folder = media_folder(dataset.name) / one.side.domain
        folder.mkdir(parents=True)
        read = in_order(Reading(one.tree, one.chosen, folder), len(one.chosen), workers=workers)
        batch = []
        for number, image in enumerate(read, start=1):
            batch.append(samples.to_sample(one, image, tags))
            if len(batch) == _AT_ONCE or number == len(one.chosen):
                _add(dataset, batch)
                batch = []
                if progress is not None:
                    progress(before + number, total)
        before += len(one.chosen)


def _add(dataset: fo.Dataset, batch: Sequence[fo.Sample]) -> None:
    """Add samples.

    Raises:
        UserError: the database cannot take them.
    """
    try:
        dataset.add_samples(batch, validate=False, progress=False)
    except Exception as error:  # of pymongo, as they come
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the database must take all images, got {reason} ({dataset.name}). Free space on the "
            "disk if it is full, then open the session again: what is missing is added."
        ) from error


def _finish(dataset: fo.Dataset) -> None:
    """Save the views, then call the data set complete."""
    save_data_views(dataset)
    dataset.info[OURS] = {**dataset.info[OURS], "state": "complete", "tags": {}}
    dataset.save()


def summary_of(dataset: fo.Dataset, *, built: bool) -> dict[str, Any]:
    """Return what a session holds, as JSON can hold it."""
    known = dataset.info[OURS]
    domains = {}
    for domain, facts in known["domains"].items():
        view = dataset.match(fo.ViewField("domain") == domain)
        counts = {name: view.sum(f"counts.{name}") for name in THING_NAMES}
        domains[domain] = {**facts, "images": len(view), "objects": counts}
    views = {name: len(dataset.load_saved_view(name)) for name in dataset.list_saved_views()}
    return {
        "data_set": dataset.name,
        "title": known["title"],
        "built": built,
        "images": len(dataset),
        "domains": domains,
        "views": views,
    }
