"""What training saw of a run, in FiftyOne: the images of its snapshots with all that is known.

One data set a run. A snapshot is added once: a run that went on gets its new ones, those that were
written anew take the place of the former, and those that made room on the disk stay here. Which
snapshots are whole stands in the data set's `info`; what belongs to no such snapshot was left by a
killed session and is taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from uda4inst.atomic import remove_folder
from uda4inst.classes import SEMANTIC_CLASSES
from uda4inst.data.parallel import in_order
from workbench.sessions.building import (
    KEY,
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
from workbench.sessions.library import fo
from workbench.sessions.samples import tags_of
from workbench.sessions.seen import pool, samples
from workbench.sessions.seen.images import (
    DETECTIONS,
    DOMAINS,
    DROPPED,
    IGNORED,
    KEPT,
    SHARES,
    field_name,
)
from workbench.sessions.seen.reading import SeenReading, StoredSnapshot, folder_of, min_valid_share
from workbench.sessions.seen.request import SeenRequest, SnapshotPlace
from workbench.sessions.seen.truth import TargetTruth
from workbench.sessions.seen.views import forget_seen_views, save_seen_views
from workbench.sessions.things import OWN_CLASSES, count_field, things_of

Held = dict[str, dict[str, Any]]  # group, step and fingerprint of a snapshot, by its key


def open_seen_session(
    request: SeenRequest, *, fresh: bool = False, progress: Progress | None = None
) -> DataSession:
    """Return the data set of what training saw, with what is new or changed added.

    Args:
        request: which run, and how much of it.
        fresh: build it again, whatever is there.
        progress: called while snapshots are added.

    Raises:
        UserError: a snapshot cannot be read, the database does not work, the disk is full, another
            process builds the same, or a data set of the name is not ours.
    """
    wanted = request.places()
    connect()
    name = request.name()
    with sole_builder(name):
        dataset = load_own(name)
        if dataset is None:
            dataset = fo.Dataset(name, persistent=True)
        known = dataset.info.get(KEY, {})
        if fresh or known.get("run") != request.identity():
            _begin(dataset, request)
        held = _held(dataset)
        new = [place for place in wanted if _print_of(held, place.key) != place.fingerprint]
        gone = _gone(held, wanted, request) | {place.key for place in new}
        is_whole = dataset.info[KEY]["state"] == "complete"
        if new or gone or not is_whole:
            _write(dataset, request, new, gone, progress=progress)
    return DataSession(dataset, _summary(dataset, added=len(new)))


def _held(dataset: fo.Dataset) -> Held:
    """Return the snapshots that are whole."""
    return {key: dict(facts) for key, facts in dataset.info[KEY]["snapshots"].items()}


def _print_of(held: Held, key: str) -> str | None:
    return held[key]["fingerprint"] if key in held else None


def _gone(held: Held, wanted: Sequence[SnapshotPlace], request: SeenRequest) -> set[str]:
    """Return the held snapshots that are no longer to be shown.

    Those older than all on the disk have only made room; others were cut by a resumed run, or are
    no more among those that a limit leaves.
    """
    if request.step is not None:
        return set()
    keys = {place.key for place in wanted}
    if request.limit is not None:
        return held.keys() - keys
    oldest: dict[str, int] = {}
    for place in wanted:
        oldest.setdefault(place.group, place.step)
    return {
        key
        for key, facts in held.items()
        if key not in keys and facts["step"] > oldest.get(facts["group"], facts["step"])
    }


def _begin(dataset: fo.Dataset, request: SeenRequest) -> None:
    """Empty a data set, having written down what it will be and the tags it had."""
    tags = {**dataset.info.get(KEY, {}).get("tags", {}), **tags_of(dataset, ["place"])}
    forget_seen_views(dataset)
    dataset.info[KEY] = {
        "kind": "training",
        "state": "building",
        "run": request.identity(),
        "labels": request.labels(),
        OWN_CLASSES: list(request.things().own),
        "title": request.title,
        "path": str(request.run.path.resolve()),
        "snapshots": {},
        "tags": tags,
    }
    dataset.description = description_of(
        f"What training saw of {request.title}: the images of its snapshots.",
        diagnostics=request.target_labels,
    )
    dataset.save()
    dataset.clear()
    samples.declare_fields(dataset, request.labels())
    remove_folder(media_folder(dataset.name))


def _write(
    dataset: fo.Dataset,
    request: SeenRequest,
    new: Sequence[SnapshotPlace],
    gone: Collection[str],
    *,
    progress: Progress | None,
) -> None:
    """Take out what is not to be there, add what is new, and save the views."""
    networks = request.networks()
    shares = {network.group: min_valid_share(network.run) for network in networks}
    truths = None
    if request.target_labels and new:
        truths = {network.group: TargetTruth(network.run) for network in networks}
    before = _held(dataset)
    media = media_folder(dataset.name)
    folders = [
        folder_of(media, before[key]["group"], before[key]["step"]) for key in gone if key in before
    ]
    held = {key: facts for key, facts in before.items() if key not in gone}
    F = fo.ViewField
    outdated = dataset.match((F("domain") != "pool") & ~F("snapshot").is_in(list(held)))
    tags = {**dataset.info[KEY]["tags"], **tags_of(outdated, ["place"])}
    save_info(dataset, state="building", snapshots=held, tags=tags)
    dataset.delete_samples(outdated)
    pool.keep_steps(dataset, _steps(held))
    for folder in folders:
        remove_folder(folder)
    samples.declare_metrics(dataset, [place.metrics for place in new])
    read = in_order(SeenReading(new, media, shares, truths), len(new))
    for number, snapshot in enumerate(read, start=1):
        if snapshot is not None:
            _add(dataset, snapshot, tags)
            place = snapshot.place
            facts = {"group": place.group, "step": place.step, "fingerprint": place.fingerprint}
            held[place.key] = facts
            save_info(dataset, snapshots=held)
        if progress is not None:
            progress("Adding snapshots", number, len(new))
    save_seen_views(dataset)
    save_info(dataset, state="complete", tags={})


def _add(dataset: fo.Dataset, snapshot: StoredSnapshot, tags: Mapping[str, list[str]]) -> None:
    """Add the images of a snapshot, and what is new of the pool."""
    images = [image for image in snapshot.images if image.domain != "pool"]
    add_samples(dataset, [samples.to_sample(snapshot, image, tags) for image in images])
    pool.add_entries(dataset, snapshot, tags)


def _steps(held: Held) -> dict[str, set[int]]:
    """Return the steps of snapshots by group."""
    steps: dict[str, set[int]] = {}
    for facts in held.values():
        steps.setdefault(facts["group"], set()).add(facts["step"])
    return steps


def _summary(dataset: fo.Dataset, *, added: int) -> dict[str, Any]:
    """Return what a session holds, as JSON can hold it."""
    known = dataset.info[KEY]
    F = fo.ViewField
    views = {domain: dataset.match(F("domain") == domain) for domain in DOMAINS}
    summary = {
        "data_set": dataset.name,
        "title": known["title"],
        "run": known["path"],
        "built": added > 0,
        "images": image_count(dataset),
        "snapshots": list(known["snapshots"]),
        "added": added,
        "domains": {
            domain: {"images": len(view), **_classes_in(view)}
            for domain, view in views.items()
            if len(view)
        },
        "views": view_sizes(dataset),
    }
    if dataset.has_sample_field(DETECTIONS):
        fates = dataset.count_values(f"{DETECTIONS}.detections.status")
        summary["detections"] = {word: fates.get(word, 0) for word in (KEPT, IGNORED, DROPPED)}
    return summary


def _classes_in(view: fo.DatasetView) -> dict[str, dict[str, float]]:
    """Return the objects of each class, or of pixels the mean share of each class."""
    if view.has_sample_field(samples.COUNTS):
        names = things_of(view).names
        return {"objects": {name: view.sum(count_field(name)) or 0 for name in names}}
    names = {c.name: f"{SHARES}.{field_name(c.name)}" for c in SEMANTIC_CLASSES}
    return {"shares": {name: view.mean(path) or 0.0 for name, path in names.items()}}
