"""Entries of the rare-class pool: each stands once, with the snapshots in which it waited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from workbench.sessions.building import add_samples
from workbench.sessions.library import fo
from workbench.sessions.seen import samples
from workbench.sessions.seen.reading import StoredSnapshot
from workbench.stores.groups import group_text

_HISTORY: Final = ("held_at", "drawn_at")  # snapshots, and how often it was drawn by then
_IN_POOL = fo.ViewField("domain") == "pool"


def add_entries(
    dataset: fo.Dataset, snapshot: StoredSnapshot, tags: Mapping[str, list[str]]
) -> None:
    """Add the entries that are new, and write of the others that they were still there."""
    step = snapshot.place.step
    entries = {
        samples.place_of(snapshot, image): image
        for image in snapshot.images
        if image.domain == "pool"
    }
    view = dataset.match(_IN_POOL & fo.ViewField("place").is_in(list(entries)))
    histories: dict[str, list[tuple[int, int]]] = {}
    for sample_id, place, *lists in zip(
        *view.values(["id", "place", "held_at", "drawn_at"]), strict=True
    ):
        times: Any = entries.pop(place).facts["times_drawn"]
        others = [pair for pair in zip(*lists, strict=True) if pair[0] != step]
        histories[sample_id] = sorted([*others, (step, times)])
    _write(dataset, histories)
    new = [samples.to_sample(snapshot, image, tags) for image in entries.values()]
    if new:
        add_samples(dataset, new)


def keep_steps(dataset: fo.Dataset, steps: Mapping[str, set[int]]) -> None:
    """Forget all snapshots but some; entries that waited in none of them are taken out.

    Args:
        dataset: of what training saw.
        steps: of the snapshots, by the network's group.
    """
    known = {group_text(group) or None: own for group, own in steps.items()}
    view = dataset.match(_IN_POOL)
    histories: dict[str, list[tuple[int, int]]] = {}
    for sample_id, group, *lists in zip(
        *view.values(["id", "group", "held_at", "drawn_at"]), strict=True
    ):
        history = list(zip(*lists, strict=True))
        kept = [pair for pair in history if pair[0] in known.get(group, ())]
        if kept != history:
            histories[sample_id] = kept
    dataset.delete_samples([sample_id for sample_id, kept in histories.items() if not kept])
    _write(dataset, {sample_id: kept for sample_id, kept in histories.items() if kept})


def _write(dataset: fo.Dataset, histories: Mapping[str, list[tuple[int, int]]]) -> None:
    """Write (snapshot, times drawn by then) of entries by their id."""
    if not histories:
        return
    columns = {
        "held_at": {one: [step for step, _ in pairs] for one, pairs in histories.items()},
        "drawn_at": {one: [times for _, times in pairs] for one, pairs in histories.items()},
        "times_drawn": {one: pairs[-1][1] for one, pairs in histories.items()},
    }
    for name, values in columns.items():
        dataset.set_values(name, values, key_field="id")
