"""A data set in FiftyOne of what lies in trees: built, found again, mended, never guessed at.

When data change, samples are made anew, and the tags people gave to images go to the images of the
same name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from uda4inst.atomic import remove_folder
from uda4inst.data.parallel import in_order
from workbench.sessions import samples
from workbench.sessions.building import (
    AT_ONCE,
    COMMON,
    KEY,
    PREDICTED,
    DataSession,
    Progress,
    add_samples,
    description_of,
    image_count,
    load_own,
    media_folder,
    save_info,
    sole_builder,
    view_sizes,
)
from workbench.sessions.database import connect
from workbench.sessions.evaluation_views import forget_evaluations
from workbench.sessions.library import fo
from workbench.sessions.reading import Reading
from workbench.sessions.request import FORMAT, DataRequest, OpenSide, open_sides
from workbench.sessions.things import OWN_CLASSES, count_field, own_of, things_of
from workbench.sessions.views import save_data_views, save_named_view


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
        progress: called while images are added.

    Raises:
        UserError: a tree cannot be read, the database does not work, the disk is full, another
            process builds the same, or a data set of the name is not ours.
    """
    listed = open_sides(request)
    connect()
    name = request.name()
    with sole_builder(name):
        dataset = load_own(name)
        kept = () if dataset is None else dataset.info.get(KEY, {}).get("also", ())
        held = [side.holding(kept) for side in listed]
        sides = [side.holding(request.also) for side in held]
        built = fresh or dataset is None or not _is_current(dataset, _print_of(held))
        if dataset is None:
            dataset = fo.Dataset(name, persistent=True)
        if built:
            _begin(dataset, request, sides)
            _fill(dataset, sides, workers=workers, progress=progress)
            _finish(dataset)
        else:
            _add(dataset, held, sides)
        if request.also:
            save_info(dataset, also=sorted({*kept, *request.also}), fingerprint=_print_of(sides))
            save_named_view(dataset, request.also)
    return DataSession(dataset, summary_of(dataset, built=built))


def _print_of(sides: Sequence[OpenSide]) -> str:
    """Return what changes with the files of the chosen images."""
    return json.dumps([side.fingerprint() for side in sides])


def _is_current(dataset: fo.Dataset, print_of_data: str) -> bool:
    """Whether a data set is whole and holds what lies on the disk now."""
    known = dataset.info.get(KEY, {})
    return known.get("state") == "complete" and known.get("fingerprint") == print_of_data


def _begin(dataset: fo.Dataset, request: DataRequest, sides: Sequence[OpenSide]) -> None:
    """Empty a data set, having written down what it will be and the tags it had."""
    tags = {**dataset.info.get(KEY, {}).get("tags", {}), **samples.tags_of(dataset)}
    for gone in (PREDICTED, COMMON):  # with its images
        dataset.info.pop(gone, None)
    dataset.info[KEY] = {
        "kind": "data",
        "format": FORMAT,
        "state": "building",
        "fingerprint": _print_of(sides),
        "title": request.title,
        "tags": tags,
        OWN_CLASSES: own_of([one.tree.thing_classes for one in sides]),
        "domains": {
            one.side.domain: {
                "data_set": one.tree.name,
                "root": str(one.tree.root),
                "split": one.tree.split,
                "ref": one.side.ref.model_dump(mode="json"),
                "labels": one.labels,
                "images_in_all": len(one.tree),
            }
            for one in sides
        },
    }
    dataset.description = description_of(
        "Images and labels as they lie on the disk.",
        diagnostics=any(one.labels == "diagnostics" for one in sides),
    )
    dataset.save()
    forget_evaluations(dataset)
    dataset.clear()
    samples.declare_fields(dataset)
    remove_folder(media_folder(dataset.name))


def _fill(
    dataset: fo.Dataset,
    sides: Sequence[OpenSide],
    *,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Read every image and add it."""
    total, before = sum(len(one.chosen) for one in sides), 0
    tags = dataset.info[KEY]["tags"]
    for one in sides:
        folder = media_folder(dataset.name) / one.side.domain
        folder.mkdir(parents=True, exist_ok=True)
        read = in_order(Reading(one.tree, one.chosen, folder), len(one.chosen), workers=workers)
        batch = []
        for number, image in enumerate(read, start=1):
            batch.append(samples.to_sample(one, image, tags))
            if len(batch) == AT_ONCE or number == len(one.chosen):
                add_samples(dataset, batch)
                batch = []
                if progress is not None:
                    progress("Adding images", before + number, total)
        before += len(one.chosen)


def _add(dataset: fo.Dataset, held: Sequence[OpenSide], sides: Sequence[OpenSide]) -> None:
    """Add the images that were asked for by name and are not held."""
    for one, before in zip(sides, held, strict=True):
        new = replace(one, chosen=tuple(sorted({*one.chosen}.difference(before.chosen))))
        if new.chosen:
            F, names = fo.ViewField, [one.tree.basename(index) for index in new.chosen]
            own = dataset.match((F("domain") == one.side.domain) & F("image_name").is_in(names))
            dataset.delete_samples(own)  # of a call that was killed before it wrote them down
            _fill(dataset, [new], workers=0, progress=None)
            save_data_views(dataset)


def _finish(dataset: fo.Dataset) -> None:
    """Save the views, then call the data set complete."""
    save_data_views(dataset)
    save_info(dataset, state="complete", tags={})


def summary_of(dataset: fo.Dataset, *, built: bool) -> dict[str, Any]:
    """Return what a session holds, as JSON can hold it."""
    known = dataset.info[KEY]
    domains = {}
    for domain, facts in known["domains"].items():
        view = dataset.match(fo.ViewField("domain") == domain)
        names = things_of(dataset).names
        counts = {name: view.sum(count_field(name)) for name in names}
        domains[domain] = {**facts, "images": len(view), "objects": counts}
    return {
        "data_set": dataset.name,
        "title": known["title"],
        "built": built,
        "images": image_count(dataset),
        "domains": domains,
        "views": view_sizes(dataset),
    }
