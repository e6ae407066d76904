"""Which formats a folder fits, and what was seen of each; nothing but COCO's JSON is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uda4inst.data.readers import DATASETS
from uda4inst.data.readers.coco_file import read_categories
from uda4inst.data.records import shorten
from uda4inst.data.reports.check_files import open_splits, splits_of
from uda4inst.data.tree import DatasetOptions, ImageTree
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap
from uda4inst.structures import Domain

COCO: Final = "coco"
PLAIN: Final = "images"
_PREFIX: Final = "instances_"
_SPLITS: Final = ("train", "val", "test")
# Annotation files are few in a folder; more JSON than this is an image's each.
_MOST_JSON: Final = 20
_NEAR: Final = 50  # folders below that are looked at for a hint


@dataclass(frozen=True, slots=True, eq=False)
class SplitSeen:
    """One split of a folder in one format.

    Args:
        format: a key of `DATASETS`.
        root: the folder.
        name: of the split.
        images: its images, without labels.
        faults: what keeps labels out: the first lines of messages.
        faults_of_images: what keeps images out.
        is_labelled: whether instances can be read.
        annotations: COCO's annotation file from the root, where its name is not the usual one.
        categories: COCO's own names and how many annotations each has.
    """

    format: str
    root: Path
    name: str
    images: ImageTree
    faults: tuple[str, ...] = ()
    faults_of_images: tuple[str, ...] = ()
    is_labelled: bool = False
    annotations: str | None = None
    categories: tuple[tuple[str, int], ...] = ()

    def open(self, *, domain: Domain, class_map: ClassMap | None) -> ImageTree:
        """Open the split with its labels.

        Raises:
            UserError: see `ImageTree`.
        """
        options = DatasetOptions(annotations=_path(self.annotations), class_map=class_map)
        return DATASETS[self.format](self.root, self.name, domain=domain, options=options)

    def __str__(self) -> str:
        """Return a few words for people."""
        count = len(self.images)
        kind = DATASETS[self.format]
        labels = "with instances" if self.is_labelled else "without instances"
        if self.is_labelled and self.categories:
            labels = f"with {sum(n for _, n in self.categories)} annotations"
        elif not self.is_labelled and kind.has_labels and not kind.has_instances:
            labels = "with semantic classes alone"
        return f"{self.name}: {count} {'image' if count == 1 else 'images'} {labels}"


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A format that a folder has the layout of.

    Args:
        format: a key of `DATASETS`.
        splits: those that were found, at least one.
    """

    format: str
    splits: tuple[SplitSeen, ...]

    @property
    def is_labelled(self) -> bool:
        """Whether a split has instances."""
        return any(split.is_labelled for split in self.splits)

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.format} ({'; '.join(map(str, self.splits))})"


def find_fits(root: Path, *, split: str | None = None) -> tuple[Fit, ...]:
    """Return the formats that a folder fits, the likeliest first; a plain folder is the last.

    Args:
        root: the folder.
        split: one to look for beside the usual ones.

    Raises:
        UserError: it is missing, unreadable or empty, or fits no format; the message says what was
            missing for each, and which folder near it fits.
    """
    _require_content(root)
    fits: list[Fit] = []
    refusals: dict[str, str] = {}
    for name in DATASETS:
        found = _look(name, root, split, refusals)
        if found:
            fits.append(Fit(name, found))
    if not fits:
        raise UserError(
            f"folder must be a data set in one of the formats, got none that fits ({root})."
            f"{hint(root)}\n" + "\n".join(f"{name}: {why}" for name, why in refusals.items())
        )
    return tuple(sorted(fits, key=lambda fit: (fit.format == PLAIN, not fit.is_labelled)))


def _require_content(root: Path) -> None:
    """Raise unless a folder is there, can be listed and holds something."""
    try:
        is_empty = next(root.iterdir(), None) is None
    except OSError as error:
        got = error.strerror.lower() if error.strerror else str(error)
        raise UserError(
            f"data must lie in a folder that can be read, got {got} ({root}). Choose another, or "
            "mend its permissions."
        ) from error
    if is_empty:
        raise UserError(f"folder must hold images, got an empty one ({root}). Choose another.")


