"""A first class map for the categories of annotation files, by names and what they resemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uda4inst.classes import EIGHT, THING_NAMES, ThingClasses
from uda4inst.data.readers.coco_folder import label_of
from uda4inst.data.records import shorten
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap, MapEntry, folded


def propose_entries(
    categories: Mapping[str, Mapping[str, int]], things: ThingClasses = EIGHT
) -> tuple[MapEntry, ...]:
    """Return an entry for every category: those with a class, then guesses, then the others.

    Args:
        categories: file -> category -> annotations; one name in several files is one entry.
        things: the classes there are to be; own ones are known by their names alone.

    Raises:
        UserError: no category has the name of an own class.
    """
    counts: dict[str, dict[str, int]] = {}
    spelled: dict[str, str] = {}
    for file, of_file in categories.items():
        for name, count in of_file.items():
            key = folded(name)
            if key:
                spelled.setdefault(key, name)
                counts.setdefault(key, {}).setdefault(file, 0)
                counts[key][file] += count
    if absent := [name for name in things.own if name not in counts]:
        raise UserError(
            f"own classes must be names in the annotation files, got {', '.join(absent)}. There "
            f"are {shorten(spelled.values()) or 'none'}."
        )
    entries = [_entry(spelled[key], of_files, things) for key, of_files in counts.items()]
    return tuple(sorted(entries, key=_rank))


def _entry(name: str, counts: Mapping[str, int], things: ThingClasses) -> MapEntry:
    seen = ", ".join(f"{count} in {file}" for file, count in counts.items())
    if folded(name) in things.own:
        return MapEntry(name, folded(name), seen)
    label = label_of(name)
    if label is not None:
        return MapEntry(name, THING_NAMES[label], seen)
    guess = _guess(folded(name))
    if guess is not None:
        return MapEntry(name, THING_NAMES[guess], f"{seen}; a guess: check it")
    return MapEntry(name, None, f"{seen}; nothing like it among the eight")


def _guess(name: str) -> int | None:
    """Return the class of a name in the plural, or of its last word: "delivery vans" is a car."""
    last = name.rpartition(" ")[2]
    candidates = [form for word in (name, last) for form in (word, *_singulars(word))]
    return next((label for form in candidates if (label := label_of(form)) is not None), None)


def _singulars(word: str) -> list[str]:
    return [word.removesuffix(end) for end in ("s", "es") if word.endswith(end)]


def _rank(entry: MapEntry) -> tuple[bool, bool, int]:
    known = (*THING_NAMES, entry.ours)  # own classes behind
    place = known.index(entry.ours)
    return entry.ours is None, "a guess" in entry.remark, place


def to_class_map(
    entries: Sequence[MapEntry], *, path: str = "", things: ThingClasses = EIGHT
) -> ClassMap:
    """Return the class map that entries would be once written."""
    return ClassMap(tuple(sorted((folded(e.name), e.ours) for e in entries)), path, things)
