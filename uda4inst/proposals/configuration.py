"""The configuration that is proposed for a source, a target and what to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from uda4inst.classes import CATEGORY_GROUPS, EIGHT, NUM_THINGS, ThingClasses
from uda4inst.data.reports.statistics import DatasetStatistics, collect_statistics
from uda4inst.data.tree import ImageTree
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap, MapEntry, folded, read_class_map
from uda4inst.proposals.class_names import propose_entries, to_class_map
from uda4inst.proposals.commented import Because, Values, plain
from uda4inst.proposals.fitting import Scale, Sizes, fit_scale, loader_processes
from uda4inst.proposals.folders import PLAIN, SplitSeen
from uda4inst.proposals.sides import Sides
from uda4inst.training.gpu import Card

_COUNTED: Final = 200  # source images whose labels are read


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A configuration with its reasons, and what it does not settle.

    Args:
        values: nested as a configuration is.
        entries: of the class map beside it; none where no names need one.
        unknown: what could not be found out, a sentence or two each.
        note: what is trained, for people.
        own: classes beside the eight.
    """

    values: Values
    entries: tuple[MapEntry, ...]
    unknown: tuple[str, ...]
    note: str
    own: tuple[str, ...] = ()


def proposed_map(sides: Sides, things: ThingClasses = EIGHT) -> tuple[MapEntry, ...]:
    """Return a first class map for the names in the annotation files; none where there are none.

    Raises:
        UserError: own classes are no names there.
    """
    files = {_file_of(side): dict(side.categories) for side in sides.named_by_people}
    return propose_entries(files, things)


def propose(
    sides: Sides,
    *,
    card: Card | None,
    name: str,
    map_file: Path,
    is_there: bool = False,
    own: Sequence[str] = (),
) -> Proposal:
    """Look at the images and labels of the sides and return a configuration for them.

    Args:
        sides: the data sets.
        card: the GPU to fit; None for a CPU.
        name: of the run.
        map_file: where the class map lies, or is going to if annotation files have names.
        is_there: whether it is there.
        own: classes to learn beside the eight, by their names in annotation files.

    Raises:
        UserError: a side cannot be opened, or the source shows no object; no name in annotation
            files resembles any of the eight; the class map cannot be read, or is for nothing; the
            card is too small.
    """
    things = _own_things(own, is_there=is_there)
    entries = () if is_there else proposed_map(sides, things)
    names = to_class_map(entries, path=str(map_file), things=things)
    if is_there:
        names = _read_map(map_file, sides)
    source = sides.source.open(domain="source", class_map=_for(sides.source, names))
    val = sides.val and sides.val.open(domain="target", class_map=_for(sides.val, names))
    statistics = _counted(source)
    groups = _groups(statistics, card, names.things)
    data: dict[str, Any] = {
        "source": _ref(sides.source, map_file if _for(sides.source, names) else None),
        "target": _target_ref(sides.target),
        "val": _val_ref(sides, map_file if sides.val and _for(sides.val, names) else None),
    }
    method: dict[str, Any] = {"name": Because("uda4inst", "The paper's method."), "groups": groups}
    if names.things.own:
        method["own_classes"] = Because(
            list(names.things.own), "Beside the eight; as the class map has them under own."
        )
    sizes = Sizes.of(source), Sizes.of(sides.target.images)
    base = {"data": plain(data), "method": plain(method)}
    scale = fit_scale(base, *sizes, card)
    data |= _crop_values(scale, *sizes) | {"workers": loader_processes(card)}
    values: Values = {
        "run": {"name": Because(name, "The run's folder in runs/; it must be new.")},
        "data": data,
        "method": {
            **method,
            **scale.method,
            "pool": {**scale.pool, "rare_classes": propose_rare(statistics, len(source))},
        },
        **scale.values,
    }
    unknown = (*_about_classes(statistics, source), *_about_data(sides, val, entries, card))
    return Proposal(values, entries, unknown, scale.note, names.things.own)


def _own_things(names: Sequence[str], *, is_there: bool) -> ThingClasses:
    """Return the classes that are asked for."""
    if names and is_there:
        raise UserError(
            "--own must be left out with --class-map, whose own list names the classes, got "
            f"{', '.join(names)}."
        )
    try:
        return ThingClasses(tuple(folded(name) for name in names))
    except ValueError as error:
        raise UserError(f"--own: {error}.") from error


def _read_map(path: Path, sides: Sides) -> ClassMap:
    """Return a class map that is there, for names in the annotation file of a side."""
    if not sides.named_by_people:
        raise UserError(
            f"class map must be for names in an annotation file, got {path} and no such file "
            "on either labelled side. Leave --class-map out; for data sets whose classes are the "
            "eight, set data.source.class_map in the configuration."
        )
    return read_class_map(path)


def _counted(source: ImageTree) -> DatasetStatistics:
    """Return what some images of the source show, of which there must be something."""
    found = collect_statistics(source, limit=_COUNTED)
    if not found.instances:
        raise UserError(
            f"source must show objects of the eight classes, got none in {found.images} of its "
            f"{len(source)} images ({source.root}). Choose another source, or mend its class map."
        )
    return found


def _for(side: SplitSeen, class_map: ClassMap) -> ClassMap | None:
    """Return the class map of a side; those that the formats name have none."""
    return class_map if side.categories else None


def _file_of(side: SplitSeen) -> str:
    """Return the annotation file of a side, for remarks."""
    return f"{side.root.name} {side.name}"


