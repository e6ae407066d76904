"""Own data in COCO's format: a folder of images and one annotation file for each split.

Decisions where the format leaves room:

- Categories are known by name: by `options.class_map` alone where there is one, else by
  `CATEGORY_NAMES`. Others are background, and the log and `uda4inst data check` say so.
- Objects may overlap: the smaller one lies on top. What is covered whole is left out.
- Crowds (`iscrowd`) become ignore, id -1, where no object lies on them.
- COCO annotates things alone: the semantic map has their classes, and 255 everywhere else.
- Opened without labels, the images are those the annotation file lists, its annotations unused.
  Where there are no annotations at all, they are those in images/SPLIT or SPLIT, and for train also
  those in images or the root.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Final

import numpy as np
from jaxtyping import Int32, Int64

from uda4inst.classes import (
    IGNORE_TRAIN_ID,
    MAX_OWN_CLASSES,
    NUM_THINGS,
    THING_CLASSES,
    THING_NAMES,
)
from uda4inst.data.ego_vehicle import FILE_NAME as EGO_VEHICLE
from uda4inst.data.files.images import is_image_name, picture_size
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.readers.coco_file import (
    Annotation,
    AnnotationFile,
    ListedImage,
    read_annotation_file,
    read_images,
)
from uda4inst.data.records import (
    FileFault,
    ImageRecord,
    LabelArrays,
    TreeError,
    require_folder,
    shorten,
)
from uda4inst.data.tree import ImageTree, ObjectFacts
from uda4inst.errors import UserError
from uda4inst.formats.class_map import folded
from uda4inst.formats.rle import as_rle, foreground, run_lengths
from uda4inst.reading import is_file, is_folder
from uda4inst.structures import IGNORE_ID, Size

_log = logging.getLogger(__name__)

# Names by which files call the eight classes, beside the eight themselves; "-" and "_" are spaces.
CATEGORY_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "person": ("pedestrian", "people", "human", "walker"),
    "rider": ("cyclist", "bicyclist", "motorcyclist", "bike rider", "motorbike rider"),
    "car": ("automobile", "passenger car", "van", "suv", "taxi"),
    "truck": ("lorry", "pickup", "pickup truck"),
    "bus": ("coach", "school bus"),
    "train": ("tram", "on rails", "streetcar"),
    "motorcycle": ("motorbike", "motor bike", "moped", "motor"),
    "bicycle": ("bike", "cycle", "pushbike"),
}
_LABELS: Final = {
    spelling: THING_NAMES.index(name)
    for name, others in CATEGORY_NAMES.items()
    for spelling in (name, *others)
}
# By thing index; classes beside the eight are none of Cityscapes'.
_TRAIN_IDS: Final = np.array(
    [thing.train_id for thing in THING_CLASSES] + [IGNORE_TRAIN_ID] * MAX_OWN_CLASSES,
    dtype=np.uint8,
)
_MEND: Final = "Mend the file, or export it again."
_GIVE: Final = (
    "Give the folder that holds images and annotations; an annotation file of another name goes "
    "into the option annotations."
)


class CocoFolder(ImageTree):
    """Images and a COCO annotation file; the root holds both.

    The annotation file is `options.annotations` (from the root), else
    annotations/instances_SPLIT.json, else annotations/SPLIT.json. Its file names lead from the
    root, from images, SPLIT or images/SPLIT: the first of them that has one of the images is where
    all are.
    """

    name = "COCO folder"
    usual_domain = "source"
    has_own_names = True

    _file: AnnotationFile | None = None
    _places: dict[str, int]

    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        require_folder(self.root, rule="root must be a folder of images", remedy=_GIVE)
        path = self._annotation_path(index, is_needed=require_labels)
        if path is None:
            listed = self._images_in_folder(index)
        elif require_labels:
            own = self.options.class_map
            self._file = read_annotation_file(path, label_of=own.label_of if own else label_of)
            self._say_unnamed(self._file)
            listed = self._file.images
        else:
            listed = read_images(path)
        files = self._find_images(index, [image.file_name for image in listed])
        names = _sample_names([image.file_name for image in listed])
        self._places = {names[place]: place for place in files}
        labels = (str(path),) if require_labels else ()
        for name in sorted(self._places, key=_natural):
            yield ImageRecord(name, files[self._places[name]], labels, self.domain)

    def _labels_things_alone(self, record: ImageRecord) -> bool:
        return True

    def _annotation_path(self, index: FileIndex, *, is_needed: bool) -> Path | None:
        """Return the annotation file; None where there is none and none is needed."""
        own = self.options.annotations
        names = (f"annotations/instances_{self.split}.json", f"annotations/{self.split}.json")
        candidates = [self.root / name for name in ((str(own),) if own else names)]
        for path in candidates:
            if path.is_file():
                return path
        has_folder = (self.root / "annotations").is_dir()
        there = [n for n in index.files("annotations") if n.endswith(".json")] if has_folder else []
        if not is_needed and own is None and not there:
            return None
        raise UserError(
            f"split {self.split!r} must have an annotation file, got no "
            f"{' and no '.join(str(path) for path in candidates)} (in annotations: "
            f"{shorten(there) if there else 'no other'}). {_GIVE}"
        )

    def _folders(self) -> tuple[str, ...]:
        """Return the folders file names may lead from, in the order they are tried."""
        return "", "images", self.split, f"images/{self.split}"

    def _images_in_folder(self, index: FileIndex) -> tuple[ListedImage, ...]:
        """Return the images in the split's own folder, or for "train" in one of no split."""
        folders = [f"images/{self.split}", self.split]
        folders += ["images", ""] if self.split == self.default_split else []
        for folder in folders:
            if not (self.root / folder).is_dir():
                continue
            names = [name for name in index.files(folder) if is_image_name(name)]
            if names := [name for name in names if folder or name != EGO_VEHICLE]:
                return tuple(ListedImage(n, f"{folder}/{n}" if folder else n) for n in names)
        raise UserError(
            f"root must hold images, or an annotation file that lists them, got none ({self.root}, "
            f"split {self.split!r}). {_GIVE}"
        )

    def _find_images(self, index: FileIndex, file_names: list[str]) -> dict[int, str]:
        """Return place in the list -> file, having seen that all are there."""
        roots = {str(self.root / folder): folder for folder in self._folders()}
        start = next(
            (r for name in file_names for r in roots if is_file(Path(f"{r}/{name}"))), None
        )
        if start is None:
            raise UserError(
                f"images must lie where the annotation file says, got no {file_names[0]!r:.200} in "
                f"{', '.join(roots)}. {_GIVE}"
            )
        folder = roots[start]
        there: dict[str, frozenset[str]] = {}
        files: dict[int, str] = {}
        missing: list[Path] = []
        for place, file_name in enumerate(file_names):
            parent, _, name = file_name.rpartition("/")
            if parent not in there:
                path = str(PurePosixPath(folder, parent))
                there[parent] = frozenset(index.files(path) if is_folder(self.root / path) else ())
            if name in there[parent]:
                files[place] = f"{start}/{file_name}"
            elif not index.leaves_out(self.root / folder / file_name):
                missing.append(self.root / folder / file_name)
        _refuse_missing(missing, len(file_names))
        return files

    def unnamed_classes(self) -> Mapping[str, int]:
        """Return the objects of every category without a class that no class map made so."""
        own = self.options.class_map
        left_out = {} if self._file is None else self._file.left_out
        return {name: count for name, count in left_out.items() if not (own and own.has(name))}

    def _say_unnamed(self, file: AnnotationFile) -> None:
        """Log the categories that nothing names; raise where none has a class."""
        own = self.options.class_map
        if not file.labels:
            by = f" by {own.path}" if own else ""
            known = ", ".join(self.thing_classes.names)
            raise UserError(
                f"categories must name at least one of {known}{by}, got "
                f"{shorten(map(repr, file.categories)) or 'none'} ({file.path}). Write a class map "
                "(the option class_map) that says which of them each is."
            )
        if unnamed := [repr(name) for name in self.unnamed_classes()]:
            _log.warning(
                "%s: categories %s are none of the %s classes%s: their objects are background",
                file.path,
                ", ".join(unnamed),
                len(self.thing_classes) if self.thing_classes.own else "eight",
                f" by {own.path}" if own else "",
            )

    def read_instance_ids(self, index: int) -> Int32[np.ndarray, "H W"]:
        """Return labels as `ImageTree.read_instance_ids`; crowds of own classes have their ids."""
        ids = super().read_instance_ids(index)
        masks = self._masks(self.records[index])
        own = [mask for mask in masks if mask.is_crowd and mask.label >= NUM_THINGS]
        if own:
            crowds = _paint_crowds(own, ids.shape, self.thing_classes.label_ids)
            np.copyto(ids, crowds, where=(ids == 0) & (crowds > 0))
        return ids

    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return instances in the file's order; nothing is known about them beside."""
        return _paint(self._masks(record), picture_size(record.image)), None

    def _masks(self, record: ImageRecord) -> list[_Mask]:
        """Return the annotations of an image, in the file's order."""
        file = self._file
        if file is None:
            raise UserError(f"{self.name} must be opened with labels to read them ({self.root}).")
        place = self._places[record.sample_id]
        size = picture_size(record.image)
        listed = file.images[place].size
        if listed not in (None, size):
            raise UserError(
                f"image must have the size its annotation file lists, {listed}, got {size} "
                f"({record.image}, {file.path}). Restore both from one export."
            )
        annotations = file.annotations_of(place)
        try:
            runs = [_runs_of(annotation, size) for annotation in annotations]
        except ValueError as error:
            raise UserError(
                f"masks must be well-formed, got {error} ({file.path}, image {record.image}). "
                f"{_MEND}"
            ) from error
        return [
            _Mask(of, file.labels[one.category_id], bool(one.iscrowd))
            for of, one in zip(runs, annotations, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class _Mask:
    """One annotation.

    Args:
        runs: lengths of alternating runs down its columns, background first.
        label: thing index.
        is_crowd: whether it is a crowd.
    """

    runs: Int64[np.ndarray, " R"]
    label: int
    is_crowd: bool

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.runs[1::2].sum())


def label_of(category: str) -> int | None:
    """Return the thing index of a category by its name, None if it is none of the eight.

    Example:
        >>> label_of("Motor-Bike"), label_of("tree")
        (6, None)
    """
    return _LABELS.get(folded(category))


def _sample_names(file_names: list[str]) -> list[str]:
    """Return the shortest names that tell images apart: without folders, or without suffix."""
    paths = [_without_suffix(normpath(name)) for name in file_names]
    for names in ([path.rpartition("/")[2] for path in paths], paths):
        if len(set(names)) == len(names):
            return names
    return file_names


def _without_suffix(path: str) -> str:
    """Return what `PurePosixPath.with_suffix("")` does, ten times faster."""
    stem, _, suffix = path.rpartition(".")
    is_suffix = stem and not stem.endswith("/") and suffix and "/" not in suffix
    return stem if is_suffix else path


def _natural(name: str) -> tuple[bool, int, str]:
    """Order numbers by value, before all other names."""
    is_number = name.isascii() and name.isdecimal()
    return not is_number, int(name) if is_number else 0, name


def _refuse_missing(missing: list[Path], count: int) -> None:
    """Raise once for all listed images that are not there."""
    if not missing:
        return
    rule = "every listed image must be there"
    raise TreeError(
        f"{rule}, got {len(missing)} of {count} missing: {shorten(map(str, missing))}. Restore "
        "them, or take them out of the annotation file.",
        [FileFault("missing", path, f"{rule}, got no such file") for path in missing],
    )


def _runs_of(annotation: Annotation, size: Size) -> Int64[np.ndarray, " R"]:
    """Return a mask as lengths of alternating runs down its columns, background first.

    Raises:
        ValueError: it is malformed or of another size.
    """
    try:
        return run_lengths(as_rle(annotation.mask(), size))
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')} in {annotation.name}") from error


def _paint(masks: Sequence[_Mask], size: Size) -> LabelArrays:
    """Draw all masks into one map: crowds first, then objects, the smaller on top."""
    height, width = size
    ids = np.zeros(height * width, dtype=np.int32)  # along columns, as run-length codes are
    semantic = np.full(height * width, IGNORE_TRAIN_ID, dtype=np.uint8)
    # A stable sort: of equal objects the later one is on top.
    by_area = sorted(range(len(masks)), key=lambda n: -masks[n].area)
    for number in sorted(by_area, key=lambda n: not masks[n].is_crowd):
        pixels = foreground(masks[number].runs)
        ids[pixels] = IGNORE_ID if masks[number].is_crowd else number + 1
        semantic[pixels] = _TRAIN_IDS[masks[number].label]
    is_visible = np.bincount(ids + 1, minlength=len(masks) + 2)[2:] > 0
    table = np.concatenate(([0], np.where(is_visible, is_visible.cumsum(), 0), [IGNORE_ID]))
    labels = np.array([mask.label for mask in masks], dtype=np.int64)
    return LabelArrays(
        ids=np.ascontiguousarray(table.astype(np.int32)[ids].reshape(width, height).T),
        labels=labels[is_visible],
        semantic=np.ascontiguousarray(semantic.reshape(width, height).T),
    )


def _paint_crowds(
    masks: Sequence[_Mask], size: tuple[int, ...], label_ids: Int64[np.ndarray, " things"]
) -> Int32[np.ndarray, "H W"]:
    """Draw the label ids of crowds, in the order of `_paint`; 0 elsewhere."""
    height, width = size
    drawn = np.zeros(height * width, dtype=np.int32)
    for mask in sorted(masks, key=lambda mask: -mask.area):
        drawn[foreground(mask.runs)] = label_ids[mask.label]
    return drawn.reshape(width, height).T
