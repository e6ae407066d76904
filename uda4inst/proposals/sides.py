"""Source, target and what to judge by: one split each of the folders that people name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from uda4inst.data.readers import DATASETS, format_class
from uda4inst.errors import UserError
from uda4inst.proposals.folders import PLAIN, Fit, SplitSeen, choose_split, find_fits

Side = Literal["source", "target", "val"]
_FIRST: Final[dict[Side, tuple[str, ...]]] = {  # beginnings of splits' names, the best first
    "source": ("train",),
    "target": ("train",),
    "val": ("val", "test"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody says about a side.

    Args:
        root: its folder.
        format: a key of `DATASETS`; None for the one that fits.
        split: None for the one that its name suggests.
    """

    root: Path
    format: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What was chosen of the folders.

    Args:
        source: labelled.
        target: its labels are never opened.
        val: labelled target images; None where there are none.
    """

    source: SplitSeen
    target: SplitSeen
    val: SplitSeen | None

    @property
    def named_by_people(self) -> tuple[SplitSeen, ...]:
        """Those whose labels are read and have class names of their own."""
        read = (self.source, self.val)
        return tuple(side for side in read if side is not None and side.categories)


def find_side(
    side: Side,
    wanted: Wanted,
    *,
    say: Callable[[str], None],
    choose: Callable[[str, Sequence[str]], str],
) -> SplitSeen:
    """Return what is used of a folder.

    Args:
        side: which it is to be.
        wanted: what was said about it.
        say: told what was seen.
        choose: asked for one of several formats that fit, the likeliest first.

    Raises:
        UserError: nothing fits, or not what was asked for; or the labels that a side needs are not
            there.
    """
    if wanted.format is not None:
        format_class(wanted.format)
    fits = find_fits(wanted.root, split=wanted.split)
    say(f"{side} {wanted.root}: " + ", or ".join(map(str, fits)))
    fit = _choose_fit(fits, side, wanted, choose)
    seen = _choose_split(fit, side, wanted)
    _require_usable(seen, side)
    return seen


def _choose_fit(
    fits: Sequence[Fit], side: Side, wanted: Wanted, choose: Callable[[str, Sequence[str]], str]
) -> Fit:
    by_name = {fit.format: fit for fit in fits}
    if wanted.format is not None and wanted.format not in by_name:
        raise UserError(
            f"{side}'s format must fit its folder ({', '.join(by_name)}), got {wanted.format} "
            f"({wanted.root}). What it lacks: uda4inst data check {wanted.format} {wanted.root}"
        )
    if side == "target":
        usable = sorted(by_name, key=lambda name: not _has_train(by_name[name]))
    else:
        usable = [name for name, fit in by_name.items() if fit.is_labelled] or list(by_name)[:1]
    name = wanted.format or (usable[0] if len(usable) == 1 else choose(side, usable))
    return by_name[name]


def _has_train(fit: Fit) -> bool:
    """Whether a fit has a split to train on by its name; what is everything has no such name."""
    names = [seen for seen in fit.splits if seen.name.startswith(_FIRST["target"])]
    return any(fit.format != PLAIN or (seen.root / seen.name).is_dir() for seen in names)


def _choose_split(fit: Fit, side: Side, wanted: Wanted) -> SplitSeen:
    if wanted.split is not None:
        named = [seen for seen in fit.splits if seen.name == wanted.split]
        if not named:
            raise UserError(
                f"{side}'s split must be one of its folder "
                f"({', '.join(seen.name for seen in fit.splits)}), got {wanted.split!r} "
                f"({wanted.root}, {fit.format})."
            )
        return named[0]
    return choose_split(fit, _FIRST[side], labelled=side != "target") or fit.splits[0]


def _require_usable(seen: SplitSeen, side: Side) -> None:
    """Raise unless a split has what its side needs, and nothing wrong with its files."""
    kind = DATASETS[seen.format]
    if side != "target" and not kind.has_instances:
        raise UserError(
            f"{side} must have labels with instances, got {seen} ({seen.root}, {seen.format}), a "
            "format without. Choose another folder, or a semantic method (docs/methods)."
        )
    if (side != "target" and not seen.is_labelled) or seen.faults_of_images:
        faults = seen.faults_of_images or seen.faults or ("no object is annotated",)
        also = "" if seen.annotations is None else f" --annotations {seen.annotations}"
        needs = "labels with instances" if side != "target" else "its images"
        raise UserError(
            f"{side} must have {needs}, got {seen} ({seen.root}, {seen.format}): {faults[0]}. All "
            f"faults: uda4inst data check {seen.format} {seen.root} --split {seen.name}{also}"
        )


def own_val(target: SplitSeen) -> SplitSeen | None:
    """Return another split of the target's folder to judge by: one with instances, if any."""
    for fit in find_fits(target.root):
        others = tuple(
            seen
            for seen in fit.splits
            if seen.name.startswith(_FIRST["val"]) and seen.name != target.name
        )
        found = choose_split(replace(fit, splits=others), _FIRST["val"], labelled=True)
        if found is not None:
            return found
    return None


def require_different(source: SplitSeen, other: SplitSeen, side: Side) -> None:
    """Raise where two sides are the same images.

    Raises:
        UserError: they are the same split of one folder.
    """
    if source.root.resolve() == other.root.resolve() and source.name == other.name:
        raise UserError(
            f"source and {side} must be different images, got {source.root} for both "
            f"({source.name}). Name another folder, or the splits of this one (--source-split, "
            f"--{side}-split)."
        )
