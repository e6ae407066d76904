"""Saved views of what training saw, with the names that the pages use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.sessions.building import KEY, save_info
from workbench.sessions.library import fo
from workbench.sessions.seen.images import (
    DETECTIONS,
    DOMAINS,
    DROPPED,
    IGNORED,
    INSTANCES,
    KEPT,
    PSEUDO_LABELS,
)
from workbench.sessions.seen.pixel_fields import Named, pixel_views
from workbench.sessions.seen.truth import RIGHT, WRONG
from workbench.sessions.things import count_field, things_of

WRONG_PSEUDO_LABELS: Final = "pseudo-labels wrong at a high score"
_PASTED: Final = {"pool": "the pool", "source": "the source", "pseudo-labels": "pseudo-labels"}
_WORDS: Final = {
    "source": "Source crops as training saw them.",
    "target": "Target crops with what the teacher found in them.",
    "S2T": "Target crops with source objects, and entries of the pool, pasted in.",
    "T2S": "Source crops with pseudo-labels pasted in.",
    "pool": "Entries of the rare-class pool, each once.",
}
_WORDS_OF_PIXELS: Final = {
    "target": "Target crops with what the teacher says of their pixels.",
    "S2T": "Target crops with classes of the source pasted in.",
    "T2S": "Source crops with sure pixels of the target pasted in.",
}


def save_seen_views(dataset: fo.Dataset) -> None:
    """Save the views that are new, and take out those that would show nothing any more.

    What a name stands for does not change with what is added, so views that are there stay, and so
    do people's own.
    """
    there, own = set(dataset.list_saved_views()), set(dataset.info[KEY].get("views", ()))
    made = [named for named in _views(dataset) if len(named[1])]
    for name in (own & there) - {name for name, _, _ in made}:
        dataset.delete_saved_view(name)
    for name, view, description in made:
        if name not in there:
            dataset.save_view(name, view, description=description)
    save_info(dataset, views=[name for name, _, _ in made])


def forget_seen_views(dataset: fo.Dataset) -> None:
    """Delete all views that were made here, as before a data set is made anew."""
    own = dataset.info.get(KEY, {}).get("views", ())
    for name in set(own) & set(dataset.list_saved_views()):
        dataset.delete_saved_view(name)


def step_view(step: int) -> str:
    """Return the name of the view of a snapshot."""
    return f"step {step}"


def _views(dataset: fo.Dataset) -> Iterator[Named]:
    """Yield name, view and description of all views."""
    F = fo.ViewField
    learns_pixels = dataset.info[KEY].get("labels") == "semantic"
    words = {**_WORDS, **_WORDS_OF_PIXELS} if learns_pixels else _WORDS
    for domain in DOMAINS:
        yield domain, dataset.match(F("domain") == domain), words[domain]
    yield from pixel_views(dataset) if learns_pixels else _label_views(dataset)
    for group in sorted(name for name in dataset.distinct("group") if name):
        yield f"group {group}", dataset.match(F("group") == group), "Of one network alone."
    for step in sorted({facts["step"] for facts in dataset.info[KEY]["snapshots"].values()}):
        shown = dataset.match((F("step") == step) | F("held_at").contains(step))
        shown = shown.sort_by([("step", -1), ("id", 1)])  # what waits in the pool has none
        yield step_view(step), shown, "One snapshot, with the pool as it was then."


def _label_views(dataset: fo.Dataset) -> Iterator[Named]:
    """Yield the views of some objects alone."""
    F = fo.ViewField
    never = dataset.match((F("domain") == "pool") & (F("times_drawn") == 0))
    yield "pool entries never drawn", never, "Entries that were not pasted from the pool yet."
    for status in (KEPT, IGNORED, DROPPED):
        view = dataset.filter_labels(DETECTIONS, F("status") == status)
        view = view.exclude_fields(PSEUDO_LABELS)
        yield f"{status} pseudo-labels", view, f"The teacher's detections that were {status}."
    mixed = dataset.match(F("domain") != "pool")
    for origin, words in _PASTED.items():
        view = mixed.filter_labels(INSTANCES, F("origin") == origin)
        yield f"objects pasted from {words}", view, f"Mixed images, objects from {words} alone."
    view = dataset.filter_labels(PSEUDO_LABELS, F("verdict") == WRONG)
    words = "Diagnostics: kept, yet no object of its class has an IoU of .5 or more with it."
    yield WRONG_PSEUDO_LABELS, view.exclude_fields(DETECTIONS), words
    view = dataset.filter_labels(DETECTIONS, (F("verdict") == RIGHT) & (F("status") != KEPT))
    view = view.exclude_fields(PSEUDO_LABELS)
    yield "right detections not kept", view, "Diagnostics: right, and yet ignored or dropped."
    for name in things_of(dataset).names:
        is_class = F("label") == name
        view = dataset.filter_labels(INSTANCES, is_class, only_matches=False)
        for field in (PSEUDO_LABELS, DETECTIONS):
            view = view.filter_labels(field, is_class, only_matches=False)
        yield f"class {name}", view.match(F(count_field(name)) > 0), f"The objects of {name} alone."