def _look(
    name: str, root: Path, split: str | None, refusals: dict[str, str]
) -> tuple[SplitSeen, ...]:
    """Return the splits that a folder has in a format; say why where there are none."""
    if name == COCO:
        return tuple(_coco_splits(root, refusals))
    return tuple(_splits(name, root, split, refusals))


def _splits(
    name: str, root: Path, asked: str | None, refusals: dict[str, str]
) -> Iterator[SplitSeen]:
    kind = DATASETS[name]
    opened = open_splits(kind, root, None, asked_for=asked)
    present = splits_of(kind, opened)
    if asked is not None and (images := opened[asked].images) is not None:
        present = present | {asked: images}
    for split, images in present.items():
        of_images = tuple(_first_line(finding.message) for finding in opened[split].findings)
        fault = _why_unlabelled(kind, root, split) if kind.has_labels else ""
        yield SplitSeen(
            name,
            root,
            split,
            images,
            faults=(fault,) if fault else (),
            faults_of_images=of_images,
            is_labelled=kind.has_instances and not fault,
        )
    if not present:
        first = opened[kind.default_split].findings
        refusals[name] = _first_line(first[0].message) if first else "no image was found"


def _why_unlabelled(kind: type[ImageTree], root: Path, split: str) -> str:
    """Return why the labels of a split cannot be opened; nothing where they can."""
    try:
        kind(root, split)
    except UserError as error:
        return _first_line(str(error))
    return ""


def _coco_splits(root: Path, refusals: dict[str, str]) -> Iterator[SplitSeen]:
    refusals[COCO] = "no annotation file (JSON) was found"
    known: dict[Path, dict[str, int]] = {}
    for path in _json_files(root):
        try:
            known[path] = read_categories(path)
        except UserError as error:
            refusals[COCO] = _first_line(str(error))
    in_folder = Counter(path.parent for path in known)
    for path, categories in known.items():
        name, own = _split_of(path.relative_to(root), is_alone=in_folder[path.parent] == 1)
        options = DatasetOptions(annotations=_path(own))
        try:
            images = DATASETS[COCO](root, name, require_labels=False, options=options)
        except UserError as error:
            refusals[COCO] = _first_line(str(error))
            continue
        yield SplitSeen(
            COCO,
            root,
            name,
            images,
            is_labelled=any(categories.values()),
            annotations=own,
            categories=tuple(categories.items()),
        )


def _json_files(root: Path) -> Iterator[Path]:
    """Yield what may be annotation files: JSON in the root or a folder of it, where it is rare."""
    for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        try:
            found = sorted(p for p in folder.glob("*.json") if not p.name.startswith("."))
        except OSError:
            continue
        if len(found) <= _MOST_JSON:
            yield from found


def _split_of(path: Path, *, is_alone: bool) -> tuple[str, str | None]:
    """Return the split of an annotation file, and its path where the split does not tell it.

    Args:
        path: of the file, from the root.
        is_alone: whether it is the only one of its folder, whose name then says the split.
    """
    stem = path.stem.removeprefix(_PREFIX)
    if path.parent.as_posix() == "annotations":
        return stem, None
    if not is_alone or stem.startswith(_SPLITS):
        return stem, path.as_posix()
    return ("train" if path.parent == Path() else path.parent.name), path.as_posix()


def hint(root: Path, *, above: bool = True) -> str:
    """Return a sentence about a folder near this one that fits; nothing where none does.

    Args:
        root: the folder.
        above: whether the folder that it lies in is near.
    """
    try:
        below = sorted(p for p in root.iterdir() if p.is_dir())[:_NEAR]
    except OSError:
        below = []
    for folder in (*below, *([root.absolute().parent] if above else [])):
        for name in DATASETS:
            if name != PLAIN and _look(name, folder, None, {}):
                return f" {folder} looks like {name}: give that."
    return ""


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _first_line(message: str) -> str:
    return shorten(message.splitlines()[:1])


def choose_split(fit: Fit, wanted: tuple[str, ...], *, labelled: bool) -> SplitSeen | None:
    """Return a fit's split by how its name begins, else its first; None where none will do.

    Args:
        fit: of a folder.
        wanted: beginnings of names, the best first.
        labelled: whether instances are needed.
    """
    usable = [split for split in fit.splits if split.is_labelled or not labelled]
    for start in wanted:
        for split in usable:
            if split.name.startswith(start):
                return split
    return usable[0] if usable else None
