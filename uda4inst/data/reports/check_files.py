"""Which files of a tree belong together, found without stopping at the first that do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from uda4inst.data.records import TreeError
from uda4inst.data.reports.check_labels import LabelCheck, blamed_path, say
from uda4inst.data.reports.findings import Finding, path_below
from uda4inst.data.tree import DatasetOptions, ImageTree
from uda4inst.errors import UserError

# Names of splits that published data sets use; others are checked by naming them.
_SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Listing:
    """What could be opened of one split.

    Args:
        images: all images; None where they could not be listed.
        labelled: the images whose label files are all there; None without labels.
        findings: what kept the others out.
    """

    images: ImageTree | None
    labelled: ImageTree | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """The images of one split, labels or not.

    Args:
        images: None where they could not be listed.
        findings: what kept images out.
    """

    images: ImageTree | None
    findings: tuple[Finding, ...]


def open_splits(
    kind: type[ImageTree], root: Path, options: DatasetOptions | None, *, asked_for: str | None
) -> dict[str, Opened]:
    """Open the images of the usual splits, there or not, and of the one that is asked for.

    An annotation file that is named is of one split: the one that is asked for, else the first.
    """
    asked = () if asked_for is None else (asked_for,)
    names = (kind.default_split, *_SPLITS, *asked)
    if options is not None and options.annotations is not None:
        names = (asked_for or kind.default_split,)
    opened: dict[str, Opened] = {}
    for name in dict.fromkeys(names):
        images, findings = _open(kind, root, name, options, require_labels=False)
        opened[name] = Opened(images, tuple(findings))
    return opened


def splits_of(kind: type[ImageTree], opened: Mapping[str, Opened]) -> dict[str, ImageTree]:
    """Return the images of every usual split that is there, by its name."""
    usual = (kind.default_split, *_SPLITS)
    trees = {n: o.images for n, o in opened.items() if n in usual and o.images is not None}
    if kind.has_labels:
        return trees
    return _disjoint(trees)


def _disjoint(trees: dict[str, ImageTree]) -> dict[str, ImageTree]:
    """Leave out splits that lie in larger ones: a plain folder's split may be the whole folder."""
    kept: dict[str, ImageTree] = {}
    seen: set[Path] = set()
    for name, tree in sorted(trees.items(), key=lambda item: -len(item[1])):
        files = {record.image for record in tree.records}
        if seen.isdisjoint(files):
            kept[name] = tree
        seen |= files
    return {name: tree for name, tree in trees.items() if name in kept}


def list_split(
    kind: type[ImageTree],
    root: Path,
    split: str,
    opened: Opened,
    options: DatasetOptions | None,
    *,
    with_labels: bool,
    is_asked_for: bool,
) -> Listing:
    """Open what can be opened of a split's labels, and collect what cannot.

    Args:
        kind: the data set class.
        root: of the tree.
        split: which part of it.
        opened: its images.
        options: how the format is read.
        with_labels: False leaves labels alone.
        is_asked_for: False for a split that was only found there; published test splits come
            without labels, and that is no fault unless somebody wants them.
    """
    images, findings = opened.images, list(opened.findings)
    labelled: ImageTree | None = None
    if kind.has_labels and with_labels:
        labelled, more = _open(kind, root, split, options, require_labels=True, images=images)
        if labelled is None and split == "test" and not is_asked_for:
            more = [replace(found, severity="note") for found in more]
        findings += more
    if images is not None and labelled is not None:
        findings += _unlabelled(images, labelled, told={found.path for found in findings})
        findings += _unnamed(labelled)
    if images is not None and with_labels:
        findings += _unused(images)
    return Listing(images, labelled, tuple(findings))


def _unlabelled(images: ImageTree, labelled: ImageTree, *, told: set[str]) -> list[Finding]:
    """Return a note on each image that a format leaves out without a word, as GTA5 does."""
    known = {record.sample_id for record in labelled.records}
    alone = [path_below(images.root, r.image) for r in images.records if r.sample_id not in known]
    message = "image has no labels; it is left out where labels are needed"
    return [Finding("missing", path, message, "note") for path in alone if path not in told]