def _ref(side: SplitSeen, map_file: Path | None) -> dict[str, Because]:
    """Return format, root and split of a side, and what else its reading needs."""
    ref = {
        "format": Because(side.format, f"The layout of the folder. Seen in it: {side}."),
        "root": Because(str(side.root), "As it was given; from where uda4inst is called."),
        "split": Because(side.name, "What of it is used."),
    }
    if side.annotations is not None:
        ref["annotations"] = Because(side.annotations, "The annotation file, from the root.")
    if map_file is not None:
        ref["class_map"] = Because(
            str(map_file), "Which class of ours each name of the file is. Yours to edit."
        )
    return ref


def _target_ref(side: SplitSeen) -> dict[str, Because]:
    has_labels = "Its labels are never opened." if side.is_labelled else "It needs no labels."
    auto = (
        "Where no pseudo-label may lie: auto takes ego_vehicle.png in the root (0 on the own car), "
        "and Cityscapes' shape on images of its format; none: nowhere."
    )
    ref = _ref(side, None)
    ref["format"] = Because(side.format, f"{ref['format'].why} {has_labels}")
    return ref | {"ego_vehicle": Because("auto", auto)}


def _val_ref(sides: Sides, map_file: Path | None) -> dict[str, Because]:
    if sides.val is not None:
        return _ref(sides.val, map_file)
    return {
        "format": Because(
            PLAIN, "No labelled target images were found: adapted to, and not evaluated on."
        ),
        "root": Because(str(sides.target.root), "The target's; nothing is read of it."),
        "split": Because("train", "Everything; nothing is read of it."),
    }


def _crop_values(scale: Scale, source: Sizes, target: Sizes) -> dict[str, Because]:
    crop = scale.crop
    (height, width), (high, wide) = source.smallest, target.smallest
    seen = (
        f"The smallest of {source.looked_at} source images is {height}x{width}, of "
        f"{target.looked_at} target images {high}x{wide}"
    )
    return {
        "crop": Because(list(crop.size), f"{seen}: no larger than the target, in steps of 32."),
        "short_sides": Because(
            list(crop.short_sides),
            f"From the crop's height to {crop.short_sides[-1] / crop.size[0]:.1f} of it (paper: 2, "
            "with a crop of 1024; ToyStreets' presets: 1.2).",
        ),
        "long_side_max": Because(
            crop.long_side_max,
            "Twice the crop's height (paper), or what the widest images need to keep that height.",
        ),
    }


def _groups(statistics: DatasetStatistics, card: Card | None, things: ThingClasses) -> Because:
    """Return in how many networks the classes are learned."""
    if things.own:
        return Because("one", "One network; lists of classes, own ones among them, make several.")
    if card is None:
        return Because("one", "One network for all classes; two (paper) take twice the time.")
    if len(statistics.rare_classes()) < 2:
        return Because("one", "The source shows classes of one of the paper's two groups alone.")
    return Because("two", "People and cycles, vehicles: the paper's choice, in twice the time.")


def propose_rare(statistics: DatasetStatistics, images: int) -> Because:
    """Return the pool's classes: the rarest of each group.

    The only class of its group is that, too, and is left out where there are many of it.

    Args:
        statistics: of the source.
        images: of the source, counted or not.
    """
    counts = ", ".join(f"{c.name} {c.instances}" for c in statistics.classes if c.instances)
    kinds = "people and cycles, and of vehicles"
    if len(statistics.classes) > NUM_THINGS:
        kinds = "people and cycles, of vehicles, and of own classes"
    rarest = list(statistics.rare_classes().values())
    there = {c.name: c.instances for c in statistics.classes if c.instances}
    groups = [*CATEGORY_GROUPS.values(), tuple(c.name for c in statistics.classes[NUM_THINGS:])]
    alone = [names[0] for group in groups if len(names := [n for n in group if n in there]) == 1]
    frequent = [name for name in alone if there[name] > median(there.values())]
    rare = [name for name in rarest if name not in frequent] or rarest
    left_out = f", without {', '.join(frequent)}, of which there are many" if rare != rarest else ""
    return Because(
        rare,
        f"The rarest of {kinds}{left_out}, in {statistics.images} of {images} source images: "
        f"{counts}.",
    )


def _about_classes(statistics: DatasetStatistics, source: ImageTree) -> list[str]:
    absent = [c.name for c in statistics.classes if not c.instances]
    if not absent:
        return []
    where = f"{statistics.images} of {len(source)} source images"
    return [f"No {', '.join(absent)} in {where}: what the source never shows is not learned."]


def _about_data(
    sides: Sides, val: ImageTree | None, entries: Sequence[MapEntry], card: Card | None
) -> list[str]:
    """Return what the images and labels do not tell."""
    unknown: list[str] = []
    unnamed = [entry.name for entry in entries if entry.ours is None]
    if unnamed:
        unknown.append(
            f"What {', '.join(map(repr, unnamed))} are: background, unless the class map says more."
        )
    if guesses := [f"{e.name!r} ({e.ours})" for e in entries if "a guess" in e.remark]:
        unknown.append(f"Whether these guesses are right: {', '.join(guesses)}.")
    for side in sides.named_by_people:
        if entries and not any(e.ours == "rider" for e in entries):
            unknown.append(
                f"Whether riders are persons in {_file_of(side)}, which has no name for them: if "
                "the other side has riders, map rider to person there by a class map of its own."
            )
    if val is None:
        unknown.append(
            "How good it gets: there are no labelled target images. Give some by --val, or choose "
            "a checkpoint without labels (docs/choosing.md)."
        )
    if card is None:
        unknown.append("What your GPU would allow: say its memory by --gpu-memory GIB.")
    else:
        unknown.append("How long it takes on your card: uda4inst bench measures images a second.")
    return unknown
