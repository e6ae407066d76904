"""What every data set is: a root folder that becomes a list of images and their labels.

A format says which files belong together (`_list`) and what they hold (`_read`); everything else,
filters and the forms other parts of the package ask for included, is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from uda4inst.classes import (
    BACKGROUND_LABEL_ID,
    EIGHT,
    IGNORE_TRAIN_ID,
    NUM_THINGS,
    ThingClasses,
)
from uda4inst.data.files.images import picture_size, read_picture
from uda4inst.data.files.listing import FileIndex
from uda4inst.data.files.png import read_header
from uda4inst.data.instance_ids import to_instance_ids
from uda4inst.data.records import (
    ImageRecord,
    InstanceArrays,
    LabelArrays,
    check_same_size,
    make_sample,
    shorten,
    without,
)
from uda4inst.data.relabelling import Relabelling
from uda4inst.errors import UserError
from uda4inst.formats.class_map import ClassMap
from uda4inst.formats.image_list import ImageList
from uda4inst.formats.predictions import basename
from uda4inst.structures import Domain, Sample, Size

_PARTS: Final = 5  # of a picture's path, by which a list may name it
Unnumbered = Literal["ignore", "components", "one"]
_Arrays = TypeVar("_Arrays", bound=InstanceArrays)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectFacts:
    """What a data set says about the objects of one image, in the order of their labels.

    Args:
        occlusion: hidden share of each, in [0, 1]; NaN where it is not known.
        truncation: share outside the picture, in [0, 1]; NaN where it is not known.
    """

    occlusion: Float32[np.ndarray, " N"]
    truncation: Float32[np.ndarray, " N"]

    @classmethod
    def unknown(cls, count: int) -> ObjectFacts:
        """Return the facts of objects about which nothing is known."""
        return cls(np.full(count, np.nan, np.float32), np.full(count, np.nan, np.float32))


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """Which objects are worth learning; the others are ignored, never background.

    Args:
        max_occlusion: hidden share above which an object is left out; None keeps all.
        max_truncation: share outside the picture above which it is left out; None keeps all.
        min_area: visible pixels below which it is left out.
    """

    max_occlusion: float | None = None
    max_truncation: float | None = None
    min_area: int = 0

    @property
    def is_active(self) -> bool:
        """Whether any object can be left out."""
        return self != ObjectFilter()

    def keeps(self, areas: Int64[np.ndarray, " N"], facts: ObjectFacts) -> Bool[np.ndarray, " N"]:
        """Return which objects stay; one whose occlusion or truncation is unknown stays."""
        kept = areas >= self.min_area
        if self.max_occlusion is not None:
            kept &= ~(facts.occlusion > self.max_occlusion)
        if self.max_truncation is not None:
            kept &= ~(facts.truncation > self.max_truncation)
        return kept


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """How a tree is read where its format leaves room.

    Args:
        objects: which objects stay.
        unnumbered: what thing pixels without an instance number are (SYNTHIA): ignored, one
            object per connected component, or one object per class.
        annotations: the annotation file (own data in COCO's format); None looks for it.
        only: the images to use; None for all.
        class_map: which classes the data set's names stand for; None goes by the usual names.
    """

    objects: ObjectFilter = field(default_factory=ObjectFilter)
    unnumbered: Unnumbered = "ignore"
    annotations: Path | None = None
    only: ImageList | None = None
    class_map: ClassMap | None = None


class ImageTree(ABC):
    """One split of a data set, decoded image by image.

    Args:
        root: the data set's folder.
        split: which part of it; None takes the format's first.
        require_labels: False opens the images alone and never looks at label files.
        domain: which side of the adaptation the images belong to; None takes the format's usual.
        options: how the format is read.
        left_out: files treated as if they were not there, to read what is whole of a broken tree.

    Raises:
        UserError: folders are missing, names are malformed, images and labels do not pair, or a
            listed image is not there.
    """

    name: ClassVar[str]  # for people
    usual_domain: ClassVar[Domain]
    default_split: ClassVar[str] = "train"
    has_labels: ClassVar[bool] = True
    has_instances: ClassVar[bool] = True
    things: ClassVar[tuple[int, ...]] = tuple(range(NUM_THINGS))  # classes it can hold
    owns_all_things: ClassVar[bool] = False  # no groups: every thing pixel has its object
    has_own_names: ClassVar[bool] = False  # its classes are named by people, not by the format

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        require_labels: bool = True,
        domain: Domain | None = None,
        options: DatasetOptions | None = None,
        left_out: Collection[Path] = (),
    ) -> None:
        self.root: Final = Path(root)
        self.split: Final = self.default_split if split is None else split
        self.domain: Final[Domain] = domain or self.usual_domain
        self.options: Final = options or DatasetOptions()
        if require_labels and not self.has_labels:
            raise UserError(
                f"data set must have labels here, got {self.name}, which has none ({root}). "
                "Use it as data.target, or choose another format."
            )
        self._relabelling: Final = self._find_relabelling(require_labels)
        index = FileIndex(self.root, left_out)
        records = tuple(self._list(index, require_labels=require_labels))
        self.images_there: Final = len(records)  # of the split, an image list's or not
        if self.options.only is not None:
            where = f"{self.root}, {self.split}"
            records = tuple(records[i] for i in _places(records, self.options.only, where))
        self.records: Final = records

    def _find_relabelling(self, require_labels: bool) -> Relabelling | None:
        """Return what a class map makes of the format's classes; None where it changes none."""
        class_map = self.options.class_map
        if class_map is None or self.has_own_names or not require_labels:
            return None
        return Relabelling.of(class_map, self.things, name=self.name)

    @property
    def thing_classes(self) -> ThingClasses:
        """The classes that its things are numbered by: the eight, and those of its class map."""
        class_map = self.options.class_map
        return EIGHT if class_map is None else class_map.things

    @property
    def possible_things(self) -> tuple[int, ...]:
        """Thing indices that an object can have, ascending."""
        if self._relabelling is None:
            own = range(NUM_THINGS, len(self.thing_classes)) if self.has_own_names else ()
            return (*self.things, *own)
        made = self._relabelling.things[list(self.things)]
        return tuple(sorted({thing for thing in made.tolist() if thing >= 0}))

    @abstractmethod
    def _list(self, index: FileIndex, *, require_labels: bool) -> Iterable[ImageRecord]:
        """Return the files of every image, in the order of their names; open none of them.

        Raises:
            UserError: folders are missing, names are malformed, or images and labels do not pair.
        """

    @abstractmethod
    def _read(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[LabelArrays, ObjectFacts | None]:
        """Return the labels of an image before any filter, and the facts if they are wanted.

        Raises:
            UserError: a file is missing, damaged, of another layout, or holds an unknown class.
        """

    def _read_instances(
        self, record: ImageRecord, *, want_facts: bool
    ) -> tuple[InstanceArrays, ObjectFacts | None]:
        """Return what `_read` does but the semantic map; overridden where that saves decoding."""
        return self._read(record, want_facts=want_facts)

    def _read_semantic(self, record: ImageRecord) -> UInt8[np.ndarray, "H W"]:
        """Return the semantic map that `_read` does; overridden where that saves decoding."""
        return self._read(record, want_facts=False)[0].semantic

    def _labels_things_alone(self, record: ImageRecord) -> bool:
        """Whether what no label of an image names is known to be none of the things."""
        del record
        return False

    def fact_files(self, record: ImageRecord) -> Iterable[Path]:
        """Return the files, beside those of the labels, that an image's facts are read from."""
        del record
        return ()

    def unused_files(self) -> Iterable[Path]:
        """Return the files of an optional kind that belong to no image of the split."""
        return ()

    def unnamed_classes(self) -> Mapping[str, int]:
        """Return the data set's own classes that nothing names one of the eight, or nothing.

        Their objects are background; with each goes how many there are.
        """
        return {}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def basename(self, index: int) -> str:
        """Return the name by which results are matched to the image."""
        return self.records[index].sample_id

    def places(self, only: ImageList) -> list[int]:
        """Return the indices of listed images, ascending.

        Raises:
            UserError: a name is of no image.
        """
        return _places(self.records, only, f"{self.root}, {self.split}")

    def size_of(self, index: int) -> Size:
        """Return (height, width) of an image without decoding it."""
        return picture_size(self.records[index].image)

    def read_image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return an image as RGB.

        Raises:
            UserError: the file is missing, damaged or not a picture.
        """
        return read_picture(self.records[index].image)

    def read_labels(self, index: int) -> LabelArrays:
        """Return the instances that pass the filter, and the semantic map.

        Instances that do not pass become ignore, id -1.

        Raises:
            UserError: a file is missing, damaged, of another layout, or holds an unknown class.
        """
        labels = self._kept(index)
        return labels if self._relabelling is None else self._relabelling.put_to(labels)

    def _kept(self, index: int) -> LabelArrays:
        """Return what `read_labels` does, before a class map."""
        record = self._labelled_record(index)
        return self._filtered(*self._read(record, want_facts=self.options.objects.is_active))

    def read_instances(self, index: int) -> InstanceArrays:
        """Return what `read_labels` does but the semantic map; files only it needs stay closed.

        Raises:
            UserError: as `read_labels`.
        """
        record = self._labelled_record(index)
        wanted = self.options.objects.is_active
        labels = self._filtered(*self._read_instances(record, want_facts=wanted))
        return labels if self._relabelling is None else self._relabelling.put_to(labels)

    def _filtered(self, labels: _Arrays, facts: ObjectFacts | None) -> _Arrays:
        """Return labels with objects that do not pass ignored."""
        wanted = self.options.objects
        if not wanted.is_active:
            return labels
        kept = wanted.keeps(labels.areas(), facts or ObjectFacts.unknown(len(labels.labels)))
        return labels if kept.all() else without(labels, ~kept)

    def read_objects(self, index: int) -> tuple[LabelArrays, ObjectFacts]:
        """Return labels and facts of every object, filtered or not.

        Raises:
            UserError: as `read_labels`.
        """
        labels, facts = self._read(self._labelled_record(index), want_facts=True)
        facts = facts or ObjectFacts.unknown(len(labels.labels))
        if self._relabelling is None:
            return labels, facts
        kept = self._relabelling.kept(labels.labels)
        facts = ObjectFacts(facts.occlusion[kept], facts.truncation[kept])
        return self._relabelling.put_to(labels), facts

    def read_semantic(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """Return trainIds, 255 ignore; files that only instances need stay closed.

        Raises:
            UserError: as `read_labels`.
        """
        semantic = self._read_semantic(self._labelled_record(index))
        return semantic if self._relabelling is None else self._relabelling.train_ids[semantic]

    def read_instance_ids(self, index: int) -> Int32[np.ndarray, "H W"]:
        """Return labels as a Cityscapes `instanceIds` file has them, for evaluation.

        Objects are label id * 1000 + number, counted per class from 0; ignored thing pixels carry
        their plain label id, as groups do; everything else its label id, 0 where unknown, and
        `BACKGROUND_LABEL_ID` where it is known to be none of the things and no more: what a class
        map makes nothing, and what labels that are of things alone do not name.

        Raises:
            UserError: as `read_labels`, or a class has more than 1,000 objects.
        """
        found = self._kept(index)
        labels = found if self._relabelling is None else self._relabelling.put_to(found)
        ids = to_instance_ids(labels, self.records[index], self.thing_classes)
        if self._labels_things_alone(self.records[index]):
            ids[(labels.ids == 0) & (labels.semantic == IGNORE_TRAIN_ID)] = BACKGROUND_LABEL_ID
        elif self._relabelling is not None:
            ids[self._relabelling.is_nothing[found.semantic]] = BACKGROUND_LABEL_ID
        return ids

    def sample(self, index: int) -> Sample:
        """Return image and labels together.

        Raises:
            UserError: a file cannot be read, or the sizes differ.
        """
        return make_sample(self.records[index], self.read_image(index), self.read_labels(index))

    def _labelled_record(self, index: int) -> ImageRecord:
        """Return the files of an image, refusing when labels were left out."""
        record = self.records[index]
        if not record.labels:
            raise UserError(
                f"labels of {record.sample_id!r} must be opened to be read, got a tree opened "
                f"without labels ({self.root}). Open it with require_labels=True."
            )
        return record


def check_sizes(dataset: ImageTree) -> None:
    """Read the header of every file and raise once for all that are unreadable or misfit.

    Cheap enough for the start of a training: 24 bytes a file, no decoding.

    Raises:
        UserError: some files are unreadable, or label maps differ in size from their image.
    """
    offenders: list[str] = []
    for record in dataset.records:
        try:
            size = picture_size(record.image)
            for path in record.labels:
                if path.suffix == ".png":
                    check_same_size(record, size, read_header(path).size, path=path)
        except UserError as error:
            offenders.append(str(error))
    if offenders:
        raise UserError(
            f"{dataset.name} ({dataset.root}, {dataset.split}) must hold readable images with "
            f"label maps of their size, got {len(offenders)} of {len(dataset)} images with faults:"
            "\n" + shorten(offenders, separator="\n")
        )


def describe(dataset: ImageTree) -> str:
    """Return one line about a data set: name, split, number of images, size of the first."""
    height, width = dataset.size_of(0)
    count = f"{len(dataset)} images of {height}x{width}"
    return f"{dataset.name} {dataset.split}: {count} ({dataset.root})"


def require_whole(name: str, split: str, root: Path) -> None:
    """Raise unless the split is "train", for data sets that have no splits.

    Raises:
        UserError: another split is asked for.
    """
    if split != "train":
        raise UserError(
            f"split must be 'train' ({name} has no other), got {split!r} ({root}). "
            "Use split: train."
        )


def _places(records: Iterable[ImageRecord], only: ImageList, where: str) -> list[int]:
    """Return the places of listed images, ascending."""
    return only.places([_names_of(record) for record in records], where=where)


def _names_of(record: ImageRecord) -> list[str]:
    """Return what an image may be called in a list, its own name first."""
    own, parts = record.sample_id, record.image.parts
    folders = ["".join(f"{part}/" for part in parts[-count:-1]) for count in range(1, _PARTS + 1)]
    files = [f"{of}{file}" for of in folders for file in (record.image.name, record.image.stem)]
    return [own, basename(own), *dict.fromkeys((*files, str(record.image)))]