def _unnamed(labelled: ImageTree) -> list[Finding]:
    """Return a note on each class of the data set's own that no class map names."""
    unnamed = labelled.unnamed_classes().items()
    if not unnamed or not labelled.records:
        return []
    path = path_below(labelled.root, labelled.records[0].labels[0])
    return [
        Finding(
            "unnamed",
            path,
            f"class {name!r} is none of the eight, and no class map names it: its {count} objects "
            "are background",
            "note",
        )
        for name, count in unnamed
    ]


def _unused(images: ImageTree) -> list[Finding]:
    """Return a note on each file of an optional kind without its image."""
    message = "file has no image; it is not needed"
    try:
        paths = [path_below(images.root, path) for path in images.unused_files()]
    except UserError:  # told already, where the labels were listed
        return []
    return [Finding("orphan", path, message, "note") for path in paths]


def image_checks(listings: Iterable[Listing]) -> ImageChecks:
    """Return what looks at the images of all listings, one after the other."""
    checks: list[ImageCheck] = []
    for listing in listings:
        if listing.images is None:
            continue
        labelled = () if listing.labelled is None else listing.labelled.records
        places = {record.sample_id: place for place, record in enumerate(labelled)}
        labels = None if listing.labelled is None else LabelCheck(listing.labelled)
        of_images = tuple(places.get(record.sample_id) for record in listing.images.records)
        checks.append(ImageCheck(listing.images, labels, of_images))
    return ImageChecks(tuple(checks))


@dataclass(frozen=True, slots=True, eq=False)
class ImageChecks:
    """Looks at the images of several splits, numbered through."""

    checks: tuple[ImageCheck, ...]

    def __len__(self) -> int:
        """Number of images."""
        return sum(len(check.images) for check in self.checks)

    def __call__(self, number: int) -> list[Finding]:
        """Return the findings of one image."""
        for check in self.checks:
            if number < len(check.images):
                return check(number)
            number -= len(check.images)
        raise IndexError(number)


@dataclass(frozen=True, slots=True, eq=False)
class ImageCheck:
    """Reads one image and its labels, and returns what is wrong with them.

    Args:
        images: all images.
        labels: looks at the labels.
        places: place of each image among the labelled, None where it has no labels.
    """

    images: ImageTree
    labels: LabelCheck | None
    places: tuple[int | None, ...]

    def __call__(self, index: int) -> list[Finding]:
        """Return the findings of one image."""
        findings: list[Finding] = []
        size = None
        path = self.images.records[index].image
        try:
            size = self.images.read_image(index).shape[:2]
        except Exception as error:  # a reader that fails in an unforeseen way found a fault too
            kind = "unreadable" if path.exists() else "missing"
            findings.append(Finding(kind, path_below(self.images.root, path), say(error, path)))
        place = self.places[index]
        if self.labels is not None and place is not None:
            findings += self.labels(place, size)
        return findings


def _open(
    kind: type[ImageTree],
    root: Path,
    split: str,
    options: DatasetOptions | None,
    *,
    require_labels: bool,
    images: ImageTree | None = None,
) -> tuple[ImageTree | None, list[Finding]]:
    """Open a split without the files that do not pair, and return a finding for each of them."""
    findings: list[Finding] = []
    left_out: set[Path] = set()
    was_missing = False
    while True:
        try:
            tree = kind(
                root, split, require_labels=require_labels, options=options, left_out=left_out
            )
            return tree, findings
        except TreeError as error:
            new = [fault for fault in error.faults if fault.path not in left_out]
            # An image left out for its missing map leaves its other maps without it: no new fault.
            told = [fault for fault in new if fault.kind != "orphan" or not was_missing]
            was_missing |= any(fault.kind == "missing" for fault in told)
            findings += [Finding(f.kind, path_below(root, f.path), f.message) for f in told]
            left_out |= {fault.path for fault in new}
            if not new:  # such as a folder that is not there: nothing is gained by leaving it out
                return None, findings
        except Exception as error:  # as for an image
            if images is None or any(record.image not in left_out for record in images.records):
                path = blamed_path(error, root)
                kind_found = "malformed" if path.exists() else "missing"
                findings.append(Finding(kind_found, path_below(root, path), say(error, path)))
            return None, findings
