"""Saved views of a data set, with the names that the pages use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from uda4inst.classes import CATEGORY_GROUPS, THING_NAMES
from workbench.sessions.installed import ASKED
from workbench.sessions.library import fo
from workbench.sessions.things import count_field, things_of

RARE_CLASSES: Final = "rare-class images"
NO_OBJECTS: Final = "images without objects"
WHOLE: Final = "all images"


def save_data_views(dataset: fo.Dataset) -> None:
    """Save the views of a session of data in place of those it had; people's own views stay.

    Each domain, the images of the rare classes, those without any object, and each class that
    occurs with its objects alone. Rare is what is rare in the source, where there is one.
    """
    F = fo.ViewField
    domains = {name: dataset.match(F("domain") == name) for name in dataset.distinct("domain")}
    for domain, shown in domains.items():
        _save(dataset, domain, shown, f"Images of the {domain}.")
    totals = _totals(dataset)
    if rare := rare_classes(_totals(domains.get("source", dataset))):
        shown = dataset.match(F.any([F(count_field(name)) > 0 for name in rare]))
        words = f"Images that show {' or '.join(rare)}, the least frequent of each category group."
        _save(dataset, RARE_CLASSES, shown, words)
    empty = dataset.match(F("objects") == 0)
    _save(dataset, NO_OBJECTS, empty, "Labelled images without an object to learn.")
    for name, total in totals.items():
        if total:
            own = dataset.filter_labels("ground_truth", F("label") == name)
            _save(dataset, f"class {name}", own, f"The objects of {name} alone.")


def save_named_view(dataset: fo.Dataset, names: Collection[str]) -> None:
    """Save the view of the images that were last asked for by name."""
    named = dataset.match(fo.ViewField("image_name").is_in(list(names)))
    _save(dataset, ASKED, named, "Images that were asked for by name.")


def whole_view(dataset: fo.Dataset) -> str:
    """Return the name of the saved view of all images, saved where it is missing.

    FiftyOne's page shows the view that was opened last when an address names none.
    """
    if not dataset.has_saved_view(WHOLE):
        _save(dataset, WHOLE, dataset.view(), "All images and all that is known of them.")
    return WHOLE


def rare_classes(
    totals: Mapping[str, int], groups: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Return the least frequent class of each group, among those that occur at all.

    Args:
        totals: objects of each class.
        groups: class names of every category group; None for people and cycles, vehicles, and
            classes beside the eight.

    Example:
        >>> rare_classes({"car": 5, "bus": 1, "train": 0}, {"vehicle": ("car", "bus", "train")})
        ('bus',)
    """
    if groups is None:
        own = tuple(name for name in totals if name not in THING_NAMES)
        groups = {**CATEGORY_GROUPS, "own": own}
    there = [[name for name in names if totals.get(name, 0) > 0] for names in groups.values()]
    return tuple(min(names, key=lambda name: totals[name]) for names in there if names)


def _totals(images: fo.Dataset | fo.DatasetView) -> dict[str, int]:
    """Return the objects of each class that training learns from."""
    return {name: int(images.sum(count_field(name))) for name in things_of(images).names}


def replace_view(
    dataset: fo.Dataset, name: str, view: fo.DatasetView, description: str
) -> str | None:
    """Save a view in place of that of the name; return the name, or None where nothing is shown."""
    if name in dataset.list_saved_views():
        dataset.delete_saved_view(name)
    if not len(view):
        return None
    dataset.save_view(name, view, description=description)
    return name


def _save(dataset: fo.Dataset, name: str, view: fo.DatasetView, description: str) -> None:
    dataset.save_view(name, view, description=description, overwrite=True)
